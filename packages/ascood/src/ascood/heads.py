"""Heads on a backbone: ASCOOD's standardised features and T2FNorm's normalised ones.

ASCOODNet (arXiv 2411.10794, section 3.3): features h (batch, dim) are standardised sample by sample,

    h' = sigma (h - mean h) / (std h + 1e-6),   std with the divisor dim - 1,   logits = W h' + b,

while `return_feature` gives the raw h. Keys: `sigma` (a buffer), then `backbone.…`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-6  # added to the standard deviation, outside of the root


def standardise(
    features: Float[Tensor, "batch dim"], sigma: Float[Tensor, ""] | float = 1.0
) -> Float[Tensor, "batch dim"]:
    """Each row with mean 0 and standard deviation sigma; a constant row becomes zeros up to rounding.

    Args:
        features: penultimate features; any float dtype.
        sigma: standard deviation of the result, positive.
    """
    centred = features - features.mean(dim=1, keepdim=True)
    return sigma * centred / (features.std(dim=1, keepdim=True) + EPSILON)


class Wrapper(nn.Module):
    """What both heads share: a backbone, and its last layer."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = backbone

    @property
    def fc(self) -> nn.Linear:
        """The backbone's last layer; it expects the features as the head prepares them."""
        layer: nn.Linear = self.backbone.fc
        return layer

    def get_fc_layer(self) -> nn.Linear:
        """The last layer."""
        return self.fc

    def get_fc(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weight (classes, dim) and bias (classes,) of the last layer, as arrays."""
        return self.fc.weight.detach().cpu().numpy(), self.fc.bias.detach().cpu().numpy()

    def _features(self, images: Tensor) -> Tensor:
        if hasattr(self.backbone, "features"):
            features: Tensor = self.backbone.features(images)
            return features
        raw: Tensor = self.backbone(images, return_feature=True)[1]
        return raw


class ASCOODNet(Wrapper):
    """A backbone whose logits come from standardised features."""

    sigma: Tensor

    def __init__(self, backbone: nn.Module, sigma: float = 1.0) -> None:
        super().__init__(backbone)
        self.register_buffer("sigma", torch.tensor(float(sigma)))

    def set_params(self, sigma: float) -> None:
        """Set the standard deviation of the features, in place."""
        self.sigma.fill_(sigma)

    def forward(self, images: Tensor, return_feature: bool = False) -> Any:
        """Logits (batch, classes); with the flag also the raw features (batch, dim)."""
        features = self._features(images)
        logits = self.head(features)
        return (logits, features) if return_feature else logits

    def head(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits of raw features."""
        return self.fc(standardise(features, self.sigma))


class T2FNormNet(Wrapper):
    """Regmi et al., T2FNorm, CVPR workshops 2024: trained on fc(h / |h| / tau), scored on fc(h / tau).

    With 1000 classes the score logits are fc(h), as the authors do for ImageNet.
    """

    tau: Tensor

    def __init__(self, backbone: nn.Module, num_classes: int, tau: float = 1.0) -> None:
        super().__init__(backbone)
        self.num_classes = num_classes
        self.register_buffer("tau", torch.tensor(float(tau)))

    def set_params(self, tau: float) -> None:
        """Set the temperature of the features, in place."""
        self.tau.fill_(tau)

    def forward(self, images: Tensor, return_feature: bool = False) -> Any:
        """Logits that are trained (batch, classes); with the flag also the raw features (batch, dim)."""
        features = self._features(images)
        logits = self.head(features)
        return (logits, features) if return_feature else logits

    def head(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits that are trained."""
        return self.fc(F.normalize(features, dim=1) / self.tau)

    def score_head(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits that the score `t2fnorm` reads."""
        return self.fc(features if self.num_classes == 1000 else features / self.tau)
