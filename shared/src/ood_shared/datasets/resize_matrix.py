"""Antialiased bilinear resizing as two matrices: what an exported graph does in place of `F.interpolate`.

Source and target of a graph have fixed sizes, so that row i of the result is a fixed mixture of the rows of the image:
a triangle about its centre, as wide as the reduction. The weights are those of PyTorch's kernel, computed in float32
in its order, equal to the last bit; so are the products but for the order of their sums, which shows after rounding in
a few of a million pixels at most.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def resize_by_matrices(images: UInt8[Tensor, "n c h w"], size: tuple[int, int]) -> UInt8[Tensor, "n c height width"]:
    """The images at another size, rounded to whole grey values.

    Args:
        images: uint8.
        size: height and width to reach, pixels.
    """
    rows, columns = (torch.from_numpy(resize_matrix(*pair)) for pair in zip(images.shape[2:], size, strict=True))
    wide = rows.to(images.device) @ (images.float() @ columns.T.to(images.device))  # along rows first, as the kernel
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
