"""The bench contract: train on images or volumes within a budget, score them against outliers.

    python -m mood_dpa.bench --id digits --ood textures,gaussian --seed 0 --budget smoke --output-dir out
    python -m mood_dpa.bench --id mni152 --ood synthetic --output-dir out          # embedded subjects
    python -m mood_dpa.bench --id FOLDER --ood synthetic,OTHER_FOLDER --output-dir out   # folders of NIfTI volumes

Image sets of any size and colour become grey slices of 32 x 32. The score of an image is its relative perceptual
reconstruction error, that of a volume the maximum of its map averaged over three axes. Nothing predicts classes.
Here are the flags and the schedules; `bench_runs` does the work and brings torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ood_shared.contract import bench_parser, run_bench

from mood_dpa.flags import add_rescale_flags


@dataclass(frozen=True)
class Schedule:
    """How much of the data is used and for how long; None means all, or the paper's.

    Attributes:
        simclr_steps: of the first stage; 0 takes random features, and says so. Short runs leave it out: some dozens of
            steps gave worse features than the random ones that they began with (README, Results).
        steps: of the autoencoder; for volumes, of all three together.
        width: channels of every layer.
        layer: of VGG19, in which images are compared.
    """

    train_images: int | None
    test_images: int | None
    simclr_steps: int
    steps: int
    width: int
    latent_dim: int
    layer: str
    lr: float
    batch_size: int = 32
    subjects: int = 10


SCHEDULES = {
    "smoke": Schedule(1500, 300, 0, 90, 16, 16, "r22", 2e-3),
    "quick": Schedule(5000, 2000, 0, 900, 24, 24, "r22", 2e-3, 32, 16),
    "full": Schedule(None, None, 20_000, 300_000, 64, 64, "r32", 2e-4, 64, 40),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m mood_dpa.bench`."""
    parser = bench_parser("mood-dpa")
    add_rescale_flags(parser)
    return run_bench("mood_dpa.bench_runs", SCHEDULES, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
