"""Wide residual networks with pre-activation, and the G-ODIN head: images of 32 x 32 pixels to logits and features.

Source: Zagoruyko, Komodakis, BMVC 2016; the paper uses depth 40, width 2, dropout 0.3. Keys of the state dicts are
those of the authors' released checkpoints. `resnet.py` has the ResNet-50 variants; `build_model` makes any of them.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.backbone import NETWORKS, SmallResNet
from ood_shared.errors import InputError, unknown
from torch import Tensor, nn

from know_your_space.resnet import SmallGodinResNet50, SmallResNet50, StandardResNet50, godin_logits

SIDE = 32  # height and width of the images, pixels
STEM = 16  # channels of the first convolution


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions behind batch norm and ReLU.

    Where the width changes, the shortcut is a 1 x 1 convolution of the activated input; otherwise the raw input.
    """

    def __init__(self, in_planes: int, out_planes: int, stride: int, drop_rate: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, out_planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_planes)
        self.conv2 = nn.Conv2d(out_planes, out_planes, 3, padding=1, bias=False)
        self.drop_rate = drop_rate
        if in_planes != out_planes:
            self.convShortcut = nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)
        self.widens = in_planes != out_planes

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out hh ww"]:
        """The block's output before any activation."""
        activated = F.relu(self.bn1(x))
        update = F.relu(self.bn2(self.conv1(activated)))
        update = self.conv2(F.dropout(update, self.drop_rate, self.training))
        return (self.convShortcut(activated) if self.widens else x) + update


class Stage(nn.Module):
    """Blocks of one resolution; the first one changes width and stride."""

    def __init__(self, blocks: int, in_planes: int, out_planes: int, stride: int, drop_rate: float) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            *(
                BasicBlock(in_planes if i == 0 else out_planes, out_planes, stride if i == 0 else 1, drop_rate)
                for i in range(blocks)
            )
        )

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out hh ww"]:
        """The blocks one after the other."""
        return self.layer(x)


class WideResNet(nn.Module):
    """Pre-activation wide residual network; 2,243,030 parameters for 6 classes.

    Args:
        n_classes: number of logits.
        depth: layers; (depth - 4) must be divisible by 6.
        widen: factor on the widths 16, 32, 64; the features have 64 widen dimensions.
        drop_rate: elementwise dropout between the convolutions of a block, while training.

    Raises:
        InputError: an argument out of range.
    """

    def __init__(self, n_classes: int, depth: int = 40, widen: int = 2, drop_rate: float = 0.3) -> None:
        super().__init__()
        if n_classes < 1 or widen < 1:
            raise InputError(f"n_classes and --widen-factor must be at least 1, got {n_classes} and {widen}.")
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"--layers {depth} makes no wide residual network; expected 10, 16, 22, 28, 34, 40, ….")
        if not 0 <= drop_rate < 1:
            raise InputError(f"--droprate {drop_rate} is no probability below 1.")
        self.n_classes, self.feature_dim = n_classes, 64 * widen
        blocks, widths = (depth - 4) // 6, [STEM * widen, 2 * STEM * widen, 4 * STEM * widen]
        self.conv1 = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
        self.block1 = Stage(blocks, STEM, widths[0], 1, drop_rate)
        self.block2 = Stage(blocks, widths[0], widths[1], 2, drop_rate)
        self.block3 = Stage(blocks, widths[1], widths[2], 2, drop_rate)
        self.bn1 = nn.BatchNorm2d(self.feature_dim)
        self.fc = nn.Linear(self.feature_dim, n_classes)
        _initialise(self)

    def stages(
        self, images: Float[Tensor, "batch 3 32 32"]
    ) -> tuple[Float[Tensor, "batch c1 32 32"], Float[Tensor, "batch c2 16 16"], Float[Tensor, "batch c3 8 8"]]:
        """The outputs of the three stages.

        Raises:
            InputError: the images have another size or number of channels.
        """
        if tuple(images.shape[1:]) != (3, SIDE, SIDE):
            raise InputError(f"The network takes images of shape (3, {SIDE}, {SIDE}), got {tuple(images.shape[1:])}.")
        first = self.block1(self.conv1(images))
        second = self.block2(first)
        return first, second, self.block3(second)

    def features(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch features"]:
        """Penultimate features: the last stage, normalised, activated and averaged over the map."""
        last = F.relu(self.bn1(self.stages(images)[-1]))
        return last.mean(dim=(2, 3))

    def forward(
        self, images: Float[Tensor, "batch 3 32 32"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch features"]]:
        """Logits and features. `fc` alone maps features, real or drawn, to logits."""
        features = self.features(images)
        return self.fc(features), features


class GodinWideResNet(WideResNet):
    """The wide residual network with the G-ODIN head (Hsu et al., CVPR 2020, cosine variant); `fc.bias` is unused."""

    def __init__(self, n_classes: int, depth: int = 40, widen: int = 2, drop_rate: float = 0.3) -> None:
        super().__init__(n_classes, depth, widen, drop_rate)
        self.g = nn.Sequential(nn.Linear(self.feature_dim, 1), nn.BatchNorm1d(1), nn.Sigmoid())

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "batch 3 32 32"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch classes"], Float[Tensor, "batch 1"]]:
        """Quotient, numerator and denominator of the decomposed confidence; the quotient serves as logits."""
        return godin_logits(self.features(images), self.fc.weight, self.g)


class CommonNetwork(SmallResNet):
    """The network that `ood-bench` gives to every method, with this package's interface."""

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "batch 3 h w"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch features"]]:
        """Logits and features. `fc` alone maps features, real or drawn, to logits."""
        features = self.features(images)
        return self.fc(features), features


Network = WideResNet | CommonNetwork  # what can be trained with the method

MODELS: dict[str, Callable[..., nn.Module]] = {
    "wrn": WideResNet,
    "wrn_godin": GodinWideResNet,
    "resnet50_small": SmallResNet50,
    "resnet50_small_godin": SmallGodinResNet50,
    "resnet50": StandardResNet50,
    **{name: partial(CommonNetwork, blocks=blocks) for name, blocks in NETWORKS.items()},
}


def build_model(model_type: str, n_classes: int, depth: int = 40, widen: int = 2, drop_rate: float = 0.3) -> nn.Module:
    """A new network; `depth`, `widen` and `drop_rate` are options of the wide residual ones only.

    Raises:
        InputError: the model is not known.
    """
    if model_type not in MODELS:
        raise unknown("--model_type", model_type, MODELS)
    if model_type.startswith("wrn"):
        return MODELS[model_type](n_classes, depth, widen, drop_rate)
    return MODELS[model_type](n_classes)


def _initialise(module: nn.Module) -> None:
    """Convolutions N(0, 2 / (k k out)), linear biases 0, the rest as PyTorch has it; from torch's global generator."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            height, width = part.kernel_size
            nn.init.normal_(part.weight, 0, math.sqrt(2 / (height * width * part.out_channels)))
        elif isinstance(part, nn.Linear):
            with torch.no_grad():
                part.bias.zero_()
