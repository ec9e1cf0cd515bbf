"""ResNet-50 for baselines: the standard one, and one for images of 32 x 32 pixels without the final average pool.

Source: He et al., CVPR 2016, with the stride in the 3 x 3 convolution (the layout known as v1.5). The commands of the
original cannot reach these networks. Keys of the state dicts are those of torchvision's ResNet-50.
"""

import math

import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.errors import InputError
from torch import Tensor, nn

EXPANSION = 4
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and number of blocks
FEATURES = STAGES[-1][0] * EXPANSION
NORM_FLOOR = 1e-4  # added to the norms of the G-ODIN head


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution with batch norm, and a shortcut that is projected where the shape changes."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        out_planes = planes * EXPANSION
        self.conv1 = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_planes)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_planes != out_planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False), nn.BatchNorm2d(out_planes)
            )

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out hh ww"]:
        """The block's output, activated."""
        update = F.relu(self.bn1(self.conv1(x)))
        update = F.relu(self.bn2(self.conv2(update)))
        return F.relu(self.bn3(self.conv3(update)) + self.downsample(x))


class StandardResNet50(nn.Module):
    """ResNet-50 for images of any size from 32 pixels on; returns (logits, 2048 features)."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        if n_classes < 1:
            raise InputError(f"n_classes must be at least 1, got {n_classes}.")
        self.n_classes, self.feature_dim = n_classes, FEATURES
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        in_planes = 64
        for number, (planes, blocks) in enumerate(STAGES, start=1):
            stride = 1 if number == 1 else 2
            stage = [Bottleneck(in_planes, planes, stride)]
            in_planes = planes * EXPANSION
            stage += [Bottleneck(in_planes, planes, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.fc = nn.Linear(FEATURES, n_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, 0, math.sqrt(2 / (part.kernel_size[0] ** 2 * part.out_channels)))

    def feature_map(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 2048 hh ww"]:
        """The map before any pooling; 1 x 1 for images of 32 x 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for number in range(1, len(STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
        return x

    def features(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 2048"]:
        """Penultimate features: the map averaged."""
        return self.feature_map(images).mean(dim=(2, 3))

    def forward(
        self, images: Float[Tensor, "batch 3 h w"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch 2048"]]:
        """Logits and features."""
        features = self.features(images)
        return self.fc(features), features


class SmallResNet50(StandardResNet50):
    """ResNet-50 without the final average pool, for images whose last map is 1 x 1: up to 32 x 32 pixels."""

    def features(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 2048"]:
        """Penultimate features: the 1 x 1 map.

        Raises:
            InputError: the images leave a larger map.
        """
        last = self.feature_map(images)
        if last.shape[2:] != (1, 1):
            raise InputError(f"This ResNet-50 takes images of up to 32 x 32 pixels, got {tuple(images.shape[2:])}.")
        return last.flatten(1)


class SmallGodinResNet50(SmallResNet50):
    """`SmallResNet50` with the G-ODIN head; `fc` has no bias."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(n_classes)
        self.fc = nn.Linear(FEATURES, n_classes, bias=False)
        self.g = nn.Sequential(nn.Linear(FEATURES, 1), nn.BatchNorm1d(1), nn.Sigmoid())

    def forward(  # type: ignore[override]
        self, images: Float[Tensor, "batch 3 h w"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch classes"], Float[Tensor, "batch 1"]]:
        """Quotient, numerator and denominator of the decomposed confidence; the quotient serves as logits."""
        return godin_logits(self.features(images), self.fc.weight, self.g)


def godin_logits(
    features: Float[Tensor, "batch features"], weight: Float[Tensor, "classes features"], denominator: nn.Module
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch classes"], Float[Tensor, "batch 1"]]:
    """h'W' / g(h), h'W' and g(h), with h' = h / (|h| + 1e-4) and the rows of W likewise (Hsu et al., eq. 5 and 8)."""
    unit_features = features / (features.norm(dim=1, keepdim=True) + NORM_FLOOR)
    unit_weight = weight / (weight.norm(dim=1, keepdim=True) + NORM_FLOOR)
    numerator = unit_features @ unit_weight.T
    share = denominator(features)
    return numerator / share, numerator, share
