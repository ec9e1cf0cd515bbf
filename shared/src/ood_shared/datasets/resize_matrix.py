"""Antialiased bilinear resizing without its kernel: what an exported graph does in place of `F.interpolate`.

Source and target of a graph have fixed sizes, so that line i of the result is a fixed mixture of lines of the image: a
triangle about its centre, as wide as the reduction. The weights are those of PyTorch's kernel, computed in float32 in
its order. So are the sums: one product after the other is added, rounded once (a fused multiplication and addition,
which float64 imitates, where the product is exact), along rows first. The result is the kernel's to the last bit;
otherwise sums halfway between two grey values, as most enlargements have some, would fall to the other side.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

MOST_TAPS = 64  # products of a sum that are added one by one; beyond (a 32nd of the size) a matrix does it


def resize_by_weights(images: UInt8[Tensor, "n c h w"], size: tuple[int, int]) -> UInt8[Tensor, "n c height width"]:
    """The images at another size, rounded to whole grey values.

    Args:
        images: uint8.
        size: height and width to reach, pixels.
    """
    wide = images.float()
    for dim in (3, 2):
        if images.shape[dim] != size[dim - 2]:
            wide = _mixed(wide, resize_matrix(images.shape[dim], size[dim - 2]), dim)
    return wide.round().clamp(0, 255).to(torch.uint8)


def resize_matrix(length: int, target: int) -> Float[np.ndarray, "target length"]:
    """Weights of each pixel of a line for each pixel of the resized line; every row sums to 1.

    >>> resize_matrix(2, 4)[:2].tolist()
    [[1.0, 0.0], [0.75, 0.25]]
    """
    single, half = np.float32, np.float32(0.5)
    scale = single(length) / single(target)
    reach = max(scale, single(1))
    weights = np.zeros((target, length), single)
    for at in range(target):
        centre = single(scale * single(at + 0.5))
        first = max(int(single(centre - reach) + half), 0)
        last = min(int(single(centre + reach) + half), length)
        offsets = (np.arange(first, last) - centre).astype(single) + half
        own = np.maximum(0, 1 - np.abs(offsets * (single(1) / reach))).astype(single)
        weights[at, first:last] = own / np.add.accumulate(own)[-1]  # summed one by one, as the kernel does
    return weights


def _mixed(images: Float[Tensor, "n c h w"], weights: Float[np.ndarray, "target length"], dim: int) -> Tensor:
    """The images with each line along `dim` resized."""
    target, length = weights.shape
    taps = int((weights != 0).sum(axis=1).max())
    if taps > MOST_TAPS:
        matrix = torch.from_numpy(weights).to(images.device)
        return images @ matrix.T if dim == 3 else matrix @ images
    first = (weights != 0).argmax(axis=1)
    shape = (-1, 1) if dim == 2 else (-1,)
    wide, total = images.double(), torch.zeros((), device=images.device)
    for tap in range(taps):
        inside = first + tap < length
        at = np.where(inside, first + tap, 0)
        own = torch.from_numpy(np.where(inside, weights[np.arange(target), at], 0).astype(np.float64)).view(shape)
        lines = wide.index_select(dim, torch.from_numpy(at).to(images.device))
        total = (total.double() + lines * own.to(images.device)).float()
    return total
