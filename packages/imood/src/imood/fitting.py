"""A training within a budget: what `imood.fit` and `python -m imood.bench` do, with the same code."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from ood_shared.contract import Request, epochs_of
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import Method, Trained, as_benchmark, fitting_in, run_within_budget
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.images import Images, image_batches
from ood_shared.results.schema import Record, ScoreArrays
from ood_shared.runs import CHECKPOINT
from ood_shared.training import Compute
from torch import Tensor

from imood.bench import SCHEDULES, Schedule
from imood.checkpoints import LATEST
from imood.data.benchmark import task_of_benchmark
from imood.data.inputs import Inputs
from imood.data.tasks import Task
from imood.detector import ImoodDetector
from imood.evaluate import test_pool
from imood.metrics import bench_test_of, metric_of, plain_test_of
from imood.passes import Pass
from imood.run_files import METHOD, PAPER, published_entries, write_tables
from imood.scored import of_arrays, summarise
from imood.scores import Rule
from imood.settings import Settings
from imood.train import train

WHO = Method(METHOD, PAPER, side=32, channels=3)
FULL_EPOCHS = 180


@dataclass(frozen=True)
class Asked:
    """A training within a budget.

    Attributes:
        request: whose budget, backbone and seed are read.
        schedule: of the paper's backbone.
        ood_metric: training loss.
        ratio: smallest over largest class that the training set is cut to; None cuts nothing.
        precision: of the passes in training.
    """

    request: Request
    schedule: Schedule
    ood_metric: str
    ratio: float | None


def fit(
    images: Images,
    labels: Sequence[int] | Int64[np.ndarray, " n"] | Tensor,
    *,
    output_dir: str | Path | None = None,
    budget: str = "smoke",
    backbone: str = "common",
    seed: int = 0,
    device: str = "auto",
    classes: Sequence[str] | None = None,
    ood_metric: str = "ada_bin_disc",
    outliers: Images | None = None,
    mirror: bool = False,
) -> ImoodDetector:
    """Train on exactly these images within a budget, as `python -m imood.bench` does, and return the detector.

    Args:
        images: of the ID classes, any size; see `ood_shared.images`.
        labels: class of each, from 0 on. How often each occurs is the prior of the method.
        output_dir: folder for the run, which `imood.load` reads; None uses a temporary one.
        budget: `smoke`, `quick` or `full`.
        backbone: `common`, the small network of `ood-bench`, or `paper`, a ResNet18.
        seed: of every draw.
        device: `auto`, `cpu`, `cuda`, …
        classes: names of the classes; numbers when None.
        ood_metric: training loss.
        outliers: auxiliary outliers to train with; None takes embedded photographs and smooth noise.
        mirror: whether a mirrored image still shows its class, for the common views.

    Raises:
        InputError: labels that do not fit the images, fewer than two classes, or unknown words.
    """
    request = Request("images", "", budget=budget, backbone=backbone, seed=seed)
    if labels is None:
        raise InputError("There are no labels. Pass the class of each image, whole numbers from 0 on.")
    benchmark = as_benchmark(images, labels, Inputs().prepare, classes, mirror)
    if len(benchmark.classes) < 2:
        raise InputError("The labels name 1 class; expected at least 2.")
    side = Inputs(native=benchmark.native)
    aux = None if outliers is None else torch.cat(list(image_batches(outliers, side.prepare)))
    compute = Compute(resolve_device(device))
    asked = Asked(request, SCHEDULES[budget], ood_metric, None)
    with fitting_in(output_dir) as folder:
        return _train_within(asked, benchmark, compute, folder, aux)[0]


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train and score; leaves `result.json`, `scores.npz` and the published tables in `--output-dir`."""
    request = Request.from_options(options)
    limits, ratio = request.common or schedule, options.imbalance_ratio
    if ratio is None and request.common is None:
        ratio = schedule.ratio  # in common nothing is cut: every method sees the same images
    compute = Compute.from_options(options)
    asked = Asked(request, schedule, options.ood_metric, ratio)

    def train(benchmark: Benchmark, generator: torch.Generator, compute: Compute, folder: Path) -> Trained:
        return replace(trained_for_bench(asked, benchmark, compute, folder), entries=partial(_published, folder))

    run_within_budget(WHO, request, (limits.train_images, limits.test_images), train, compute, options.output_dir)


