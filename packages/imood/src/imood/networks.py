"""ResNets for 32 x 32 images and for ImageNet, with the heads of the method; key names as in the published weights.

| head | from, to | use |
|---|---|---|
| `linear` (`fc` in ResNet50) | D, outputs | classifier, with 1 or 2 more columns where the metric has an OOD output |
| the others | | `heads` |
"""

from typing import TYPE_CHECKING, TypeAlias, cast

import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.backbone import NETWORKS as COMMON_NETWORKS
from ood_shared.backbone import SmallResNet
from ood_shared.errors import unknown
from torch import Tensor, nn

from imood.heads import Heads

if TYPE_CHECKING:
    from imood.resnet50 import ImageNetResNet50

BLOCKS = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3)}
RESNET50 = "ResNet50"
NETWORKS = (*BLOCKS, RESNET50)
ALL_NETWORKS = (*NETWORKS, *COMMON_NETWORKS)
WIDTH = 64  # channels of the first stage


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(Heads):
    """ResNet18 or ResNet34 with a 3 x 3 stem of stride 1, for images of about 32 x 32 pixels."""

    def __init__(self, name: str, n_classes: int, n_outputs: int, width: int = WIDTH) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for number, count in enumerate(BLOCKS[name]):
            outputs = width * 2**number
            strides = [1 if number == 0 else 2] + [1] * (count - 1)
            blocks = [BasicBlock(inputs if i == 0 else outputs, outputs, stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.linear = nn.Linear(inputs, n_outputs)
        self.add_heads(inputs, n_classes)

    @property
    def classifier(self) -> nn.Linear:
        """The layer from features to logits."""
        return self.linear

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n dim"]]:
        """Logits and features of images in [0, 1]."""
        x = F.relu(self.bn1(self.conv1(images)))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        features = x.mean(dim=(2, 3))
        return self.linear(features), features


class CommonNetwork(SmallResNet, Heads):
    """The network that `ood-bench` gives to every method, with the heads of this one."""

    def __init__(self, n_classes: int, n_outputs: int, blocks: int) -> None:
        super().__init__(n_outputs, 3, blocks)
        self.add_heads(self.feature_dim, n_classes)

    @property
    def classifier(self) -> nn.Linear:
        """The layer from features to logits."""
        return self.fc

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n dim"]]:
        """Logits and features of images in [0, 1]."""
        features = self.features(images)
        return self.fc(features), features


Network: TypeAlias = "CifarResNet | ImageNetResNet50 | CommonNetwork"


def build(name: str, n_classes: int, n_outputs: int, width: int = WIDTH) -> Network:
    """A network by its name, with PyTorch's initial weights.

    Args:
        name: one of `NETWORKS`, or a common network of `ood-bench`.
        n_classes: C.
        n_outputs: columns of the classifier, see `metrics.n_outputs_of`.
        width: channels of the first stage of ResNet18 and ResNet34; 64 in the paper.

    Raises:
        InputError: the name is not known.
    """
    if name == RESNET50:
        from imood.resnet50 import ImageNetResNet50

        return ImageNetResNet50(n_classes, n_outputs)
    if name in COMMON_NETWORKS:
        return CommonNetwork(n_classes, n_outputs, COMMON_NETWORKS[name])
    if name not in BLOCKS:
        raise unknown("--model", name, NETWORKS)
    return CifarResNet(name, n_classes, n_outputs, width)


def name_of(network: Network) -> str:
    """The name that `build` takes for such a network."""
    if isinstance(network, CommonNetwork):
        return next(name for name, blocks in COMMON_NETWORKS.items() if blocks == network.per_stage)
    if not isinstance(network, CifarResNet):
        return RESNET50
    count = len(cast(nn.Sequential, network.get_submodule("layer1")))
    return next(name for name, blocks in BLOCKS.items() if blocks[0] == count)
