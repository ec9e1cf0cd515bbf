"""A trained network with a post-hoc score, for programs and for the bench; `ascood.load` and `ascood.fit` give one."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared import distributed
from ood_shared.blocks import BLOCK
from ood_shared.contract import Request
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import Benchmark, as_uint8
from ood_shared.detector import (
    BATCH,
    Method,
    Outputs,
    Trained,
    as_benchmark,
    fitting_in,
    outputs_of,
    run_within_budget,
    within_threshold,
)
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, unknown
from ood_shared.images import Images
from ood_shared.loaders import to_float
from ood_shared.training import Compute
from torch import Tensor, nn

from ascood.bench import SCHEDULES, SCORES, Schedule
from ascood.data.preprocessing import Chain
from ascood.evaluator import features_for
from ascood.in_memory import SIZE, Plan, TrainedNetwork, train_within
from ascood.outliers import OOD_TYPES
from ascood.run_files import save_detector
from ascood.scores.base import Extract, FeatureScore
from ascood.scores.catalogue import AnyScore, make_score
from ascood.scoring import network_outputs, score_images, score_outputs
from ascood.tables import METHOD as NAME
from ascood.tables import PAPER

METHOD = Method(NAME, PAPER, SIZE, 3)
FLOATS = 1 << 24  # values of normalised images at a time


@dataclass(frozen=True, eq=False)
class AscoodDetector:
    """A classifier and the score that tells how far an image is from its classes; see `ood_shared.detector.Detector`.

    Attributes:
        network: in evaluation mode, on its device.
        rule: the score, fitted.
        chain: sizes and normalisation of its images.
        prepare: from uint8 images of any size to the network's.
        classes: names of the ID classes.
        threshold: score above which an image is called OOD; None where none was set.
        precision: of the passes.
        kept: outputs of the network by set of images, for detectors that score the same sets; None keeps none.
    """

    network: nn.Module = field(repr=False)
    rule: AnyScore
    chain: Chain
    prepare: Callable[[Tensor], Tensor] = field(repr=False)
    classes: tuple[str, ...]
    threshold: float | None = None
    precision: str = "fp32"
    kept: dict[int, tuple[Tensor, Extract]] | None = field(default=None, repr=False)

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image: minus the confidence of the test command, so that higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image by the plain logits, an index into `classes`; -1 beyond the threshold."""
        scores, classes = outputs_of(self, images, self.prepare, batch_size)
        return within_threshold(scores, classes, self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of images at the network's size, uint8 or floats in the scale of [0, 1]; on the CPU."""
        outputs = self._network_outputs(images, batch_size)
        if isinstance(self.rule, FeatureScore):
            confidence, _ = score_outputs(self.rule, outputs)
        else:
            std = self.chain.std
            parts = [
                score_images(self.rule, self.network, part, std, batch_size=batch_size)[0][0]
                for part in self._normalised(images)
            ]
            confidence = torch.cat(parts)
        return -confidence.double().cpu(), outputs.logits.argmax(1).cpu()

    def _network_outputs(self, images: Tensor, batch_size: int) -> Extract:
        if self.kept is not None and id(images) in self.kept:
            return self.kept[id(images)][1]
        parts = [network_outputs(self.network, part, batch_size, self.precision) for part in self._normalised(images)]
        logits, features = (torch.cat([part[at] for part in parts]) for at in (0, 1))
        outputs = Extract(logits, features, torch.full((len(logits),), -1, device=logits.device))
        if self.kept is not None:
            self.kept[id(images)] = (images, outputs)
        return outputs

    def _normalised(self, images: Tensor) -> Iterator[Tensor]:
        """Images as the network sees them, some at a time: a whole number of blocks."""
        device = next(self.network.parameters()).device
        pixels = as_uint8(images)
        rows = max(1, FLOATS // max(1, pixels[0].numel()) // BLOCK) * BLOCK
        return (to_float(part.to(device), self.chain.mean, self.chain.std) for part in pixels.split(rows))


def at_size(pixels: UInt8[Tensor, "n c h w"], native: tuple[int, int]) -> UInt8[Tensor, "n 3 side side"]:
    """Images of any size as the bench resizes them.

    Args:
        pixels: 1 or 3 channels.
        native: height and width of the ID images; larger ones are reduced to it first.
    """
    return resize(pixels, (SIZE, SIZE), 3, native)


def detectors_of(trained: TrainedNetwork, names: Sequence[str], native: tuple[int, int]) -> list[AscoodDetector]:
    """A detector for each score, on one network; they share what it gives for a set of images."""
    kept: dict[int, tuple[Tensor, Extract]] = {}
    prepare = partial(at_size, native=native)
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


def bench(options: argparse.Namespace, schedule: Schedule) -> None:
    """What `python -m ascood.bench` does: train, score; leaves `result.json` and the rest in `--output-dir`."""
    if "," in options.postprocessor or options.postprocessor == "all":
        raise InputError(f"--postprocessor `{options.postprocessor}`: the bench takes one score.")
    name = make_score(options.postprocessor).name
    request, compute = Request.from_options(options), Compute.from_options(options)
    plan = Plan.of(request, schedule, options.ood_type)

    def train(benchmark: Benchmark, generator: torch.Generator, compute: Compute, folder: Path) -> Trained:
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
