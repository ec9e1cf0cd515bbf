"""The heads of the method, which every network has beside its classifier; key names as in the published weights.

| head | from, to | use |
|---|---|---|
| `aux_linear` | 1, 1 | affine map of a scalar score to the logit g |
| `projection` | D, D, 128 | contrastive projection |
| `lambda_linear` | D, C | ln gamma, the learned density ratios of section 4.2 |
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PROJECTION = 128


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
