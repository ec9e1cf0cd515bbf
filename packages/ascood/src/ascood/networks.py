"""The backbones that the authors' checkpoints fit, by their key names.

`resnet18_32x32` has a 3x3 stem without max-pooling (He et al., CVPR 2016, the CIFAR variant); `resnet18_224x224` and
`resnet50` are torchvision's; `lenet` is small enough for the embedded data on a CPU. All offer

    forward(images, return_feature=False, return_feature_list=False)
    forward_threshold(images, threshold), intermediate_forward(images, layer), get_fc(), get_fc_layer()

Weights are drawn from the global generator, which the caller seeds.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from ood_shared.backbone import NETWORKS, SmallResNet
from ood_shared.errors import InputError, unknown
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock as TorchvisionBlock
from torchvision.models.resnet import Bottleneck, ResNet

LAYERS = (1, 2, 3, 4)


class Backbone(nn.Module, ABC):
    """What all backbones share: everything from the feature maps on."""

    fc: nn.Linear
    feature_size: int
    name: str  # in `BACKBONES`

    @abstractmethod
    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps after the stem and after each layer; the last one not yet pooled."""

    def forward(self, images: Tensor, return_feature: bool = False, return_feature_list: bool = False) -> Any:
        """Logits (batch, classes); with a flag also the features (batch, dim) or the list of maps.

        Args:
            images: normalised float images (batch, channels, height, width).
            return_feature: logits and the penultimate features.
            return_feature_list: logits and the maps after the stem, the layers, and the pooled last one
                (batch, dim, 1, 1).
        """
        maps = self.stages(images)
        pooled = F.adaptive_avg_pool2d(maps[-1], 1)  # (batch, dim, 1, 1)
        features = pooled.flatten(1)
        logits = self.fc(features)
        if return_feature:
            return logits, features
        if return_feature_list:
            return logits, [*maps[:-1], pooled]
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features (batch, dim), without the logits that nobody reads."""
        return F.adaptive_avg_pool2d(self.stages(images)[-1], 1).flatten(1)

    def forward_threshold(self, images: Tensor, threshold: float) -> Tensor:
        """Logits of features clipped from above (ReAct)."""
        return self.fc(self.features(images).clamp(max=threshold))

    def intermediate_forward(self, images: Tensor, layer_index: int) -> Tensor:
        """Output of layer 1, 2, 3 or 4.

        Raises:
            InputError: another layer.
        """
        maps = self.stages(images)
        if not 1 <= layer_index < len(maps):
            raise InputError(f"Layer {layer_index} is not one of 1 to {len(maps) - 1}.")
        return maps[layer_index]

    def get_fc(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weight (classes, dim) and bias (classes,) of the last layer, as arrays."""
        return self.fc.weight.detach().cpu().numpy(), self.fc.bias.detach().cpu().numpy()

    def get_fc_layer(self) -> nn.Linear:
        """The last layer."""
        return self.fc


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut x), with the key names of the CIFAR ResNets."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18_32x32(Backbone):
    """ResNet-18 for 32x32 images; any size goes."""

    def __init__(self, num_classes: int, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for number, (factor, stride) in enumerate(((1, 1), (2, 2), (4, 2), (8, 2)), start=1):
            blocks = nn.Sequential(
                BasicBlock(inputs, factor * width, stride), BasicBlock(factor * width, factor * width, 1)
            )
            setattr(self, f"layer{number}", blocks)
            inputs = factor * width
        self.feature_size = inputs
        self.fc = nn.Linear(inputs, num_classes)

    def stages(self, images: Tensor) -> list[Tensor]:
        """See `Backbone.stages`."""
        maps = [F.relu(self.bn1(self.conv1(images)))]
        for number in LAYERS:
            maps.append(getattr(self, f"layer{number}")(maps[-1]))
        return maps


class TorchvisionResNet(Backbone):
    """torchvision's ResNet with the interface of the other backbones; its modules are its own, so the keys agree."""

    def __init__(self, block: type, layers: list[int], num_classes: int) -> None:
        super().__init__()
        whole = ResNet(block, layers, num_classes=num_classes)
        self.feature_size = whole.fc.in_features
        for name, module in whole.named_children():
            self.add_module(name, module)

    def stages(self, images: Tensor) -> list[Tensor]:
        """See `Backbone.stages`."""
        modules = self._modules
        x = images
        for name in ("conv1", "bn1", "relu", "maxpool"):
            x = modules[name](x)  # type: ignore[misc]
        maps = [x]
        for number in LAYERS:
            maps.append(modules[f"layer{number}"](maps[-1]))  # type: ignore[misc]
        return maps


class LeNet(Backbone):
    """Two convolutions and one narrow layer: about 25,000 parameters, for the embedded data."""

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.feature_size = 64
        self.fc = nn.Linear(64, num_classes)

    def stages(self, images: Tensor) -> list[Tensor]:
        """See `Backbone.stages`."""
        first = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 2)
        second = F.max_pool2d(F.relu(self.bn2(self.conv2(first))), 2)
        return [images, first, second, F.relu(self.bn3(self.conv3(second)))]


class CommonNetwork(Backbone, SmallResNet):
    """The network that `ood-bench` gives to every method, with this package's interface."""

    def __init__(self, num_classes: int, channels: int = 3, blocks: int = 1) -> None:
        super().__init__(num_classes, channels, blocks)
        self.feature_size = self.feature_dim

    def stages(self, images: Tensor) -> list[Tensor]:
        """See `Backbone.stages`; three layers."""
        return self.maps(images)


def make_backbone(name: str, num_classes: int) -> Backbone:
    """A backbone with fresh weights.

    Raises:
        InputError: the name is not known, or there are no classes.
    """
    if num_classes < 1:
        raise InputError(f"The network has {num_classes} classes; expected at least 1.")
    if name not in BACKBONES:
        raise unknown("Network", name, BACKBONES)
    made = _made(name, num_classes)
    made.name = name
    return made


def _made(name: str, num_classes: int) -> Backbone:
    if name == "resnet18_32x32":
        return ResNet18_32x32(num_classes)
    if name == "resnet18_32x32_narrow":
        return ResNet18_32x32(num_classes, width=16)
    if name == "lenet":
        return LeNet(num_classes)
    if name in NETWORKS:
        return CommonNetwork(num_classes, blocks=NETWORKS[name])
    if name == "resnet18_224x224":
        return TorchvisionResNet(TorchvisionBlock, [2, 2, 2, 2], num_classes)
    return TorchvisionResNet(Bottleneck, [3, 4, 6, 3], num_classes)


BACKBONES = ("resnet18_32x32", "resnet18_224x224", "resnet50", "lenet", "resnet18_32x32_narrow", *NETWORKS)
