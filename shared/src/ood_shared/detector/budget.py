"""A training within a budget, as `ood-bench` asks for it: read, train, score, and write what the run leaves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ood_shared import distributed
from ood_shared.contract import MODEL, Request
from ood_shared.datasets.benchmark import Benchmark, read_benchmark
from ood_shared.detector.outputs import Detector
from ood_shared.errors import InputError
from ood_shared.results.record import facts_of, make_result, measure, pack_scores, print_metrics, write_result
from ood_shared.results.schema import Record, ScoreArrays
from ood_shared.results.thumbnails import write_pictures
from ood_shared.training import Compute


@dataclass(frozen=True)
class Method:
    """Whose detector it is.

    Attributes:
        name: of the package.
        paper: authors, title and venue.
        side: height and width of the images that its networks take, pixels.
        channels: 1 or 3.
    """

    name: str
    paper: str
    side: int
    channels: int


@dataclass(frozen=True)
class Trained:
    """What a training within a budget gives.

    Attributes:
        detector: that is scored.
        networks: what was trained.
        epochs: passes over the ID training images.
        checkpoint: file of the weights that are scored, or its SHA-256.
        step_seconds: of a step of the training; None when a resumed run had none left.
        config: further entries of the result's `config`: the settings that decided it.
        extra_data: what was trained on beyond the ID images; None for nothing.
        others: further detectors of the same training by the name of their score, measured under `other_scores`.
        backbone: words for a method without a classifier; None takes that of the request.
        entries: further entries of the result, from it and its scores; called before anything is written.
    """

    detector: Detector
    networks: list[nn.Module]
    epochs: float
    checkpoint: Path | str
    step_seconds: float | None
    config: Mapping[str, Any] = field(default_factory=dict)
    extra_data: str | None = None
    others: Mapping[str, Detector] = field(default_factory=dict)
    backbone: str | None = None
    entries: Callable[[Record, ScoreArrays], Mapping[str, Any]] | None = None


Train = Callable[[Benchmark, torch.Generator, Compute, Path], Trained]


def run_within_budget(
    method: Method,
    request: Request,
    limits: tuple[int | None, int | None],
    train: Train,
    compute: Compute,
    output_dir: str | Path | None,
) -> None:
    """Read the images, train, score; leaves `result.json`, `scores.npz`, `pictures.npz`, `model.ood` in the folder.

    Args:
        method: whose it is.
        request: of the flags.
        limits: most images to train on, and of each set to score; None for all.
        train: from the benchmark, the generator of all draws and the folder to the detector.
        compute: how to compute.
        output_dir: the folder.

    Raises:
        InputError: no folder, or what reading and training refuse.
    """
    from ood_shared.run_model import write_model  # which knows detectors, as this module does not know their files

    if output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    folder = Path(output_dir)
    generator = torch.Generator().manual_seed(request.seed)
    benchmark = read_benchmark(request, method.side, method.channels, generator, *limits)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    trained = train(benchmark, generator, compute, folder)
    train_seconds = time.perf_counter() - started
    started = time.perf_counter()
    arrays = score_arrays(trained.detector, benchmark, request.id)
    score_seconds = time.perf_counter() - started
    others = {
        name: measure(score_arrays(other, benchmark, request.id), np.random.default_rng(request.seed))[0]
        for name, other in trained.others.items()
    }
    facts = facts_of(trained.backbone or request.backbone, trained.networks, trained.epochs, trained.extra_data)
    result = make_result(
        arrays,
        method=method.name,
        paper=method.paper,
        seed=request.seed,
        budget=request.budget,
        config=facts | dict(trained.config) | asked_of(request, benchmark),
        timings={
            "train_seconds": train_seconds,
            "train_step_seconds": trained.step_seconds,
            "score_seconds_per_1000": 1000 * score_seconds / len(arrays["scores"]),
        },
        device=compute.device,
        checkpoint=trained.checkpoint,
    )
    if distributed.is_main():
        write_pictures(folder, arrays, benchmark.scored(request.id), benchmark.classes)
        result |= {"other_scores": others} if others else {}
        result |= trained.entries(result, arrays) if trained.entries is not None else {}
        if trained.checkpoint != folder / MODEL:  # else the training wrote it, with a calibration of its own
            about = {"method": method.name, "paper": method.paper}
            write_model(folder, trained.detector, arrays, request, benchmark, about)
        write_result(folder, result, arrays)
        print_metrics(result)


def asked_of(request: Request, benchmark: Benchmark) -> dict[str, Any]:
    """What a run was asked for about its images, and what was said of them, for the `config` of its result."""
    asked = {"group": request.group, "one_class": request.one_class or None, "value_range": request.value_range}
    found: dict[str, Any] = {"novel_classes": request.novel_classes}
    found |= {name: value for name, value in asked.items() if value is not None}
    return found | ({"notes": list(benchmark.notes)} if benchmark.notes else {})


def score_arrays(detector: Detector, benchmark: Benchmark, id_name: str) -> ScoreArrays:
    """The arrays of `scores.npz` of a detector on everything that is scored. A single class is no prediction."""
    found = {name: detector.outputs(images) for name, images in benchmark.scored(id_name).items()}
    if len(benchmark.classes) < 2:
        found = {name: (scores, None) for name, (scores, _) in found.items()}
    scores, classes = found.pop(id_name)
    return pack_scores(id_name, (scores, benchmark.test_labels, classes), found, benchmark.groups)
