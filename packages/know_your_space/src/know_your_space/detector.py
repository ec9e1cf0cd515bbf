"""What `know_your_space.bench` does: train within a schedule, score, write the result.

A `val` split is not needed: the last epoch's network is scored, as `ood_detection.py` does, and the test split serves
for the lines that are printed on the way. Energy is the score, higher = more OOD.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import torch
from ood_shared.contract import Common, Request, common_of
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.results.record import facts_of, make_result, pack_scores, print_metrics, write_result
from ood_shared.results.thumbnails import write_pictures
from ood_shared.scores import energy
from torch import Tensor

from know_your_space.bench import Schedule
from know_your_space.data.parts import Part
from know_your_space.job import Compute, Place
from know_your_space.run_files import METHOD, PAPER
from know_your_space.scores import logits_of
from know_your_space.settings import TrainSettings
from know_your_space.train import train
from know_your_space.training_data import TrainingData
from know_your_space.transforms import SIDE

LEAST_EPOCHS = 2  # the queues fill in the first


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, then score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    device = resolve_device(options.device)
    compute = Compute(device, options.precision, options.compile, options.log_to)
    generator = torch.Generator().manual_seed(options.seed)
    common = common_of(options)
    limits = common or schedule
    benchmark = read_benchmark(
        Request.from_options(options), SIDE, 3, generator, limits.train_images, limits.test_images
    )
    settings = settings_for(schedule, common, benchmark, options.seed)
    folder = Path(options.output_dir)
    place = Place(folder / "know_your_space-ckpt.pth.tar", folder / "know_your_space-ckpt_last.pth.tar")

    started = time.perf_counter()
    network, seconds = train(_data(benchmark, options.id), settings, place, compute, resume=options.resume)
    train_seconds = time.perf_counter() - started

    def score(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_of(network, images, compute.precision)
        return energy(logits, settings.temperature).cpu(), logits.argmax(dim=1).cpu()

    started = time.perf_counter()
    id_scores, predicted = score(benchmark.test)
    arrays = pack_scores(
        options.id,
        (id_scores, benchmark.test_labels, predicted),
        {name: score(images) for name, images in benchmark.ood.items()},
    )
    score_seconds = time.perf_counter() - started
    steps = -(-len(benchmark.train) // settings.batch_size)
    result = make_result(
        arrays,
        method=METHOD,
        paper=PAPER,
        seed=options.seed,
        budget=options.budget,
        config=facts_of(options.backbone, network, settings.epochs)
        | asdict(settings)
        | {"n_train": len(benchmark.train), "novel_classes": options.novel_classes},
        timings={
            "train_seconds": train_seconds,
            "train_step_seconds": min(seconds) / steps if seconds else None,
            "score_seconds_per_1000": 1000 * score_seconds / len(arrays["scores"]),
        },
        device=device,
        checkpoint=place.last,
    )
    write_pictures(folder, arrays, benchmark.scored(options.id), benchmark.classes)
    write_result(folder, result, arrays)
    print_metrics(result)


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
        return Part(images, labels, ids, benchmark.classes, name, split, f"{name}, split {split}", (SIDE, SIDE))

    return TrainingData(
        part(benchmark.train, benchmark.train_labels, "train"), part(benchmark.test, benchmark.test_labels, "test")
    )
