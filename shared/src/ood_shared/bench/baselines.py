"""Plain detectors on one cross-entropy classifier, for comparison: what a method has to beat.

    python -m ood_shared.bench.baselines --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

One classifier is trained and every image passes it once; `out/<detector>/` then holds `result.json` and `scores.npz` of
each detector. The detectors are those of pytorch-ood. Here are the flags and the schedules; `baseline_runs` does the
work.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.bench.flags import bench_parser, run_bench

DETECTORS = ("msp", "max_logit", "energy", "odin", "knn", "mahalanobis", "vim", "react")


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used and for how long; None means all."""

    train_images: int | None
    test_images: int | None  # of each set
    steps: int
    batch_size: int
    blocks: int  # of the network, in each stage
    lr: float  # at the start; it falls to 0 along a cosine


SCHEDULES = {
    "smoke": Schedule(2000, 1000, 350, 32, 1, 2e-3),
    "quick": Schedule(10_000, 5000, 2000, 64, 1, 2e-3),
    "full": Schedule(None, None, 20_000, 128, 2, 2e-3),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m ood_shared.bench.baselines`."""
    parser = bench_parser("baselines")
    parser.add_argument(
        "--detectors", default=",".join(DETECTORS), metavar="A,B", help=f"of {', '.join(DETECTORS)} (default: all)"
    )
    return run_bench("ood_shared.bench.baseline_runs", SCHEDULES, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
