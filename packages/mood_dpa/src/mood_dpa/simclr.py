"""SimCLR: features that tell two views of a slice from the views of all others.

Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, eq. 1 (NT-Xent).
The network and the state dict are those of the fork that the challenge solution used.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared import optimizers
from ood_shared.devices import send
from torch import Tensor, nn

from mood_dpa.standalone import unknown

DRAWS = 11  # uniform numbers that a view of a slice takes
Draw = Callable[..., Tensor]  # one uniform number per slice, between two bounds
BASES = ("vgg19", "resnet18", "resnet50")
HIDDEN = 2048  # of the projection head over VGG19
CROP_AREA, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
JITTER, JITTER_PROBABILITY = 0.8, 0.8  # brightness and contrast; saturation and hue do nothing to grey slices
FLIP_PROBABILITY, BLUR_PROBABILITY, BLUR_SIGMA = 0.5, 0.5, (0.1, 2.0)


class SimCLR(nn.Module):
    """Features and projection head; returns (h, z)."""

    def __init__(self, base_model: str = "vgg19", out_dim: int = 256) -> None:
        super().__init__()
        from torchvision import models

        if base_model not in BASES:
            raise unknown("base_model", base_model, BASES)
        if base_model == "vgg19":
            whole = models.vgg19(weights=None)
            self.features = nn.Sequential(whole.features, whole.avgpool)
            width, hidden = 512 * 7 * 7, HIDDEN
        else:
            whole = getattr(models, base_model)(weights=None)
            self.features = nn.Sequential(*list(whole.children())[:-1])
            width = hidden = whole.fc.in_features
        self.l1 = nn.Linear(width, hidden)
        self.l2 = nn.Linear(hidden, out_dim)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor]:
        """h (n, width) and z (n, out_dim), not normalised."""
        h = self.features(images).flatten(1)
        return h, self.l2(F.relu(self.l1(h)))


def nt_xent(
    zi: Float[Tensor, "n d"], zj: Float[Tensor, "n d"], temperature: float = 0.5, cosine: bool = True
) -> Tensor:
    """Mean over the 2n views of -log( exp(sim(a, p) / t) / sum over b != a of exp(sim(a, b) / t) ).

    Args:
        zi: one view of each slice.
        zj: the other view.
        temperature: t, positive.
        cosine: similarity is the cosine, else the dot product.
    """
    n = len(zi)
    views = torch.cat([zj, zi]).float()
    if cosine:
        views = F.normalize(views, dim=1)
    similarity = views @ views.T / temperature  # (2n, 2n)
    itself = torch.eye(2 * n, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * n, device=views.device).roll(n)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)


def two_views(
    slices: Float[Tensor, "n 1 h w"], size: int, generator: torch.Generator, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Two independent views of each slice, (n, 3, size, size) in [0, 1]."""
    return view(slices, size, generator, strength), view(slices, size, generator, strength)


def view(
    slices: Float[Tensor, "n 1 h w"], size: int, generator: torch.Generator, strength: float = 1.0
) -> Float[Tensor, "n 3 s s"]:
    """One random view of each slice, all at once on the slices' device: crop, flip, brightness and contrast, blur.

    Args:
        slices: in [0, 1].
        size: pixels per side to crop to.
        generator: on the CPU; every slice has draws of its own.
        strength: of brightness and contrast, 1 in the paper.
    """
    rows = iter(send(torch.rand(DRAWS, len(slices), generator=generator), slices.device))

    def uniform(low: float = 0.0, high: float = 1.0) -> Tensor:
        return next(rows) * (high - low) + low

    images = _crop(slices, size, uniform)
    images = torch.where((uniform() < FLIP_PROBABILITY).view(-1, 1, 1, 1), images.flip(-1), images)
    images = _jitter(images, uniform, strength)
    blurred = _blur(images, uniform(*BLUR_SIGMA), max(1, int(0.1 * size)) | 1)
    images = torch.where((uniform() < BLUR_PROBABILITY).view(-1, 1, 1, 1), blurred, images)
    return images.expand(-1, 3, -1, -1)


def cosine_rates(epochs: int, batches: int, warmup: int, decrease: int, rate: float = 3e-4) -> list[float]:
    """Learning rate of each epoch: constant through the warm-up, then a cosine of half period T_max.

    T_max = max(1, batches / decrease) epochs; where that is shorter than the run the rate rises again, as published.
    """
    t_max = max(1, int(batches / decrease))
    steps = [max(0, epoch - max(warmup, 0)) if warmup else epoch for epoch in range(epochs)]
    return [rate * (1 + math.cos(math.pi * step / t_max)) / 2 for step in steps]


def simclr_optimizer(network: nn.Module, rate: float, decay: float) -> torch.optim.Adam:
    """Adam in one kernel on a CPU, too: there torch would pass over VGG19's 70 million weights a dozen times a step."""
    return optimizers.make(torch.optim.Adam, network.parameters(), lr=rate, weight_decay=decay, fused=True)


def warmed(rate: float, step: int, warmup_steps: int) -> float:
    """The rate of a step, counted from 0: it rises linearly over the first `warmup_steps` and is `rate` then."""
    return rate * min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else rate


def _crop(slices: Tensor, size: int, uniform: Draw) -> Tensor:
    """A random part of each slice, of random area and ratio, at `size` x `size`."""
    n = len(slices)
    area = uniform(*CROP_AREA)
    ratio = torch.exp(uniform(math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])))
    width = (area * ratio).sqrt().clamp_max(1)  # share of the slice
    height = (area / ratio).sqrt().clamp_max(1)
    left = (2 * uniform() - 1) * (1 - width)
    top = (2 * uniform() - 1) * (1 - height)
    theta = slices.new_zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = width, left, height, top
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    return F.grid_sample(slices, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _jitter(images: Tensor, uniform: Draw, strength: float) -> Tensor:
    """Brightness and contrast in random order, each slice by its own amounts."""
    reach = JITTER * strength
    low, high = max(0.0, 1 - reach), 1 + reach
    bright, contrast = (uniform(low, high).view(-1, 1, 1, 1) for _ in range(2))
    first = (uniform() < 0.5).view(-1, 1, 1, 1)

    def brighten(x: Tensor) -> Tensor:
        return (x * bright).clamp(0, 1)

    def contrasted(x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3), keepdim=True)
        return (mean + (x - mean) * contrast).clamp(0, 1)

    changed = torch.where(first, contrasted(brighten(images)), brighten(contrasted(images)))
    return torch.where((uniform() < JITTER_PROBABILITY).view(-1, 1, 1, 1), changed, images)


def _blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Gaussian blur, each slice with its own sigma; borders mirrored without doubling the edge."""
    n, _, h, w = images.shape
    half = min(kernel // 2, h - 1, w - 1)
    at = torch.arange(-half, half + 1, device=images.device)
    weights = torch.exp(-(at**2) / (2 * sigma[:, None] ** 2))
    weights = (weights / weights.sum(1, keepdim=True))[:, None]  # (n, 1, k)
    padded = F.pad(images, (half, half, half, half), mode="reflect").view(1, n, h + 2 * half, w + 2 * half)
    padded = F.conv2d(padded, weights[:, :, None, :], groups=n)
    return F.conv2d(padded, weights[:, :, :, None], groups=n).view(n, 1, h, w)
