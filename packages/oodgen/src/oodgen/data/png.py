"""Images in [0,1] as grey PNG files.

The files have one channel. They read back to the same pixels as the three equal channels of the documented program, at
a third of the size.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from ood_shared.errors import InputError
from PIL import Image
from torch import Tensor


def to_uint8(images01: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """trunc(clip(255 v + 0.5, 0, 255)): the pixels of a PNG of images in [0,1].

    Raises:
        InputError: a value is NaN.
    """
    if images01.isnan().any():
        raise InputError("An image to be written holds NaN: the VAE has diverged. Train it again with a lower --lr.")
    return (images01 * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def write_png(path: Path, pixels: UInt8[np.ndarray, "height width"]) -> None:
    """Write grey pixels as PNG.

    Thousands of these make one result, so it is their folder that is written under a temporary name and renamed, not
    each file.
    """
    Image.fromarray(pixels).save(path, format="PNG")
