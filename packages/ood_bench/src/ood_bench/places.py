"""Where an image departs from training: a Gaussian of every channel at every place of the maps, its mean square over
channels in units of what calibration images seldom pass.

    a(y, x) = mean_c ((w_c(y, x) - mu_c(y, x)) / sigma_c(y, x))^2 / level,   level = 99 % quantile of a on calibration

so that 1 is passed by one place in a hundred of images like the calibration images. The map shows, it does not decide:
the score is F's. Source: Defard et al., *PaDiM*, ICPR 2021, with the covariance of each place reduced to its diagonal.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TINY = 1e-6
QUANTILE = 0.99
FLAT = 0.05  # of a channel's mean deviation, below which a place counts as this far spread: borders are often constant


@dataclass(frozen=True)
class Places:
    """What is fitted on ID images; float32.

    Attributes:
        mean: (channels, p, p).
        std: (channels, p, p).
        level: 99 % quantile of the departure on calibration images.
    """

    mean: Float[Tensor, "c p p"]
    std: Float[Tensor, "c p p"]
    level: float

    def departure(self, grids: Float[Tensor, "n w"]) -> Float[Tensor, "n p p"]:
        """a of each image, from the maps averaged to the grid, `Pass.places`."""
        w = grids.float().unflatten(1, self.mean.shape)
        return ((w - self.mean) / self.std).square().mean(dim=1) / self.level


def fit_places(fit: Float[Tensor, "n w"], calibration: Float[Tensor, "m w"], side: int) -> Places:
    """The Gaussians of the fit images, the level of the calibration images; both `Pass.places`, on a grid of `side`."""
    w = fit.float().unflatten(1, (-1, side, side))
    std = w.std(dim=0, correction=0)
    spread = FLAT * std.mean(dim=(1, 2), keepdim=True)
    raw = Places(w.mean(dim=0), torch.maximum(std, spread) + TINY, 1.0)
    level = float(np.quantile(raw.departure(calibration).numpy(), QUANTILE))
    return Places(raw.mean, raw.std, max(level, TINY))
