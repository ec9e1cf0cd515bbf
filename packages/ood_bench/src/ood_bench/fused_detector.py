"""The fused detector as an object: trained on ID images, calibrated on others of them, called with anyone's images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.backbone import SmallResNet
from ood_shared.blocks import map_rows
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.thresholds import Threshold, fit_threshold, p_values, split_groups
from ood_shared.training import Compute
from torch import Tensor

from ood_bench.baseline_detectors import CHANNELS, SIDE, normalised, train
from ood_bench.fused import MOST_FIT, Calibration, Pass, Statistics, distances, drivers, fit_statistics, pass_of

SHARE, LEAST, MOST = 0.1, 100, 2000  # of the images that are held out for calibration
FEW = 200  # calibration images, below which a threshold scatters widely


@dataclass(frozen=True)
class Verdict:
    """What is said of images.

    Attributes:
        scores: (n,), higher = more OOD.
        p: (n,), conformal p-values.
        flagged: (n,), whether the score lies above the threshold.
        classes: (n,), index of the class that an image is taken for, flagged or not.
        drivers: the member that drove each score.
    """

    scores: Float[np.ndarray, " n"]
    p: Float[np.ndarray, " n"]
    flagged: np.ndarray
    classes: Int64[np.ndarray, " n"]
    drivers: list[str]


@dataclass(frozen=True)
class FusedDetector:
    """F on the common network.

    Attributes:
        network: in eval mode.
        statistics: of the fit images.
        calibration: distances of the calibration images.
        calibration_scores: (n,), F of the calibration images.
        classes: names of the ID classes.
        native: height and width of the training images where they were enlarged.
        limit: the threshold with what it promises; None when none was set.
    """

    network: SmallResNet
    statistics: Statistics
    calibration: Calibration
    calibration_scores: Float[np.ndarray, " n"]
    classes: tuple[str, ...]
    native: tuple[int, int] | None = None
    limit: Threshold | None = None

    @property
    def threshold(self) -> float | None:
        """Score above which an image is flagged."""
        return None if self.limit is None else self.limit.value

    def with_alarm_rate(self, alarm_rate: float) -> "FusedDetector":
        """The detector with a conformal threshold.

        Raises:
            InputError: the calibration images cannot support the rate.
        """
        return replace(self, limit=fit_threshold(self.calibration_scores, alarm_rate))

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """F of each image, higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image; -1 beyond the threshold."""
        return within_threshold(*outputs_of(self, images, self.prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 3, 32, 32), uint8 or floats in the scale of [0, 1]; on the CPU."""
        values, classes = self.distances(images, batch_size)
        return torch.from_numpy(self.calibration.fuse(values)), classes

    def judge(self, images: Tensor, batch_size: int = BATCH) -> Verdict:
        """Everything that is said of images at the network's size.

        Raises:
            InputError: the detector has no threshold.
        """
        if self.limit is None:
            raise InputError("The detector has no threshold; set one with with_alarm_rate(0.05).")
        values, classes = self.distances(images, batch_size)
        evidence = self.calibration.evidence(values)
        scores = self.calibration.fuse(values)
        names = drivers(self.statistics.members, evidence)
        p = p_values(self.calibration_scores, scores)
        return Verdict(scores, p, scores > self.limit.value, classes.numpy(), names)

    def distances(self, images: Tensor, batch_size: int = BATCH) -> tuple[Float[np.ndarray, "members n"], Tensor]:
        """Distances of the members, and classes; those of an image depend on nothing but the image."""
        device = self.network.fc.weight.device

        def rows(batch: Tensor) -> Tensor:
            passed = _to_cpu(pass_of(self.network, normalised(batch)))
            return torch.cat([distances(self.statistics, passed).T, passed.logits.argmax(dim=1, keepdim=True)], dim=1)

        with torch.inference_mode():
            found = map_rows(rows, images, batch_size, device)
        return found[:, :-1].T.numpy().copy(), found[:, -1].long()

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 32 32"]:
        """Images of any size and colour at the network's size; those larger than `native` by way of it."""
        return resize(pixels, (SIDE, SIDE), channels=CHANNELS, native=self.native)


def fit_detector(
    benchmark: Benchmark,
    compute: Compute,
    generator: torch.Generator,
    *,
    budget: str = "smoke",
    seed: int = 0,
    groups: Sequence[str] | None = None,
    schedule: Common | None = None,
) -> FusedDetector:
    """Hold images out, train the common classifier on the others, fit the statistics, calibrate.

    Args:
        benchmark: its training images are used, nothing else.
        compute: how to compute.
        generator: of the split, the order and the views.
        budget: length of the training; `schedule` instead of it, when given.
        seed: of the weights.
        groups: of each training image, such as its patient: kept on one side.
        schedule: of the training.

    Raises:
        InputError: too few images to hold any out.
    """
    held = held_out(benchmark.train_labels.numpy(), groups, np.random.default_rng(seed))
    keep = np.setdiff1d(np.arange(len(benchmark.train)), held)
    fit_images, fit_labels = benchmark.train[keep], benchmark.train_labels[keep]
    part = replace(benchmark, train=fit_images, train_labels=fit_labels)
    network = train(part, schedule or COMMON[budget], seed, compute, generator)
    chosen = torch.randperm(len(keep), generator=generator)[:MOST_FIT].sort().values
    one_pass = partial(_pass_all, network)
    statistics = fit_statistics(one_pass(fit_images[chosen]), fit_labels[chosen], len(benchmark.classes))
    empty = Calibration(np.empty((len(statistics.members), 0)))
    detector = FusedDetector(network, statistics, empty, np.empty(0), benchmark.classes, benchmark.native)
    values, _ = detector.distances(benchmark.train[held])
    calibration = Calibration.of(values)
    return replace(detector, calibration=calibration, calibration_scores=calibration.fuse(values))


def calibration_count(n: int) -> int:
    """How many of n images are held out for calibration, about: a tenth, at least 100, at most 2000."""
    return int(min(MOST, max(LEAST, round(SHARE * n))))


def held_out(
    labels: Int64[np.ndarray, " n"], groups: Sequence[str] | None, generator: np.random.Generator
) -> Int64[np.ndarray, " m"]:
    """Indices of the calibration images: a tenth, by class or by group, at least 100 and at most 2000.

    Raises:
        InputError: fewer than twice as many images as are held out.
    """
    n, wanted = len(labels), calibration_count(len(labels))
    if n < 2 * wanted:
        raise InputError(f"{n} images; expected {2 * LEAST} or more, of which {LEAST} are held out for the threshold.")
    if groups is not None:
        return split_groups(groups, wanted / n, generator)[1]
    order = generator.permutation(n)
    rank = np.empty(n)
    for c in np.unique(labels):  # within a class the drawn order, spread evenly over [0, 1)
        own = order[labels[order] == c]
        rank[own] = (np.arange(len(own)) + generator.random()) / len(own)
    return np.sort(np.argsort(rank, kind="stable")[:wanted])


def _pass_all(network: SmallResNet, images: Tensor) -> Pass:
    device = network.fc.weight.device
    with torch.inference_mode():
        parts = [_to_cpu(pass_of(network, normalised(batch.to(device)))) for batch in torch.split(images, BATCH)]
    return Pass(*(torch.cat([getattr(part, name) for part in parts]) for name in Pass.__annotations__))


def _to_cpu(passed: Pass) -> Pass:
    return Pass(*(getattr(passed, name).cpu() for name in Pass.__annotations__))
