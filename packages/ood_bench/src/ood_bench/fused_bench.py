"""The fused detector as a method of `ood-bench`: `python -m ood_bench.fused_bench …`; its members stand beside it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_shared.contract import ALARM_RATE, COMMON, MODEL, PRETRAINED, Common, Request, bench_parser, run_bench

if TYPE_CHECKING:
    import numpy as np
    import torch
    from ood_shared.datasets.benchmark import Benchmark
    from ood_shared.detector import Outputs, Trained
    from ood_shared.images import Images
    from ood_shared.training import Compute
    from torch import Tensor

    from ood_bench.backbones.backbone import Backbone
    from ood_bench.fused_detector import FusedDetector

NAME, MODULE = "fused", "ood_bench.fused_bench"
ABOUT = "Fused distances over the maps of the common network (this project; sources in ood_bench.fused)"
HELD = "training images that were held out"


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m ood_bench.fused_bench`."""
    return run_bench(MODULE, COMMON, bench_parser("ood_bench.fused_bench", pretrained=True), argv)


def bench(options: argparse.Namespace, schedule: Common) -> None:
    """Train, calibrate, score; leaves what every bench leaves, and the detector as `model.ood`."""
    from ood_shared.detector import Method, run_within_budget
    from ood_shared.training import Compute

    from ood_bench.baseline_training import CHANNELS, SIDE
    from ood_bench.classifier import pretrained_for

    request, compute = Request.from_options(options), Compute.from_options(options)
    limits = (schedule.train_images, schedule.test_images)
    backbone = pretrained_for(request) if request.backbone == PRETRAINED else None
    work = partial(_train, request=request, schedule=schedule, backbone=backbone)
    side, channels = (SIDE, CHANNELS) if backbone is None else (backbone.inputs.side, backbone.inputs.channels)
    run_within_budget(Method(NAME, ABOUT, side, channels), request, limits, work, compute, options.output_dir)


class Once:
    """The fused detector of a comparison, which measures every set once for itself and all of its members.

    Attributes:
        fused: the detector.
    """

    def __init__(self, fused: "FusedDetector") -> None:
        self.fused, self.classes, self.threshold = fused, fused.classes, None
        self._kept: dict[int, tuple[Tensor, Any]] = {}

    def distances(self, images: "Tensor", batch_size: int) -> "tuple[np.ndarray, Tensor]":
        """Distances of all members, and the classes."""
        if id(images) not in self._kept:  # the set is kept as well, so that its id stays its own
            self._kept[id(images)] = images, self.fused.measure(images, batch_size)[:2]
        found: tuple[np.ndarray, Tensor] = self._kept[id(images)][1]
        return found

    def outputs(self, images: "Tensor", batch_size: int = 250) -> "Outputs":
        """F, and the classes."""
        import torch

        values, classes = self.distances(images, batch_size)
        return torch.from_numpy(self.fused.calibration.fuse(values)), classes

    def score(self, images: "Images", batch_size: int = 250) -> "np.ndarray":
        """As the detector."""
        return self.fused.score(images, batch_size)

    def predict(self, images: "Images", batch_size: int = 250) -> "np.ndarray":
        """As the detector."""
        return self.fused.predict(images, batch_size)


@dataclass(frozen=True)
class Member:
    """One distance of the fused detector, as a detector.

    Attributes:
        once: whose it is.
        position: among the members.
    """

    once: Once
    position: int

    def outputs(self, images: "Tensor", batch_size: int = 250) -> "Outputs":
        """Its distances, and the classes."""
        import torch

        values, classes = self.once.distances(images, batch_size)
        return torch.from_numpy(values[self.position].copy()), classes


def _train(
    benchmark: "Benchmark",
    generator: "torch.Generator",
    compute: "Compute",
    folder: Path,
    request: Request,
    schedule: Common,
    backbone: "Backbone | None",
) -> "Trained":
    from ood_shared import model_file
    from ood_shared.calibrated import calibrate
    from ood_shared.detector import Trained
    from ood_shared.notes import say

    from ood_bench.fused_fit import fit_detector

    fitted = fit_detector(benchmark, compute, generator, backbone=backbone, schedule=schedule, seed=request.seed)
    detector, n_calibration, n_train = fitted.detector, len(fitted.scores), len(benchmark.train) - len(fitted.held)
    rate = max(ALARM_RATE, 1 / (n_calibration + 1))
    if rate > ALARM_RATE:
        say([f"{n_calibration} groups calibrate the threshold of fused: it is for {100 * rate:.1f} % false alarms"])
    about = {"id": request.id, "budget": request.budget, "seed": request.seed, "calibrated_on": HELD}
    about |= {} if request.span is None else {"value_range": list(request.span)}
    calibrated = calibrate(detector, fitted.scores, fitted.taken_for, alarm_rate=rate, about=about)
    model_file.save(folder / MODEL, calibrated)
    config: dict[str, Any] = {
        "n_train": n_train,
        "n_calibration": n_calibration,
        "members": list(detector.statistics.members),
        "promise": calibrated.words(),
        "mirror": benchmark.mirror,
    }
    epochs = schedule.epochs(n_train) if backbone is None else 0
    network = detector.backbone.network if backbone is None else detector.backbone.head
    once = Once(detector)
    others: dict[str, Any] = {name: Member(once, at) for at, name in enumerate(detector.statistics.members)}
    return Trained(once, [] if network is None else [network], epochs, folder / MODEL, None, config, others=others)


if __name__ == "__main__":
    sys.exit(main())
