"""`know_your_space.fit` and the bench: the calibrated classifier within a budget, on images in memory.

A `val` split is not needed: the last epoch's network is scored, as `ood_detection.py` does, and the test images serve
for the lines that are printed on the way.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ood_shared.contract import Common, Request
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import Method, Trained, as_benchmark, fitting_in, run_within_budget
from ood_shared.devices import resolve_device
from ood_shared.images import Images
from ood_shared.training import Compute
from torch import Tensor

from know_your_space.bench import SCHEDULES, Schedule
from know_your_space.data.parts import Part
from know_your_space.data.training import TrainingData
from know_your_space.detector import KnowYourSpaceDetector
from know_your_space.run_files import METHOD, PAPER
from know_your_space.settings import TrainSettings
from know_your_space.train import RunFiles, train
from know_your_space.transforms import SIDE

BENCH = Method(METHOD, PAPER, SIDE, 3)
LEAST_EPOCHS = 2  # the queues fill in the first


def fit(
    images: Images,
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    classes: Sequence[str] | None = None,
    output_dir: str | Path | None = None,
    budget: str = "smoke",
    backbone: str = "common",
    mirror: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> KnowYourSpaceDetector:
    """Train a detector on exactly these images.

    Args:
        images: of the known classes; any size and colour, turned into 32 x 32 RGB.
        labels: whole numbers (n,), 0..classes-1.
        classes: their names.
        output_dir: keeps the run, for `load`; a temporary folder when None.
        budget: how long, as `know_your_space.bench --budget`.
        backbone: `common` or `paper`, as `--backbone`.
        mirror: whether a mirrored image still shows its class (photographs).
        seed: of every draw.
        device: where it is trained.

    Raises:
        InputError: images or labels that do not fit.
    """
    request = Request("images", "none", budget=budget, backbone=backbone, seed=seed)
    benchmark = as_benchmark(images, labels, prepare, classes, mirror)
    generator = torch.Generator().manual_seed(seed)
    with fitting_in(output_dir) as folder:
        compute = Compute(resolve_device(device))
        detector = _train(benchmark, generator, compute, folder, request, SCHEDULES[budget]).detector
    assert isinstance(detector, KnowYourSpaceDetector)
    return detector


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, then score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    request, compute = Request.from_options(options), Compute.from_options(options)
    limits = request.common or schedule
    work = partial(_train, request=request, schedule=schedule)
    run_within_budget(BENCH, request, (limits.train_images, limits.test_images), work, compute, options.output_dir)


def prepare(pixels: Tensor) -> Tensor:
    """Images of any size and colour as 32 x 32 RGB, as a bench run has them."""
    return resize(pixels, (SIDE, SIDE), channels=3)


def _train(
    benchmark: Benchmark,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    request: Request,
    schedule: Schedule,
) -> Trained:
    settings = settings_for(schedule, request.common, benchmark, request.seed)
    files = RunFiles(folder / f"{METHOD}-ckpt.pth.tar", folder / f"{METHOD}-ckpt_last.pth.tar")
    network, seconds = train(_data(benchmark, request.id), settings, files, compute, resume=compute.resume)
    steps = -(-len(benchmark.train) // settings.batch_size)
    return Trained(
        KnowYourSpaceDetector(
            network,
            benchmark.classes,
            settings.temperature,
            precision=compute.precision,
            native=benchmark.native,
            stored=False,
        ),
        [network],
        settings.epochs,
        files.last,
        min(seconds) / steps if seconds else None,
        asdict(settings) | {"n_train": len(benchmark.train)},
    )


def settings_for(schedule: Schedule, common: Common | None, benchmark: Benchmark, seed: int) -> TrainSettings:
    """The paper's settings, with the network and length of the schedule, or of all methods in common.

    Queues that would not fill in the first of the epochs are made shorter: without full queues nothing is calibrated.
    """
    n, n_classes = len(benchmark.train), len(benchmark.classes)
    if common is not None:
        model, batch_size, epochs = common.network, common.batch_size, max(LEAST_EPOCHS, common.epochs(n))
        augmentation = "crop_mirror" if benchmark.mirror else "crop"
    else:
        model, batch_size, epochs = "wrn", schedule.batch_size, TrainSettings.epochs
        augmentation = TrainSettings.augmentation
        if schedule.steps is not None:
            epochs = max(LEAST_EPOCHS, round(schedule.steps / -(-n // batch_size)))
    return TrainSettings(
        n_classes=n_classes,
        model_type=model,
        layers=schedule.layers,
        widen_factor=schedule.widen_factor,
        droprate=schedule.droprate,
        augmentation=augmentation,
        epochs=epochs,
        batch_size=batch_size,
        sample_number=max(2, min(schedule.sample_number, n // (2 * n_classes))),
        lr=schedule.lr,
        seed=seed,
    )


def _data(benchmark: Benchmark, name: str) -> TrainingData:
    def part(images: Tensor, labels: Tensor, split: str) -> Part:
        ids = tuple(range(len(benchmark.classes)))
        return Part(images, labels, ids, benchmark.classes, name, split, f"{name}, split {split}", benchmark.native)

    return TrainingData(
        part(benchmark.train, benchmark.train_labels, "train"),
        part(benchmark.test, benchmark.test_labels, "test"),
        stored=False,
    )
