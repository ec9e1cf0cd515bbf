"""The bench contract: train on any image set within a budget, score it against any outlier sets.

    python -m know_your_space.bench --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out

Images of any colour and size become 32 x 32 RGB, the network's input. `smoke` and `quick` train a smaller network for
fewer steps; `full` is the paper's. Here are the flags and the schedules; `fitting` does the work and brings torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.contract import bench_parser, run_bench


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used and for how long; None means all, or the paper's."""

    train_images: int | None
    test_images: int | None  # of each set
    steps: int | None
    layers: int
    widen_factor: int
    droprate: float
    batch_size: int
    lr: float
    sample_number: int  # features queued of each class, at most


SCHEDULES = {
    "smoke": Schedule(2000, 1000, 350, 10, 1, 0.0, 32, 2e-3, 32),
    "quick": Schedule(10_000, 5000, 1000, 16, 2, 0.0, 64, 2e-3, 100),
    "full": Schedule(None, None, None, 40, 2, 0.3, 128, 1e-3, 250),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m know_your_space.bench`."""
    return run_bench("know_your_space.fitting", SCHEDULES, bench_parser("know_your_space"), argv)


if __name__ == "__main__":
    sys.exit(main())
