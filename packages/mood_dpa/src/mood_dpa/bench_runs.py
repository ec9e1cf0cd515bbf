"""What `mood_dpa.bench` does: train within a schedule, score, write the result."""

import argparse
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ood_shared.contract import MODEL as MODEL_FILE
from ood_shared.contract import Request
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import Method, Trained, run_within_budget
from ood_shared.devices import seed_everything
from ood_shared.errors import InputError
from ood_shared.files import refuse_same_folder
from ood_shared.results.record import facts_of, make_result, pack_scores, print_metrics, write_result
from ood_shared.training import Compute

from mood_dpa.bench import Schedule
from mood_dpa.data.intensities import Rule
from mood_dpa.data.record import Origin
from mood_dpa.data.volume_sets import Voxels, is_volume_set, read_outliers, read_volumes
from mood_dpa.detector import ImageDetector
from mood_dpa.predict import Ensemble
from mood_dpa.standalone import warn_of_slow_bf16
from mood_dpa.state import MODEL
from mood_dpa.within_budget import SIDE, train_on_images, train_on_volumes

PAPER = (
    "Shvetsova, Bakker, Fedulova, Schulz, Dylov: Anomaly Detection in Medical Imaging With Deep Perceptual "
    "Autoencoders, IEEE Access 2021; MOOD 2020, third place of the pixel task"
)
METHOD = Method("mood_dpa", PAPER, SIDE, 1)
NO_CLASSIFIER = "autoencoder"
TEST_SHARE = 4  # every so many-th volume is tested


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """Train, then score; leaves `result.json` and `scores.npz` in `--output-dir`."""
    request, compute = Request.from_options(options), Compute.from_options(options)
    warn_of_slow_bf16(compute.device, compute.precision)
    seed_everything(request.seed)
    if is_volume_set(request.id):
        bench_volumes(request, schedule, compute, options.output_dir, getattr(options, "rescale", None))
        return
    limits = request.common or schedule
    train = partial(_train_on_images, schedule=schedule)
    run_within_budget(METHOD, request, (limits.train_images, limits.test_images), train, compute, options.output_dir)


def _train_on_images(
    benchmark: Benchmark, generator: torch.Generator, compute: Compute, folder: Path, schedule: Schedule
) -> Trained:
    """One autoencoder; the score is the relative perceptual error."""
    model, seconds = train_on_images(benchmark.train, benchmark.native, schedule, generator, compute, folder)
    n = len(benchmark.train)
    return Trained(
        ImageDetector(model, benchmark.native, precision=compute.precision),
        [model.encoder, model.decoder],
        _epochs(schedule, n),
        folder / MODEL,
        seconds,
        {**asdict(schedule), "n_train": n, "side": SIDE},
        backbone=NO_CLASSIFIER,
    )


def bench_volumes(
    request: Request, schedule: Schedule, compute: Compute, output_dir: str | None, rule: Rule | None = None
) -> None:
    """Volumes: an autoencoder per axis, the score is the maximum of the averaged map.

    `rule` brings the intensities of files to [0, 1]; None wants them there. It holds for ID and OOD volumes alike.

    Raises:
        InputError: no folder, too few volumes, some that cannot be used, or outliers that are none.
    """
    if output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    folder = Path(output_dir)
    sets = [request.id, *request.ood.split(",")]
    refuse_same_folder(folder, *(Path(name) for name in sets if Path(name).is_dir()), flag="--output-dir")
    volumes, directions = read_volumes(request.id, schedule.subjects, request.seed, rule)
    test = volumes[TEST_SHARE - 1 :: TEST_SHARE]
    train = [volume for i, volume in enumerate(volumes) if i % TEST_SHARE != TEST_SHARE - 1]
    if not test:
        raise InputError(f"--id {request.id} holds {len(volumes)} volumes; at least {TEST_SHARE} are needed.")
    generator = torch.Generator().manual_seed(request.seed)
    outliers = {name: read_outliers(name, test, request.seed, rule) for name in request.ood.split(",") if name}
    started = time.perf_counter()
    origin = Origin(str(rule or Rule()), tuple(directions.codes))
    ensemble, n_slices, step_seconds = train_on_volumes(
        train, test[0].shape, schedule, generator, compute, folder, origin
    )
    train_seconds = time.perf_counter() - started
    started = time.perf_counter()
    arrays = pack_scores(
        request.id,
        (_scores(ensemble, test, compute.device), np.zeros(len(test), np.int64), None),
        {name: (_scores(ensemble, volumes, compute.device), None) for name, volumes in outliers.items()},
    )
    score_seconds = time.perf_counter() - started
    networks = [net for part in ensemble.models for net in (part.model.encoder, part.model.decoder)]
    facts = facts_of(NO_CLASSIFIER, networks, _epochs(schedule, n_slices))
    result = make_result(
        arrays,
        method=METHOD.name,
        paper=PAPER,
        seed=request.seed,
        budget=request.budget,
        config={**asdict(schedule), **facts, "n_train": len(train), "side": SIDE, "axes": [0, 1, 2]},
        timings={
            "train_seconds": train_seconds,
            "train_step_seconds": step_seconds,
            "score_seconds_per_1000": 1000 * score_seconds / len(arrays["scores"]),
        },
        device=compute.device,
        checkpoint=folder / "axis_0" / MODEL,
    )
    write_result(folder, result, arrays)
    print_metrics(result)
    print(f"no {MODEL_FILE}: a detector of volumes is not kept in one file; mood_dpa.load(...) reads this folder.")


def _scores(ensemble: Ensemble, volumes: list[Voxels], device: torch.device) -> npt.NDArray[np.float64]:
    """Of volumes whose intensities were looked at when they were read."""
    return np.array([ensemble.predict(volume, device)[1] for volume in volumes])


def _epochs(schedule: Schedule, n_images: int) -> float:
    return round(schedule.steps * schedule.batch_size / n_images, 1)
