"""What `imood.bench` does: make the training set long-tailed, train, score, within a schedule."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from ood_shared import checkpoints
from ood_shared.contract import Common, Request, common_of, epochs_of
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.datasets.noise import NOISE_SEEDS
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.results.record import facts_of, measure, print_metrics
from ood_shared.results.thumbnails import write_pictures
from torch import Tensor

from imood import longtail, modes
from imood.bench import Schedule
from imood.checkpoints import LATEST
from imood.data.images import Resident
from imood.data.tasks import OutlierSet, Task
from imood.data.user_data import BLOBS, default_aux, make_blobs, read_outliers
from imood.data.views import SMALL, CommonViews
from imood.evaluate import run_passes, score_sets, test_pool
from imood.run_files import summarise, write_metric
from imood.scored import arrays_of
from imood.settings import Compute, Settings
from imood.train import train
from imood.validation import Pass

SIDE = 32
FULL_EPOCHS = 180
EPOCH_STEPS = 24  # least steps of an epoch when the budget is limited


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train and score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    if options.output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    folder, device = Path(options.output_dir), resolve_device(options.device)
    common = common_of(options)
    limits = common or schedule
    ratio = options.imbalance_ratio
    if ratio is None:
        ratio = None if common else schedule.ratio  # in common nothing is cut: every method sees the same images
    generator = torch.Generator().manual_seed(options.seed)
    benchmark = read_benchmark(
        Request.from_options(options), SIDE, 3, generator, limits.train_images, limits.test_images
    )
    if len(benchmark.classes) < 2:
        raise InputError(f"--id {options.id} has {len(benchmark.classes)} class; expected at least 2.")
    task = _task(options, schedule, common, ratio, benchmark, device)
    settings = _settings(options, schedule, common, task, ratio)

    started = time.perf_counter()
    compute = Compute(device, options.compile, options.log_to)
    resume = folder if options.resume and (folder / "checkpoint.pt").is_file() else None
    network, _, _ = train(task, settings, folder, compute, resume)
    train_seconds = time.perf_counter() - started

    metric, own = modes.bench_test_of(settings.ood_metric), modes.plain_test_of(settings.ood_metric)
    passing = Pass(network, task.test_views, settings.test_batch_size, device, settings.precision, True)
    pool, config = None, {}
    if metric == "maha":
        pool, config["pool"] = test_pool(passing, task, network.classifier.in_features, folder, device)
    passes = run_passes(passing, task, pool)
    id_test, outliers = score_sets(passes, metric, settings.logit_adjust, task.counts, "fixed")
    others = {} if own == metric else {own: score_sets(passes, own, settings.logit_adjust, task.counts, "fixed")}
    steps = max(1, len(task.train()) // settings.batch_size) * settings.epochs
    facts = {
        "seed": options.seed,
        "budget": options.budget,
        "config": facts_of(options.backbone, network, settings.epochs, f"outliers: {task.notes['aux_outliers']}")
        | {**settings.record(), **config, **task.notes, "score": metric, "class_counts": task.counts}
        | {"novel_classes": options.novel_classes, "mirror": common is None or benchmark.mirror},
        "timings": {
            "train_seconds": train_seconds,
            "train_step_seconds": train_seconds / steps,
            "score_seconds_per_1000": passes.seconds_per_1000,
        },
        "checkpoint_sha256": checkpoints.sha256(folder / LATEST),
        "other_scores": {
            name: measure(arrays_of(options.id, *sets), np.random.default_rng(options.seed))[0]
            for name, sets in others.items()
        },
    }
    summary = summarise(id_test, outliers, task.counts)
    arrays = arrays_of(options.id, id_test, outliers)
    write_pictures(folder, arrays, benchmark.scored(options.id), benchmark.classes)
    result = write_metric(folder, summary, task.layout, options.id, id_test, outliers, task.counts, facts, device)
    print_metrics(result)


def _task(
    options: argparse.Namespace,
    schedule: Schedule,
    common: Common | None,
    ratio: float | None,
    benchmark: Benchmark,
    device: torch.device,
) -> Task:
    """The training set made long-tailed, or as it is; auxiliary outliers that are none of the test sets."""
    labels = benchmark.train_labels.numpy()
    sizes = longtail.sizes_of_own(labels, len(benchmark.classes), ratio)
    kept = torch.from_numpy(longtail.select(labels, sizes))
    train = Resident(benchmark.train[kept], benchmark.train_labels[kept], device)
    val = Resident(benchmark.test, benchmark.test_labels, device)
    name = default_aux(list(benchmark.ood))
    root = Path(options.data_dir or "data")
    aux = read_outliers(name, root, SIDE, device, ("train", "test"), benchmark.native)
    if common is not None:  # an epoch is a pass over the training images
        aux = common_outliers(aux, name, len(train))
        name = name if name == BLOBS else f"{name}+{BLOBS}"
    elif schedule.steps is not None:  # an epoch of a few steps would spend the budget on evaluations and checkpoints
        smaller = min(len(train), len(aux))
        times = -(-EPOCH_STEPS * min(schedule.batch_size, smaller) // smaller)
        train, aux = _repeated(train, times), _repeated(aux, times)

    def outlier_set(name: str, images: Tensor) -> OutlierSet:
        return OutlierSet(name, lambda: Resident(images, torch.full((len(images),), -1), device))

    return Task(
        name=options.id,
        counts=sizes,
        layout="own",
        views=SMALL if common is None else CommonViews(mirror=benchmark.mirror),
        test_views=SMALL,
        train=lambda: train,
        val=lambda: val,
        test=lambda: val,
        aux=lambda: aux,
        outliers=[outlier_set(name, images) for name, images in benchmark.ood.items()],
        notes={"aux_outliers": name},
    )


def common_outliers(aux: Resident, name: str, n_train: int) -> Resident:
    """Auxiliary outliers for the common views: half of them those of the set, half smooth coloured noise.

    The paper has 300,000 random images, jittered in colour and contrast. An embedded set is a few hundred images, which
    the common views do not jitter. Photographs at the size of digits have half their contrast: contrast alone then
    tells the two apart, and whatever has as much as digits, such as noise, counts as ID. The blobs have any contrast.

    Args:
        aux: the set by `name`, repeated as often as needed.
        name: `blobs` stays as it is.
        n_train: at least so many are returned.
    """
    if name == BLOBS:
        return _repeated(aux, -(-n_train // len(aux)))
    half = max(len(aux), -(-n_train // 2))
    drawn = make_blobs(half, aux.images.shape[-1], torch.Generator().manual_seed(NOISE_SEEDS["train"]))
    images = torch.cat([_repeated(aux, -(-half // len(aux))).images[:half], drawn.to(aux.images.device)])
    return Resident(images, torch.full((len(images),), -1), images.device)


def _settings(
    options: argparse.Namespace, schedule: Schedule, common: Common | None, task: Task, ratio: float | None
) -> Settings:
    """The paper's settings with a schedule that fits, and batches that fit the smaller set."""
    smaller = min(len(task.train()), len(task.aux()) if task.aux is not None else len(task.train()))
    if common is not None:
        model, batch, epochs = common.network, min(common.batch_size, smaller), common.epochs(smaller)
    else:
        model, batch, epochs = "ResNet18", min(schedule.batch_size, smaller), FULL_EPOCHS
        if schedule.steps is not None:
            epochs = epochs_of(schedule.steps, smaller, batch)
    return Settings(
        dataset=options.id,
        model=model,
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


def _repeated(images: Resident, times: int) -> Resident:
    return Resident(images.images.repeat(times, 1, 1, 1), images.labels.repeat(times), images.images.device)
