"""The bench contract: train on any image set within a budget, score it against any outlier sets.

    python -m imood.bench --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

Images become 32 x 32 RGB; with `--rho` the training set becomes long-tailed. Here are the flags and the
schedules; `fitting` does the work and brings torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.cli import Parser
from ood_shared.contract import bench_parser, run_bench
from ood_shared.flags import share_or_all


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used, and for how long; None means all, or the paper's."""

    width: int
    train_images: int | None
    test_images: int | None  # of each set
    steps: int | None
    batch_size: int
    ratio: float


SCHEDULES = {
    "smoke": Schedule(8, 1500, 500, 100, 64, 0.1),
    "quick": Schedule(16, 12_000, 5000, 1000, 64, 0.1),
    "full": Schedule(64, None, None, None, 256, 0.01),
}


def make_parser() -> Parser:
    """Flags of the bench contract, and how long the tail is and which loss is taken."""
    parser = bench_parser("imood")
    parser.add_argument(
        "--imbalance_ratio", "--rho", type=share_or_all, default=None,
        help="smallest over largest class that the training set is cut to (default: all images as they are, which the "
        "other methods see, too; with --backbone paper 0.1, and 0.01 with full)",
    )  # fmt: skip
    parser.add_argument("--ood_metric", default="ada_bin_disc", help="training loss (default: ada_bin_disc)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m imood.bench`."""
    return run_bench("imood.fitting", SCHEDULES, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
