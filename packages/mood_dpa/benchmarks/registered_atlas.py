"""An atlas that is brought to each volume by an affine map first: the plain answer to heads that lie differently.

The map takes the coordinates of a volume, in [-1, 1], to those of the atlas. It is found by gradient steps on the
normalised cross correlation of the volume and the atlas at that place, first coarsely. The atlas is the mean of the
healthy volumes, brought onto their own mean twice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from plain_detectors import LEAST_SD
from scipy.ndimage import gaussian_filter
from torch import Tensor

Array = npt.NDArray[np.float32]
ROUNDS = 2
STEPS = ((16, 60, 0.02), (32, 40, 0.005))  # side of the volumes, gradient steps, rate
AT_ONCE = 16


@dataclass(frozen=True)
class Atlas:
    """Mean and standard deviation (1, 1, n, n, n) of aligned healthy volumes."""

    mean: Tensor
    sd: Tensor

    def detector(self, sigma: float) -> Callable[[Array], Array]:
        """The map |x - mean| / (sd + 0.1) of a volume, smoothed, the atlas being brought to the volume."""

        def found(x: Array) -> Array:
            volume = torch.from_numpy(np.ascontiguousarray(x))[None, None]
            theta = align(volume, self.mean)
            mean, sd = (sampled(part, theta)[0, 0].numpy() for part in (self.mean, self.sd))
            smoothed: Array = gaussian_filter(np.abs(x - mean) / (sd + LEAST_SD), sigma)
            return smoothed

        return found


def make_atlas(healthy: list[Array]) -> Atlas:
    """The atlas of healthy volumes of one cubic shape."""
    volumes = torch.from_numpy(np.stack(healthy))[:, None]
    aligned = volumes
    for _ in range(ROUNDS):
        mean = aligned.mean(0, keepdim=True)
        parts = [(part, align(part, mean)) for part in volumes.split(AT_ONCE)]
        aligned = torch.cat([sampled(part, inverse(theta)) for part, theta in parts])
    return Atlas(aligned.mean(0, keepdim=True), aligned.std(0, keepdim=True, correction=0))


def align(volumes: Tensor, atlas: Tensor) -> Tensor:
    """Affine maps (n, 3, 4) from volumes (n, 1, s, s, s) to the atlas (1, 1, s, s, s)."""
    change = torch.zeros(len(volumes), 3, 4, requires_grad=True)
    for side, steps, rate in STEPS:
        fixed, moving = (F.interpolate(t, (side,) * 3, mode="area") for t in (volumes, atlas))
        adam = torch.optim.Adam([change], rate)
        for _ in range(steps):
            adam.zero_grad()
            loss = -correlation(fixed, sampled(moving, torch.eye(3, 4) + change)).sum()
            loss.backward()
            adam.step()
    return (torch.eye(3, 4) + change).detach()


def sampled(volumes: Tensor, theta: Tensor) -> Tensor:
    """Volumes (n or 1, 1, s, s, s) at the places where the maps (n, 3, 4) put the voxels; 0 outside."""
    shape = (len(theta), 1, *volumes.shape[2:])
    grid = F.affine_grid(theta, list(shape), align_corners=False)
    return F.grid_sample(volumes.expand(shape), grid, align_corners=False)


def inverse(theta: Tensor) -> Tensor:
    """The maps (n, 3, 4) back."""
    last = torch.tensor([0.0, 0, 0, 1]).expand(len(theta), 1, 4)
    return torch.linalg.inv(torch.cat([theta, last], 1))[:, :3]


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Normalised cross correlation (n,) of volumes."""
    a, b = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (one, other))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
