"""What `ood-detect` does: fit a detector to a file, score images row by row, check a batch, export."""

import argparse
from pathlib import Path

from ood_shared import export, model_file, scoring
from ood_shared.calibrated import Calibrated, calibrate
from ood_shared.contract import COMMON
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.thresholds import least_calibration
from ood_shared.training import Compute
from torch import Generator

from ood_bench.backbones.choice import TRAIN, build, chosen, offered
from ood_bench.fused_fit import FEW, calibration_count, fit_detector
from ood_bench.id_images import read_id_images


def fit_step(options: argparse.Namespace) -> None:
    """Get a network, fit, calibrate, write the file."""
    output = Path(options.output)
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; name a file, such as {output / 'model.ood'}.")
    images = read_id_images(options.id, options.data_dir, options.group)
    word = chosen(options.backbone, images.side, len(images.classes))
    if options.backbone is None:
        print(f"backbone: {word}, for images of {images.side} pixels in {len(images.classes)} classes")
    _enough(options.id, len(images), options.alarm_rate)
    backbone = None if word == TRAIN else build(word, images.side)
    fitted = fit_detector(
        images.at(backbone, options.mirror),
        Compute(resolve_device(options.device)),
        Generator().manual_seed(options.seed),
        backbone=backbone,
        schedule=COMMON[options.budget],
        seed=options.seed,
        groups=images.groups,
        names=images.names,
        keep_images=options.keep_images,
        square=images.square,
    )
    about = images.about() | {"backbone": word, "budget": options.budget, "seed": options.seed}
    calibrated = calibrate(
        fitted.detector,
        fitted.scores,
        fitted.taken_for,
        alarm_rate=options.alarm_rate,
        by_class=options.by_class,
        about=about | {"calibrated_on": f"{len(fitted.scores)} of the images, held out"},
    )
    if len(fitted.scores) < FEW:
        print(f"warning: {len(fitted.scores)} calibration images; with fewer than {FEW} a threshold scatters widely.")
    model_file.save(output, calibrated)
    print(f"{output}: {len(images)} images of {len(images.classes)} classes. At {options.alarm_rate:g} it promises:")
    print(calibrated.words())


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


def _enough(word: str, n: int, alarm_rate: float) -> None:
    """Refuse too few images before minutes of training."""
    held, least = calibration_count(n), least_calibration(alarm_rate)
    if held < least:
        raise InputError(
            f"{word} has {n} images, of which {held} are held out; an alarm rate of {alarm_rate:g} needs {least}. "
            "Give more images or a higher rate."
        )
