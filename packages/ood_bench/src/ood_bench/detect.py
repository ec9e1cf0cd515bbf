"""What `ood-detect` does: fit a detector to a file, score images row by row, check a batch, export."""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ood_shared import export, model_file, scoring
from ood_shared.calibrated import Calibrated, calibrate
from ood_shared.calibrating import keep
from ood_shared.contract import COMMON, MODEL
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.notes import say
from ood_shared.output_files import of_backbone, output_file
from ood_shared.thresholds import least_calibration
from ood_shared.training import Compute
from torch import Generator

from ood_bench.backbones.choice import TRAIN, build, chosen, offered
from ood_bench.detect_command import DEFAULT_BUDGET
from ood_bench.fused_fit import Fitted, calibration_count, calibration_groups, fit_detector
from ood_bench.id_images import IdImages, read_id_images
from ood_bench.self_check import self_check

SHORT = replace(COMMON["smoke"], steps=300)  # of a detector that only serves the check


def fit_step(options: argparse.Namespace) -> None:
    """Get a network, fit, calibrate, write the file."""
    read = [word for word in (options.id, options.group) if word is not None]
    output = output_file(options.output, MODEL, read, runs=of_backbone(options.backbone))
    asked = (options.group, options.one_class, options.value_range)
    images = read_id_images(options.id, options.data_dir, *asked)
    word = chosen(options.backbone, images.side, len(images.classes))
    if options.backbone is None:
        print(f"backbone: {word}, for images of {images.side} pixels in {_classes(images)}")
    if "@" in word:
        print(f"warning: the threshold holds if {word} was trained on other images than these.")
    _enough(images, options.alarm_rate, options.by_class)
    if word != TRAIN and options.budget is not None:
        say([f"--budget {options.budget} has no effect: the network of {word} is not trained"])
    budget = options.budget or DEFAULT_BUDGET
    backbone = None if word == TRAIN else build(word, images.side)
    benchmark, compute = images.at(backbone, options.mirror), Compute(resolve_device(options.device))
    fit = partial(fit_detector, compute=compute, backbone=backbone, seed=options.seed, square=images.square)
    fitted = fit(
        benchmark,
        generator=Generator().manual_seed(options.seed),
        schedule=COMMON[budget],
        names=images.names,
        keep_images=options.keep_images,
    )
    about = images.about() | {"backbone": word, "budget": budget, "seed": options.seed}
    if options.check:
        print("check: outliers made from the images, and classes left out; --no-check skips it", flush=True)
        fold = partial(fit, generator=Generator().manual_seed(options.seed), schedule=SHORT)
        check = self_check(fitted, benchmark, fold, options.seed)
        print("\n".join(check.lines()))
        about |= {"check": check.about()}
    calibrated = calibrate(
        fitted.detector,
        fitted.scores,
        fitted.taken_for,
        alarm_rate=options.alarm_rate,
        by_class=options.by_class,
        about=about | {"calibrated_on": _calibrated_on(images, fitted)},
    )
    keep(output, calibrated, f"{len(images)} images of {_classes(images)}. At {options.alarm_rate:g} it promises:")


def score_step(options: argparse.Namespace) -> int:
    """Write a row for each image; returns 1 when some could not be read."""
    return scoring.score_step(load(options.model, options.device, options.backbone), options)


def check_step(options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read."""
    return scoring.check_step(load(options.model, options.device, options.backbone), options)


def export_step(options: argparse.Namespace) -> None:
    """Write a graph of the detector, and say what it takes and gives."""
    export.export_step(load(options.model, "cpu", options.backbone), options)


def load(path: str | Path, device: str = "auto", backbone: str | None = None) -> Calibrated:
    """The detector in a file.

    Args:
        path: of the file, of any kind of detector.
        device: a word of `--device`.
        backbone: the network again, where it is code that a file does not hold; see `backbones.choice`.

    Raises:
        InputError: it cannot be opened; the message says why.
    """
    with offered(backbone):
        return model_file.load(path, device)


def _classes(images: IdImages) -> str:
    return "1 class" if len(images.classes) == 1 else f"{len(images.classes)} classes"


def _calibrated_on(images: IdImages, fitted: Fitted) -> str:
    n = len(fitted.scores)
    return f"{n} of the images, held out" + ("" if images.groups is None else f": one of each of {n} groups")


def _enough(images: IdImages, alarm_rate: float, by_class: bool) -> None:
    """Refuse too few images before minutes of training; by class, by the labels, which the network will meet about."""
    if by_class and len(images.classes) < 2:
        raise InputError("A threshold by class needs two classes or more; leave --by-class out.")
    groups = None if images.groups is None else len(set(images.groups))
    unit, n = ("images", len(images)) if groups is None else ("groups of images", groups)
    held = calibration_count(n) if groups is None else calibration_groups(n)
    least = least_calibration(alarm_rate)
    more = "Give more images or a higher rate."
    if groups is not None:
        more = "One image of each calibrates, as images of one group are alike. Give more groups, or a higher rate."
    if held < least:
        raise InputError(
            f"{images.word} has {n} {unit}, of which {held} are held out; an alarm rate of {alarm_rate:g} needs "
            f"{least}. {more}"
        )
    labels = images.images.labels.tolist()
    of_class = labels if images.groups is None else [label for label, _ in set(zip(labels, images.groups, strict=True))]
    counts = np.bincount(of_class, minlength=len(images.classes))
    rarest, own = int(counts.argmin()), int(np.ceil(counts.min() * held / n))
    if by_class and own < least:
        raise InputError(
            f"{images.word} has {counts.min()} {unit} of class {images.classes[rarest]}, of which about {own} are held "
            f"out; a threshold of its own at {alarm_rate:g} needs {least}. Give more of them, a higher rate, or one "
            "threshold for all."
        )
