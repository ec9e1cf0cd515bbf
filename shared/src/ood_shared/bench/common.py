"""What every classifier gets under `--backbone common`: one network, the same images, the same number of steps.

Each method keeps its loss, its outliers and its optimizer; these are what is compared. Without torch: the flags of a
package's bench are answered before anything heavy is imported.
"""

from dataclasses import dataclass

BACKBONES = ("common", "paper")
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
        return max(1, round(self.steps / max(1, n_train // self.batch_size)))


COMMON = {
    "smoke": Common(2000, 1000, 270, 32, "smallresnet10"),
    "quick": Common(10_000, 5000, 1200, 64, "smallresnet10"),
    "full": Common(None, None, 20_000, 128, "smallresnet22"),
}
