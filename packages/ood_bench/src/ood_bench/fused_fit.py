"""Fitting the fused detector: hold images out, get a network, fit its statistics, calibrate them. No OOD images."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import BATCH
from ood_shared.errors import InputError
from ood_shared.thresholds import one_of_each, split_groups
from ood_shared.training import Compute
from torch import Tensor

from ood_bench.backbones.backbone import Backbone
from ood_bench.backbones.choice import TRAIN
from ood_bench.baseline_training import SIDE, common_inputs, train
from ood_bench.evidence import Calibration
from ood_bench.fused import MOST_FIT, Pass, fit_statistics, pass_of
from ood_bench.fused_detector import FusedDetector, to_cpu
from ood_bench.linear_head import fit_head
from ood_bench.places import fit_places

SHARE, LEAST, MOST = 0.1, 100, 2000  # of the images that are held out for calibration
THUMBNAIL = 64  # pixels


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted detector, and the images that it is to be calibrated with.

    Attributes:
        detector: that scores.
        held: positions of the images that were held out among the training images.
        scores: (n,), of those that the threshold is to be calibrated with: all, or one of each group.
        taken_for: (n,), classes that these were taken for.
    """

    detector: FusedDetector
    held: Int64[np.ndarray, " m"] = field(repr=False)
    scores: Float[np.ndarray, " n"] = field(repr=False)
    taken_for: Int64[np.ndarray, " n"] = field(repr=False)


def fit_detector(
    benchmark: Benchmark,
    compute: Compute,
    generator: torch.Generator,
    *,
    backbone: Backbone | None = None,
    budget: str = "smoke",
    schedule: Common | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    keep_images: bool = False,
    square: bool = False,
    held: Int64[np.ndarray, " m"] | None = None,
) -> Fitted:
    """Hold images out, train the common classifier on the others or take a network, fit the statistics, calibrate.

    Args:
        benchmark: its training images are used, nothing else; at the size of the network. Those of a group, such as a
            patient, are kept on one side, and one of each group that is held out calibrates the threshold.
        compute: how to compute.
        generator: of the split, the order and the views.
        backbone: the network; None trains the common one.
        budget: length of the training; `schedule` instead of it, when given.
        schedule: of the training.
        seed: of the weights.
        names: of the training images.
        keep_images: keep the fit images, small, to show the nearest of them.
        square: whether the images are centre squares, which new ones are then cut to as well.
        held: positions of the images to hold out; None draws them.

    Raises:
        InputError: too few images to hold any out, or groups that hold all images of a class out.
    """
    groups = benchmark.train_groups
    if held is None:
        held = held_out(benchmark.train_labels.numpy(), groups, np.random.default_rng(seed))
    keep = np.setdiff1d(np.arange(len(benchmark.train)), held)
    _every_class_left(benchmark, keep)
    part = replace(benchmark, train=benchmark.train[keep], train_labels=benchmark.train_labels[keep])
    if backbone is None:
        backbone = train_backbone(part, schedule or COMMON[budget], seed, compute, generator)
    chosen = torch.randperm(len(keep), generator=generator)[:MOST_FIT].sort().values
    pixels, labels = part.train[chosen], part.train_labels[chosen]
    inputs = replace(backbone.inputs, native=benchmark.native, square=square)
    backbone = replace(backbone, network=backbone.network.to(compute.device), inputs=inputs)
    passed = _pass_all(backbone, pixels)
    if backbone.head is None and len(benchmark.classes) > 1:
        backbone = replace(backbone, head=fit_head(passed.last, labels, len(benchmark.classes)).to(compute.device))
    statistics = fit_statistics(passed, labels, len(benchmark.classes), backbone.places, backbone.word != TRAIN)
    own = tuple(names[keep[at]] for at in chosen.tolist()) if names is not None else ()
    thumbnails = _thumbnails(pixels) if keep_images else torch.empty(0, dtype=torch.uint8)
    empty = Calibration(np.empty((len(statistics.members), 0)))
    held_images = benchmark.train[held]
    places = fit_places(passed.places, _pass_all(backbone, held_images).places, backbone.places)
    detector = FusedDetector(backbone, statistics, empty, places, benchmark.classes, own, thumbnails)
    values, taken, _ = detector.measure(held_images)
    detector = replace(detector, calibration=Calibration.of(values))
    scores, classes = detector.calibration.fuse(values), taken.numpy()
    if groups is not None:
        one = one_of_each([groups[at] for at in held], np.random.default_rng(seed))
        scores, classes = scores[one], classes[one]
    return Fitted(detector, held, scores, classes)


def train_backbone(
    benchmark: Benchmark, schedule: Common, seed: int, compute: Compute, generator: torch.Generator
) -> Backbone:
    """The common network, trained on all training images of the benchmark."""
    network = train(benchmark, schedule, seed, compute, generator)
    inputs = common_inputs(benchmark.native)
    settings = {"kind": TRAIN, "name": schedule.network, "classes": len(benchmark.classes)}
    return Backbone(TRAIN, network, inputs, network.fc, settings=settings)


def calibration_count(n: int) -> int:
    """How many of n images are held out for calibration, about: a tenth, at least 100, at most 2000."""
    return int(min(MOST, max(LEAST, round(SHARE * n))))


def calibration_groups(n: int) -> int:
    """How many of n groups are held out: as of images, and half of them where that would be more."""
    return min(calibration_count(n), n // 2)


def held_out(
    labels: Int64[np.ndarray, " n"], groups: Sequence[str] | None, generator: np.random.Generator
) -> Int64[np.ndarray, " m"]:
    """Indices of the images to hold out: a tenth by class, or of the groups; at least 100 and at most 2000.

    Raises:
        InputError: fewer than twice as many images as are held out, or a single group.
    """
    n, wanted = len(labels), calibration_count(len(labels))
    if n < 2 * wanted:
        raise InputError(f"{n} images; expected {2 * LEAST} or more, of which {LEAST} are held out for the threshold.")
    if groups is not None:
        return split_groups(groups, calibration_groups(len(set(groups))), generator)[1]
    order = generator.permutation(n)
    rank = np.empty(n)
    for c in np.unique(labels):  # within a class the drawn order, spread evenly over [0, 1)
        own = order[labels[order] == c]
        rank[own] = (np.arange(len(own)) + generator.random()) / len(own)
    return np.sort(np.argsort(rank, kind="stable")[:wanted])


def _every_class_left(benchmark: Benchmark, keep: Int64[np.ndarray, " fit"]) -> None:
    counts = np.bincount(benchmark.train_labels.numpy()[keep], minlength=len(benchmark.classes))
    if not counts.all():
        raise InputError(
            f"All images of class {benchmark.classes[int(counts.argmin())]} belong to groups that are held out, so "
            "that none is left to fit on. Are these folders patients and not classes? Then pass --one-class."
        )


def _pass_all(backbone: Backbone, images: Tensor) -> Pass:
    with torch.inference_mode():
        parts = [
            to_cpu(pass_of(backbone, backbone.inputs.normalised(batch.to(backbone.device))))
            for batch in torch.split(images, BATCH if backbone.inputs.side <= SIDE else BATCH // 8)
        ]
    return Pass(*(torch.cat([getattr(part, name) for part in parts]) for name in Pass.__annotations__))


def _thumbnails(pixels: Tensor) -> Tensor:
    side = min(THUMBNAIL, pixels.shape[2])
    return resize(pixels, (side, side), channels=pixels.shape[1]).permute(0, 2, 3, 1).contiguous()
