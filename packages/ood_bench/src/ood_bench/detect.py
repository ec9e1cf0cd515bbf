"""What `ood-detect` does: fit a detector to a file, score images row by row, check a batch."""

import argparse
from hashlib import sha256
from pathlib import Path

import torch
from ood_shared import scoring
from ood_shared.contract import COMMON
from ood_shared.datasets import ImageSet, load_any_size, resize
from ood_shared.datasets.benchmark import Benchmark, native_size
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingSplitError
from ood_shared.thresholds import least_calibration
from ood_shared.training import Compute

from ood_bench import model_file
from ood_bench.baseline_detectors import CHANNELS, SIDE
from ood_bench.fused_detector import FEW, calibration_count, fit_detector


def fit_step(options: argparse.Namespace) -> None:
    """Train, calibrate, write the file."""
    output = Path(options.output)
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; name a file, such as {output / 'model.ood'}.")
    images = _id_images(options.id, options.data_dir)
    held = calibration_count(len(images))
    if held < least_calibration(options.alarm_rate):  # before minutes of training
        raise InputError(
            f"{options.id} has {len(images)} images, of which {held} are held out; an alarm rate of "
            f"{options.alarm_rate:g} needs {least_calibration(options.alarm_rate)}. Give more images or a higher rate."
        )
    height, width = images.images.shape[1:3]
    native = native_size((height, width), SIDE)
    pixels, labels = resize(images.images, (SIDE, SIDE), channels=CHANNELS), torch.from_numpy(images.labels)
    benchmark = Benchmark(pixels, labels, pixels, labels, images.classes, {}, native, options.mirror)
    compute = Compute(resolve_device(options.device))
    generator = torch.Generator().manual_seed(options.seed)
    detector = fit_detector(benchmark, compute, generator, schedule=COMMON[options.budget], seed=options.seed)
    detector = detector.with_alarm_rate(options.alarm_rate)
    if detector.limit is not None and detector.limit.n < FEW:
        print(f"warning: {detector.limit.n} calibration images; with fewer than {FEW} a threshold scatters widely.")
    about = {
        "id": options.id,
        "images": len(images),
        "licence": images.licence,
        "sha256": sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest(),
        "budget": options.budget,
        "seed": options.seed,
    }
    model_file.save(output, detector, about)
    print(f"{output}: {len(images)} images of {len(images.classes)} classes. At {options.alarm_rate:g} it promises:")
    print(detector.limit.words() if detector.limit is not None else "")


def score_step(options: argparse.Namespace) -> int:
    """Write a row for each image; returns 1 when some could not be read."""
    return scoring.score_step(model_file.load(options.model, options.device), options)


def check_step(options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read."""
    return scoring.check_step(model_file.load(options.model, options.device), options)


def _id_images(word: str, data_dir: str | None) -> ImageSet:
    """The training split of a set; all images of own data that has no splits."""
    try:
        return load_any_size(word, "train", data_dir, SIDE)
    except MissingSplitError:
        return load_any_size(word, "test", data_dir, SIDE)
