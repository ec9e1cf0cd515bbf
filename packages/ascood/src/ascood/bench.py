"""The bench contract: train ASCOOD on any image set within a budget, and score it against any outlier sets.

    python -m ascood.bench --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

Images become RGB at 32 pixels. Here are the flags and the schedules; `fitting` does the work and brings torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.cli import Parser
from ood_shared.contract import bench_parser, run_bench


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used, on which network and for how long; None means all, or the paper's."""

    network: str
    train_images: int | None
    test_images: int | None  # of each set
    steps: int | None
    batch_size: int
    lr: float


SCORES = ("nnguide", "scale")  # the paper's for aircraft, a near set, and for CIFAR, whose table has the far mean
SCHEDULES = {
    "smoke": Schedule("lenet", 2000, 1000, 220, 64, 0.05),
    "quick": Schedule("resnet18_32x32_narrow", 10_000, 5000, 1200, 64, 0.1),
    "full": Schedule("resnet18_32x32", None, None, None, 128, 0.1),
}


def make_parser() -> Parser:
    """Flags of the bench contract, and which outliers are synthesised and which score is taken."""
    parser = bench_parser("ascood")
    parser.add_argument("--ood-type", default="shuffle", choices=("gradient", "shuffle", "gaussian"))
    parser.add_argument(
        "--postprocessor", default=SCORES[0],
        help=f"score of the result (default: {SCORES[0]}); {' and '.join(SCORES)} stand beside it in any case",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m ascood.bench`."""
    return run_bench("ascood.fitting", SCHEDULES, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
