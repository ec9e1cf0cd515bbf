"""Antialiased bilinear resizing without its kernel: what an exported graph does in place of `F.interpolate`.

Source and target of a graph have fixed sizes, so that line i of the result is a fixed mixture of lines of the image: a
triangle about its centre, as wide as the reduction. The weights are those of PyTorch's kernel, computed in float32 in
its order. So are the sums, along rows first: products are added one by one, those of a whole vector of `LANES` after
they were rounded, the others not (a fused multiplication and addition, which float64 imitates, where a product is
exact). On processors with AVX2 the result is the kernel's to the last bit; sums in another order round to another grey
value where they lie halfway between two, which happens at one of some thousand pixels.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

LANES = 4  # values that the kernel's loop over products multiplies at once
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
            wide = _mixed(wide, size[dim - 2], dim)
    return wide.round().clamp(0, 255).to(torch.uint8)


def resize_matrix(length: int, target: int) -> Float[np.ndarray, "target length"]:
    """Weights of each pixel of a line for each pixel of the resized line; every row sums to 1.

    >>> resize_matrix(2, 4)[:2].tolist()
    [[1.0, 0.0], [0.75, 0.25]]
    """
    single, half = np.float32, np.float32(0.5)
    reach, spans = _spans(length, target)
    scale = single(length) / single(target)
    weights = np.zeros((target, length), single)
    for at, (first, last) in enumerate(spans):
        offsets = (np.arange(first, last) - single(scale * single(at + 0.5))).astype(single) + half
        own = np.maximum(0, 1 - np.abs(offsets * (single(1) / reach))).astype(single)
        weights[at, first:last] = own / np.add.accumulate(own)[-1]  # summed one by one, as the kernel does
    return weights


def _spans(length: int, target: int) -> tuple[np.float32, Int64[np.ndarray, "target 2"]]:
    """How far the triangle reaches, and the first pixel of each sum with the one after its last."""
    single, half = np.float32, np.float32(0.5)
    scale = single(length) / single(target)
    reach = max(scale, single(1))
    centres = [single(scale * single(at + 0.5)) for at in range(target)]
    first = [max(int(single(centre - reach) + half), 0) for centre in centres]
    last = [min(int(single(centre + reach) + half), length) for centre in centres]
    return reach, np.stack([first, last], axis=1).astype(np.int64)


def _mixed(images: Float[Tensor, "n c h w"], target: int, dim: int) -> Tensor:
    """The images with each line along `dim` resized."""
    length, device = images.shape[dim], images.device
    weights, (first, last) = resize_matrix(length, target), _spans(length, target)[1].T
    taps = int((last - first).max())
    if taps > MOST_TAPS:
        matrix = torch.from_numpy(weights).to(device)
        return images @ matrix.T if dim == 3 else matrix @ images
    along = (-1, 1) if dim == 2 else (-1,)
    wide, total = images.double(), torch.zeros((), device=device)
    for tap in range(taps):
        inside = first + tap < last
        at = np.where(inside, first + tap, 0)
        own = np.where(inside, weights[np.arange(target), at], 0).astype(np.float64)
        rounded = (tap > 0) & (tap <= (last - first - 1) // LANES * LANES)
        products = wide.index_select(dim, torch.from_numpy(at).to(device)) * torch.from_numpy(own).view(along).to(
            device
        )
        if rounded.any():
            products = torch.where(
                torch.from_numpy(rounded).view(along).to(device), products.float().double(), products
            )
        total = (total.double() + products).float()
    return total