def _published(folder: Path, record: Record, arrays: ScoreArrays) -> dict[str, Any]:
    """The entries of the published code, and its tables beside the result, from the scores of a bench."""
    counts = record["config"]["class_counts"]
    id_test, outliers = of_arrays(arrays)
    summary = summarise(id_test, outliers, counts)
    write_tables(folder, summary, "own")
    return {"other_scores": {}, **record} | published_entries(summary, record["id_dataset"], id_test, outliers, counts)


def trained_for_bench(asked: Asked, benchmark: Benchmark, compute: Compute, folder: Path) -> Trained:
    """Train, and say what `ood_shared.detector.run_within_budget` writes about it."""
    request = asked.request
    if len(benchmark.classes) < 2:
        raise InputError(f"--id {request.id} has {len(benchmark.classes)} class; expected at least 2.")
    started = time.perf_counter()
    detector, task, settings, about = _train_within(asked, benchmark, compute, folder)
    steps = max(1, len(task.train()) // settings.batch_size) * settings.epochs
    own = plain_test_of(settings.ood_metric)
    others = {} if own == detector.rule.metric else {own: replace(detector, rule=replace(detector.rule, metric=own))}
    return Trained(
        detector,
        [detector.network],
        settings.epochs,
        folder / LATEST,
        (time.perf_counter() - started) / steps,
        config={
            **settings.record(),
            **about,
            **task.notes,
            "score": detector.rule.metric,
            "class_counts": task.counts,
            "mirror": request.common is None or benchmark.mirror,
        },
        extra_data=f"outliers: {task.notes['aux_outliers']}",
        others=others,
    )


def _train_within(
    asked: Asked, benchmark: Benchmark, compute: Compute, folder: Path, outliers: Tensor | None = None
) -> tuple[ImoodDetector, Task, Settings, dict[str, str]]:
    """The detector, what it was trained on and how, and where the pool of its score comes from."""
    request, schedule = asked.request, asked.schedule
    common = request.common is not None
    limited = schedule.batch_size if schedule.steps is not None else None
    root = Path(compute.data_dir or "data")
    task = task_of_benchmark(benchmark, request.id, asked.ratio, compute.device, root, common, limited, outliers)
    settings = _settings(asked, task, compute.precision)
    metric = bench_test_of(settings.ood_metric)
    resume = folder if compute.resume and (folder / CHECKPOINT).is_file() else None
    network, _, _ = train(task, settings, folder, compute, resume, score=metric)
    passing = Pass(network, task.test_views, settings.test_batch_size, compute.device, settings.precision, True)
    pool, about = None, {}
    if metric_of(metric).pool:
        pool, about["pool"] = test_pool(passing, task, network.classifier.in_features, folder, compute.device)
    rule = Rule(metric, tuple(task.counts), settings.logit_adjust)
    detector = ImoodDetector(
        network, rule, task.inputs, benchmark.classes, pool, None, settings.precision, settings.channels_last
    )
    return detector, task, settings, about


def _settings(asked: Asked, task: Task, precision: str) -> Settings:
    """The paper's settings with a schedule that fits, and batches that fit the smaller set."""
    request, schedule, common = asked.request, asked.schedule, asked.request.common
    smaller = min(len(task.train()), len(task.aux()) if task.aux is not None else len(task.train()))
    if common is not None:
        model, batch, epochs = common.network, min(common.batch_size, smaller), common.epochs(smaller)
    else:
        model, batch, epochs = "ResNet18", min(schedule.batch_size, smaller), FULL_EPOCHS
        if schedule.steps is not None:
            epochs = epochs_of(schedule.steps, smaller, batch)
    return Settings(
        dataset=request.id,
        model=model,
        counts=tuple(task.counts),
        ood_metric=asked.ood_metric,
        aux_ood_loss="pascl",
        ood_aux=str(task.notes["aux_outliers"]),
        imbalance_ratio=asked.ratio,
        width=schedule.width,
        epochs=epochs,
        batch_size=batch,
        Lambda2=0.05,
        seed=request.seed,
        precision=precision,
        channels_last=True,
    )
