"""The bench contract: train on any image set within a budget, score it against any outlier sets.

    python -m oodgen.bench --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

Images of any colour, and of any one size, become 28 x 28 grey. The default mode is trained with a schedule that fits
the budget. Here are the flags and the schedules; `fitting` does the work and brings torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.contract import bench_parser, run_bench


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used and for how long; None means all."""

    train_images: int | None
    test_images: int | None  # of each set
    vae_steps: int | None
    classifier_steps: int | None
    lr: float
    ood_weight: float | None  # None: from the counts


SCHEDULES = {
    "smoke": Schedule(2000, 1000, 500, 260, 0.5, 0.1),
    "quick": Schedule(10_000, 10_000, 1500, 2000, 0.5, 0.1),
    "full": Schedule(None, None, None, None, 0.05, None),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m oodgen.bench`."""
    parser = bench_parser("oodgen")
    parser.add_argument(
        "--id_recon",
        action="store_true",
        help="train with the VAE's reconstructions of the images as in-distribution, too (ours, not the paper's)",
    )
    return run_bench("oodgen.fitting", SCHEDULES, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
