"""Images of any size and colour in the form that the commands keep: RGB, of MedMNIST's size or the network's."""

import torch
from jaxtyping import UInt8
from ood_shared import datasets
from ood_shared.datasets import luma
from torch import Tensor

from know_your_space.transforms import SIDE, resize

SMALLEST = 28  # sides from here to the network's 32 pixels are kept as they are


def at_stored_size(
    images: UInt8[Tensor, "n 3 h w"], native: tuple[int, int] | None = None, grey: bool = False
) -> UInt8[Tensor, "n 3 hh ww"]:
    """The images at the size in which they are kept.

    Sides of 28 to 32 pixels stay; the transforms enlarge them, as the original does. Others become 32 x 32: AugMix has
    a canvas of 32 pixels, on which a digit of 8 pixels would be a dot and a photograph a corner.

    Args:
        images: RGB.
        native: height and width to reduce larger images to first.
        grey: replace the colours by their luma.
    """
    height, width = images.shape[2:]
    if grey:
        images = luma(images).expand(-1, 3, -1, -1).contiguous()
    if native is not None and (height > native[0] or width > native[1]):
        height, width = min(height, native[0]), min(width, native[1])
        images = datasets.resize(images, (height, width), channels=3)
    if min(height, width) >= SMALLEST and max(height, width) <= SIDE:
        return images
    return torch.cat([resize(chunk) for chunk in images.split(4096)]) if len(images) else resize(images)
