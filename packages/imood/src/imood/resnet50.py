"""The network for ImageNet; apart from the others, as torchvision's models take longer to import than torch."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from imood.heads import Heads

DIM_RESNET50 = 2048


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
