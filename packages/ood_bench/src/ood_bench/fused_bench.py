"""The fused detector as a method of `ood-bench`: `python -m ood_bench.fused_bench …`; its members stand beside it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_shared.contract import COMMON, PRETRAINED, Common, Request, bench_parser, run_bench

if TYPE_CHECKING:
    import torch
    from ood_shared.datasets.benchmark import Benchmark
    from ood_shared.detector import Outputs, Trained
    from ood_shared.training import Compute
    from torch import Tensor

    from ood_bench.backbones.backbone import Backbone
    from ood_bench.fused_detector import FusedDetector

NAME, MODULE = "fused", "ood_bench.fused_bench"
ABOUT = "Fused distances over the maps of the common network (this project; sources in ood_bench.fused)"
ALARM_RATE = 0.05
FILE = "model.ood"
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


@dataclass(frozen=True)
class Member:
    """One distance of the fused detector, as a detector.

    Attributes:
        fused: whose it is.
        position: among the members.
    """

    fused: "FusedDetector"
    position: int

    def outputs(self, images: "Tensor", batch_size: int = 250) -> "Outputs":
        """Its distances, and the classes."""
        import torch

        values, classes, _ = self.fused.measure(images, batch_size)
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

    from ood_bench.fused_fit import fit_detector

    fitted = fit_detector(benchmark, compute, generator, backbone=backbone, schedule=schedule, seed=request.seed)
    detector, n_calibration = fitted.detector, len(fitted.scores)
    about = {"id": request.id, "budget": request.budget, "seed": request.seed, "calibrated_on": HELD}
    calibrated = calibrate(detector, fitted.scores, fitted.taken_for, alarm_rate=ALARM_RATE, about=about)
    model_file.save(folder / FILE, calibrated)
    config: dict[str, Any] = {
        "n_train": len(benchmark.train) - n_calibration,
        "n_calibration": n_calibration,
        "members": list(detector.statistics.members),
        "promise": calibrated.words(),
        "mirror": benchmark.mirror,
    }
    epochs = schedule.epochs(len(benchmark.train) - n_calibration) if backbone is None else 0
    network = detector.backbone.network if backbone is None else detector.backbone.head
    others: dict[str, Any] = {name: Member(detector, at) for at, name in enumerate(detector.statistics.members)}
    return Trained(detector, [] if network is None else [network], epochs, folder / FILE, None, config, others=others)


if __name__ == "__main__":
    sys.exit(main())
