"""What every classifier gets under `--backbone common`: one network, as many steps on the same images and views.

Each method keeps its loss, its outliers and its optimizer; these are what is compared. Without torch: the flags of a
package's bench are answered before anything heavy is imported.
"""

import argparse
from dataclasses import dataclass

BACKBONES = ("common", "paper")
MIRRORS = ("auto", "yes", "no")
LR = 2e-3  # of Adam, at the start, where a method brings no optimizer of its own


@dataclass(frozen=True)
class Common:
    """The training of a classifier within a budget; None means all images.

    Attributes:
        train_images: most images to train on.
        test_images: most images of each set to score.
        steps: of the optimizer, about: whole epochs are trained.
        batch_size: ID images in a step.
        network: a name in `ood_shared.backbone.NETWORKS`.
    """

    train_images: int | None
    test_images: int | None
    steps: int
    batch_size: int
    network: str

    def epochs(self, n_train: int) -> int:
        """Passes over `n_train` images that come to about so many steps; at least one."""
        return epochs_of(self.steps, n_train, self.batch_size)


COMMON = {
    "smoke": Common(2000, 1000, 270, 32, "smallresnet10"),
    "quick": Common(10_000, 5000, 1200, 64, "smallresnet10"),
    "full": Common(None, None, 20_000, 128, "smallresnet22"),
}


def common_of(options: argparse.Namespace) -> Common | None:
    """The training of the budget that `options` name; None with `--backbone paper`."""
    return COMMON[options.budget] if options.backbone == "common" else None


def epochs_of(steps: int, n_images: int, batch_size: int) -> int:
    """Whole epochs of full batches that come to about so many steps; at least one."""
    return max(1, round(steps / max(1, n_images // batch_size)))
