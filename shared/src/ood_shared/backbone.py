"""One small residual network for whatever needs a classifier of its own: the baselines, and every package's
`--backbone common`, so that a comparison is one of methods and not of networks.

Pre-activation blocks in three stages of 16, 32 and 64 channels, average pooling, one linear layer: 78 thousand
parameters with one block a stage, 272 thousand with three. Source of the blocks: He et al., *Identity
Mappings*, ECCV 2016.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ood_shared.errors import InputError, unknown

WIDTHS = (16, 32, 64)
NETWORKS = {"smallresnet10": 1, "smallresnet22": 3}  # blocks in each stage, by name; the number counts the layers


class Block(nn.Module):
    """x + conv(conv(x)), each convolution after batch norm and ReLU; a 1 x 1 convolution where the shape changes."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(wide_in)
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide_out)
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False)
        same = stride == 1 and wide_in == wide_out
        self.shortcut = None if same else nn.Conv2d(wide_in, wide_out, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch cc hh ww"]:
        """The block's output."""
        active = F.relu(self.bn1(x))
        straight = x if self.shortcut is None else self.shortcut(active)
        inner: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return inner + straight


class SmallResNet(nn.Module):
    """The network; `features` and `fc` are its two parts.

    Args:
        n_classes: number of logits.
        channels: of the images, 1 or 3.
        blocks: in each stage.

    Raises:
        InputError: an argument below 1.
    """

    def __init__(self, n_classes: int, channels: int = 3, blocks: int = 1) -> None:
        super().__init__()
        if min(n_classes, channels, blocks) < 1:
            raise InputError(f"A network needs 1 class, channel and block or more, got {n_classes, channels, blocks}.")
        self.n_classes, self.feature_dim, self.per_stage = n_classes, WIDTHS[-1], blocks
        self.conv = nn.Conv2d(channels, WIDTHS[0], 3, 1, 1, bias=False)
        stages, width = [], WIDTHS[0]
        for number, wide in enumerate(WIDTHS):
            for position in range(blocks):
                stages.append(Block(width, wide, 2 if number and not position else 1))
                width = wide
        self.blocks = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, n_classes)

    def maps(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Feature maps after the first convolution and after each stage; the last one normalised and activated."""
        maps = [self.conv(images)]
        for stage in range(len(WIDTHS)):
            first = stage * self.per_stage
            maps.append(self.blocks[first : first + self.per_stage](maps[-1]))
        maps[-1] = F.relu(self.bn(maps[-1]))
        return maps

    def features(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Penultimate features, 64 of them, not negative."""
        return self.maps(images)[-1].mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        logits: Tensor = self.fc(self.features(images))
        return logits


def build_common(name: str, n_classes: int, channels: int = 3) -> SmallResNet:
    """A network of `NETWORKS` with PyTorch's initial weights, from the global generator.

    Raises:
        InputError: the name is not known.
    """
    if name not in NETWORKS:
        raise unknown("common network", name, NETWORKS)
    return SmallResNet(n_classes, channels, NETWORKS[name])
