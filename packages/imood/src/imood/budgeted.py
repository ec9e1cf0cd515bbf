"""What `imood.bench` does: make the training set long-tailed, train, score, within a schedule."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from ood_shared import checkpoints
from ood_shared.bench.flags import NOVEL
from ood_shared.bench.material import print_metrics, set_names
from ood_shared.datasets import ImageSet, hold_out
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from torch import Tensor

from imood import modes
from imood.bench import Schedule
from imood.evaluate import run_passes, score_sets, test_pool
from imood.images import Images, Resident
from imood.own import Own, default_aux, read_set
from imood.report import summarise, write_metric
from imood.settings import Compute, Settings
from imood.tasks import OutlierSet, Place, Task, task_of_own
from imood.train import train
from imood.validation import Pass
from imood.weights import LATEST

FULL_EPOCHS = 180
EPOCH_STEPS = 24  # least steps of an epoch when the budget is limited


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train and score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    folder, device = Path(options.output_dir), resolve_device(options.device)
    ratio = schedule.ratio if options.imbalance_ratio is None else options.imbalance_ratio
    task = _task(options, schedule, ratio, set_names(options.ood), device)
    settings = _settings(options, schedule, task, ratio)

    started = time.perf_counter()
    compute = Compute(device, options.compile, options.log_to)
    resume = folder if options.resume and (folder / "checkpoint.pt").is_file() else None
    network, _, _ = train(task, settings, folder, compute, resume)
    train_seconds = time.perf_counter() - started

    metric = modes.plain_test_of(settings.ood_metric)
    passing = Pass(network, task.test_views, settings.test_batch_size, device, settings.precision, True)
    pool, config = None, {}
    if metric == "maha":
        pool, config["pool"] = test_pool(passing, task, network.classifier.in_features, folder, device)
    passes = run_passes(passing, task, pool)
    id_test, outliers = score_sets(passes, metric, settings.logit_adjust, task.counts, "fixed")
    steps = max(1, len(task.train()) // settings.batch_size) * settings.epochs
    facts = {
        "seed": options.seed,
        "budget": options.budget,
        "config": {**settings.record(), **config, **task.notes, "score": metric, "class_counts": task.counts}
        | {"novel_classes": options.novel_classes},
        "timings": {
            "train_seconds": train_seconds,
            "train_step_seconds": train_seconds / steps,
            "score_seconds_per_1000": passes.seconds_per_1000,
        },
        "checkpoint_sha256": checkpoints.sha256(folder / LATEST),
    }
    summary = summarise(id_test, outliers, task.counts)
    result = write_metric(folder, summary, task.layout, options.id, id_test, outliers, task.counts, facts, device)
    print_metrics(result)


def _task(
    options: argparse.Namespace, schedule: Schedule, ratio: float, names: list[str], device: torch.device
) -> Task:
    """Images cut to the schedule; auxiliary outliers that are none of the test sets."""
    root = Path(options.data_dir or "data")
    own = Own(options.id, root, 32)
    train_set, test_set = own.train, read_set(own.where, root, own.side, ("test", "val"))
    generator = torch.Generator().manual_seed(options.seed)
    novel: ImageSet | None = None
    if options.novel_classes:
        train_set, test_set, novel = hold_out(train_set, test_set, options.novel_classes.split(","))
    train_set = _cut(train_set, schedule.train_images, generator)
    test_set = _cut(test_set, schedule.test_images, generator)
    own.use(train_set)
    place = Place(options.id, root, ratio, "ResNet18", device, aux=default_aux(names), ood_test=",".join(names))
    task = task_of_own(own, place, training=True)
    val = _resident(own, test_set, device)
    sets = [_outlier_set(own, name, schedule.test_images, options.seed, device) for name in names]
    if novel is not None:
        images = _resident(own, _cut(novel, schedule.test_images, generator), device)
        images.labels.fill_(-1)
        sets.insert(0, OutlierSet(NOVEL, lambda: images))
    train, aux = task.train(), task.aux() if task.aux is not None else None
    if schedule.steps is not None:  # an epoch of a few steps would spend the budget on evaluations and checkpoints
        smaller = min(len(train), len(train) if aux is None else len(aux))
        times = -(-EPOCH_STEPS * min(schedule.batch_size, smaller) // smaller)
        train, aux = _repeated(train, times), None if aux is None else _repeated(aux, times)
    return replace(
        task,
        train=lambda: train,
        val=lambda: val,
        test=lambda: val,
        aux=None if aux is None else lambda: aux,
        outliers=sets,
    )


def _settings(options: argparse.Namespace, schedule: Schedule, task: Task, ratio: float) -> Settings:
    """The paper's settings with a schedule that fits, and batches that fit the smaller set."""
    smaller = min(len(task.train()), len(task.aux()) if task.aux is not None else len(task.train()))
    batch = min(schedule.batch_size, smaller)
    epochs = FULL_EPOCHS if schedule.steps is None else max(1, round(schedule.steps / max(1, smaller // batch)))
    return Settings(
        dataset=options.id,
        model="ResNet18",
        counts=tuple(task.counts),
        ood_metric=options.ood_metric,
        aux_ood_loss="pascl",
        ood_aux=str(task.notes["aux_outliers"]),
        imbalance_ratio=ratio,
        width=schedule.width,
        epochs=epochs,
        batch_size=batch,
        Lambda2=0.05,
        seed=options.seed,
        precision=options.precision,
        channels_last=True,
    )


def _outlier_set(own: Own, name: str, limit: int | None, seed: int, device: torch.device) -> OutlierSet:
    """The set, read at once: what cannot be read shall show before the training."""
    found = own.outliers(name, device)
    if limit is not None and len(found) > limit:
        rows = _drawn(len(found), limit, torch.Generator().manual_seed(seed)).to(device)
        found = Resident(found.images[rows], found.labels[rows], device)
    return OutlierSet(name, lambda: found)


def _resident(own: Own, images: ImageSet, device: torch.device) -> Resident:
    from ood_shared.datasets import resize

    pixels = resize(images.images, (own.side, own.side), 3)
    return Resident(pixels, torch.from_numpy(images.labels.copy()), device)


def _repeated(images: Images, times: int) -> Resident:
    if not isinstance(images, Resident):
        raise TypeError("only sets in memory are benched")
    return Resident(images.images.repeat(times, 1, 1, 1), images.labels.repeat(times), images.images.device)


def _cut(images: ImageSet, limit: int | None, generator: torch.Generator) -> ImageSet:
    return images if limit is None or len(images) <= limit else images.subset(limit, generator)


def _drawn(count: int, limit: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[:limit].sort().values
