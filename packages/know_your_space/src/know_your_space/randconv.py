"""Random convolution: outliers with the shapes of a training image and a texture that no image has.

One 3 x 3 mixing of channels with a kernel of random size k, weights N(0, 1 / (3 k^2)), biases U(+-1 / (k sqrt 3)), zero
padding in the normalised space, then clamped to what valid pixels can reach. One draw serves the whole batch.

Source: Xu et al., *Robust and Generalizable Visual Representation Learning via Random Convolutions*, ICLR 2021. No
gradient is kept: nothing uses it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from torch import Tensor

from know_your_space.transforms import channel_scale

CPU = torch.device("cpu")

SIZES = (9, 11, 13, 15, 17, 19)
CHANNELS = 3
ROWS = 32  # outliers added to a batch


class Kernel(NamedTuple):
    """One random convolution; on the CPU."""

    weight: Float[Tensor, "3 3 k k"]
    bias: Float[Tensor, " 3"]


def draw_kernel(sizes: Sequence[int], generator: torch.Generator) -> Kernel:
    """A kernel whose size is one of `sizes`, each equally likely.

    Raises:
        InputError: no size, or one that is not a positive odd number.
    """
    if not sizes or any(size < 1 or size % 2 == 0 for size in sizes):
        raise InputError(f"--rand_conv_kernel_size takes one or more positive odd numbers, got {list(sizes)}.")
    size = sizes[int(torch.randint(len(sizes), (1,), generator=generator))]
    bound = 1 / math.sqrt(CHANNELS * size**2)
    weight = bound * torch.randn(CHANNELS, CHANNELS, size, size, generator=generator)
    return Kernel(weight, bound * (2 * torch.rand(CHANNELS, generator=generator) - 1))


@torch.no_grad()
def random_convolution(images: Float[Tensor, "batch 3 h w"], kernel: Kernel) -> Float[Tensor, "batch 3 h w"]:
    """The convolved images, clamped channel by channel to the range of valid pixels; normalised in, normalised out."""
    low, high = (bound.to(images.dtype) for bound in valid_range(images.device))
    with torch.autocast(images.device.type, enabled=False):
        moved = F.conv2d(images, kernel.weight.to(images), kernel.bias.to(images), padding=kernel.weight.shape[-1] // 2)
    return torch.minimum(torch.maximum(moved, low), high)


@lru_cache(maxsize=16)
def valid_range(device: torch.device = CPU) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Normalised values of black and of white, by channel; the same on every device, not to be changed."""
    with torch.inference_mode(mode=False):
        mean, std = channel_scale(CPU)
        black, white = ((value - mean) / std for value in (0, 1))
        return black.to(device), white.to(device)


def draw_rows(n: int, rows: int, generator: torch.Generator) -> Int64[Tensor, " rows"]:
    """`rows` of `n` images, with replacement; on the CPU."""
    return torch.randint(n, (rows,), generator=generator)
