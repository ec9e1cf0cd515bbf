"""Training and scoring within a budget: what `ascood.fit` and `python -m ascood.bench` do."""

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ood_shared import distributed
from ood_shared.contract import Request
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import Method, Trained, as_benchmark, fitting_in, run_within_budget
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, unknown
from ood_shared.images import Images
from ood_shared.training import Compute
from torch import Tensor

from ascood.bench import SCHEDULES, SCORES, Schedule
from ascood.detector import AscoodDetector
from ascood.evaluator import features_for
from ascood.in_memory import SIZE, Plan, TrainedNetwork, train_within
from ascood.outliers import OOD_TYPES
from ascood.preparation import Preparation
from ascood.run_files import save_detector
from ascood.scores.base import Extract, FeatureScore
from ascood.scores.catalogue import AnyScore, make_score
from ascood.tables import METHOD as NAME
from ascood.tables import PAPER

METHOD = Method(NAME, PAPER, SIZE, 3)


def detectors_of(trained: TrainedNetwork, names: Sequence[str], native: tuple[int, int]) -> list[AscoodDetector]:
    """A detector for each score, on one network; they share what it gives for a set of images."""
    kept: dict[int, tuple[Tensor, Extract]] = {}
    prepare = Preparation(trained.chain, native)
    made = []
    for name in names:
        rule = make_score(name)
        with torch.no_grad():
            if isinstance(rule, FeatureScore):
                rule.fit(features_for(trained.network, trained.features.__getitem__))
            rule.prepare()
        made.append(
            AscoodDetector(
                trained.network, rule, trained.chain, prepare, trained.classes, None, trained.precision, kept
            )
        )
    return made


def fit(
    images: Images,
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    output_dir: str | Path | None = None,
    budget: str = "smoke",
    backbone: str = "common",
    seed: int = 0,
    device: str = "auto",
    classes: Sequence[str] | None = None,
    score: str = SCORES[0],
    ood_type: str = "shuffle",
    mirror: bool = False,
) -> AscoodDetector:
    """Train on exactly these images, as `python -m ascood.bench` does within a budget.

    Args:
        images: see `ood_shared.images.image_batches`; they become RGB at 32 pixels.
        labels: a class from 0 on for each image.
        output_dir: folder that `ascood.load` takes later; None keeps nothing.
        budget: `smoke`, `quick` or `full`: the length of the training.
        backbone: `common`, or `paper` for the method's own network, schedule and views.
        seed: of everything that is drawn.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        classes: names; by default the numbers.
        score: a name of `ascood.scores.names.SCORES`.
        ood_type: of the synthesised outliers: `shuffle`, `gradient` or `gaussian`.
        mirror: whether views are mirrored, with `backbone="common"`.

    Raises:
        InputError: images, labels or words that cannot be used.
    """
    request = Request("images", "", budget=budget, backbone=backbone, seed=seed)
    if ood_type not in OOD_TYPES:
        raise unknown("ood_type", ood_type, OOD_TYPES)
    make_score(score)  # a misspelt name shows before any work
    benchmark = as_benchmark(images, labels, partial(resize, size=(SIZE, SIZE), channels=3), classes, mirror)
    _check_classes(benchmark.classes, "The labels name")
    whole, numbers, names = benchmark.train, benchmark.train_labels, benchmark.classes
    plan = Plan.of(request, SCHEDULES[budget], ood_type, mirror)
    compute = Compute(resolve_device(device))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(fitting_in(output_dir))
        stack.enter_context(contextlib.redirect_stdout(None))  # the lines of main.py
        generator = torch.Generator().manual_seed(seed)
        trained = train_within(plan, whole, numbers, names, generator, compute, folder)
        (detector,) = detectors_of(trained, [score], benchmark.native)
        if output_dir is not None:
            _save(folder, trained, detector.rule, benchmark.native)
    return replace(detector, kept=None)


def _check_classes(classes: Sequence[str], whose: str) -> None:
    """Refuse a single class: the outliers would be made from the gradient of a logit that nothing decides."""
    if len(classes) < 2:
        raise InputError(f"{whose} {len(classes)} class; expected at least 2.")


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """What `python -m ascood.bench` does: train, score; leaves `result.json` and the rest in `--output-dir`."""
    if "," in options.postprocessor or options.postprocessor == "all":
        raise InputError(f"--postprocessor `{options.postprocessor}`: the bench takes one score.")
    name = make_score(options.postprocessor).name
    request, compute = Request.from_options(options), Compute.from_options(options)
    plan = Plan.of(request, schedule, options.ood_type)

    def train(benchmark: Benchmark, generator: torch.Generator, compute: Compute, folder: Path) -> Trained:
        _check_classes(benchmark.classes, f"--id {request.id} has")
        mirrored = replace(plan, mirror=benchmark.mirror)
        test = (benchmark.test, benchmark.test_labels)
        trained = train_within(
            mirrored, benchmark.train, benchmark.train_labels, benchmark.classes, generator, compute, folder, test
        )
        names = [name, *(other for other in SCORES if other != name)]
        detector, *others = detectors_of(trained, names, benchmark.native)
        _save(folder, trained, detector.rule, benchmark.native)
        return Trained(
            detector,
            [trained.network],
            trained.epochs,
            trained.weights,
            trained.step_seconds,
            {"train": trained.config, "score": detector.rule.settings()}
            | {"mirror": mirrored.preprocessor != "common", "weights": trained.weights.name},
            others={other.rule.name: other for other in others},
        )

    with distributed.setup(compute.device) as device:
        limits = (plan.schedule.train_images, plan.schedule.test_images)
        run_within_budget(METHOD, request, limits, train, replace(compute, device=device), options.output_dir)


def _save(folder: Path, trained: TrainedNetwork, rule: AnyScore, native: tuple[int, int]) -> None:
    about = {"classes": list(trained.classes), "native": list(native)}
    save_detector(folder, trained.weights, trained.config, rule.settings(), trained.features, about)
