"""ResNets for 32 x 32 images and for ImageNet, with the heads of the method; key names as in the published weights.

| head | from, to | use |
|---|---|---|
| `linear` (`fc` in ResNet50) | D, outputs | classifier, with 1 or 2 more columns where the metric has an OOD output |
| `aux_linear` | 1, 1 | affine map of a scalar score to the logit g |
| `projection` | D, D, 128 | contrastive projection |
| `lambda_linear` | D, C | ln gamma, the learned density ratios of section 4.2 |
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.backbone import NETWORKS as COMMON_NETWORKS
from ood_shared.backbone import SmallResNet
from ood_shared.errors import unknown
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from imood.metrics import metric_of

PROJECTION = 128
DIM_RESNET50 = 2048
BLOCKS = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3)}
NETWORKS = (*BLOCKS, "ResNet50")
ALL_NETWORKS = (*NETWORKS, *COMMON_NETWORKS)
WIDTH = 64  # channels of the first stage


class Heads(nn.Module):
    """The heads besides the classifier; part of every network, whatever the metric."""

    aux_linear: nn.Linear
    projection: nn.Sequential
    lambda_linear: nn.Linear

    def add_heads(self, features: int, n_classes: int) -> None:
        """Make the heads for `features` features and `n_classes` classes."""
        self.aux_linear = nn.Linear(1, 1)
        self.projection = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(inplace=True), nn.Linear(features, PROJECTION)
        )
        self.lambda_linear = nn.Linear(features, n_classes)
        nn.init.zeros_(self.lambda_linear.bias)

    def project(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n 128"]:
        """Projections of unit length."""
        return F.normalize(self.projection(features), dim=1)

    def gamma(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n classes"]:
        """exp(lambda_linear(features)), before the lower clamp of the loss."""
        return self.lambda_linear(features).exp()


class HeadsOnly(Heads):
    """The heads without a network, for features that come from elsewhere."""

    def __init__(self, features: int, n_classes: int) -> None:
        super().__init__()
        self.add_heads(features, n_classes)


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


class ImageNetResNet50(ResNet, Heads):
    """torchvision's ResNet-50 v1.5 with the heads of the method."""

    def __init__(self, n_classes: int, n_outputs: int) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=n_outputs)
        self.add_heads(DIM_RESNET50, n_classes)

    @property
    def classifier(self) -> nn.Linear:
        """The layer from features to logits."""
        return cast(nn.Linear, self.fc)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n dim"]]:
        """Logits and features of normalised images."""
        x = images
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"):
            x = self.get_submodule(name)(x)
        features = torch.flatten(x, 1)
        return self.classifier(features), features


Network = CifarResNet | ImageNetResNet50 | CommonNetwork


def n_outputs_of(metric: str, n_classes: int) -> int:
    """Columns of the classifier for a metric: C, one more for an OOD or background column, two more for `mc_disc`."""
    return n_classes + metric_of(metric).extra_outputs


def build(name: str, n_classes: int, n_outputs: int, width: int = WIDTH) -> Network:
    """A network by its name, with PyTorch's initial weights.

    Args:
        name: one of `NETWORKS`, or a common network of `ood-bench`.
        n_classes: C.
        n_outputs: columns of the classifier, see `n_outputs_of`.
        width: channels of the first stage of ResNet18 and ResNet34; 64 in the paper.

    Raises:
        InputError: the name is not known.
    """
    if name == "ResNet50":
        return ImageNetResNet50(n_classes, n_outputs)
    if name in COMMON_NETWORKS:
        return CommonNetwork(n_classes, n_outputs, COMMON_NETWORKS[name])
    if name not in BLOCKS:
        raise unknown("--model", name, NETWORKS)
    return CifarResNet(name, n_classes, n_outputs, width)


def name_of(network: Network) -> str:
    """The name that `build` takes for such a network."""
    if isinstance(network, ImageNetResNet50):
        return "ResNet50"
    if isinstance(network, CommonNetwork):
        return next(name for name, blocks in COMMON_NETWORKS.items() if blocks == network.per_stage)
    count = len(cast(nn.Sequential, network.get_submodule("layer1")))
    return next(name for name, blocks in BLOCKS.items() if blocks[0] == count)
