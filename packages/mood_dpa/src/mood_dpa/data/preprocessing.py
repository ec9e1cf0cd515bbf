"""From slices in [0, 1] to what the networks take.

Slices are reduced with a triangle filter as wide as the reduction (what PIL calls bilinear), as two matrix products
over whole batches on the batch's own device. The filter's weights are computed in float64, as PIL does; torch's own
antialiased interpolation computes them in float32 and is off by 1e-6.
"""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def normalise(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return (images - 0.5) / 0.5


def resize_slices(slices: Float[Tensor, "n h w"], size: int | None) -> Float[Tensor, "n r r"]:
    """Slices at `size` x `size`, bilinear with antialiasing; as they are for None."""
    if size is None or tuple(slices.shape[-2:]) == (size, size):
        return slices
    rows, columns = (_triangle(length, size).to(slices) for length in slices.shape[-2:])
    return rows @ (slices @ columns.T)


def prepare_slices(slices: Tensor, size: int | None, normalised: bool = True) -> Float[Tensor, "n 1 r r"]:
    """(n, h, w) of any floating type -> float32 (n, 1, r, r), about [-1, 1] when `normalised`."""
    images = resize_slices(slices.float(), size)[:, None]
    return normalise(images) if normalised else images


def prepare_array(
    image: npt.NDArray[np.floating], size: int | None, normalised: bool = True, channels3: bool = False
) -> Float[Tensor, "c r r"]:
    """One slice (h, w) as the 2D data set gives it: (1, r, r), with `channels3` (3, r, r).

    With `channels3` the slice becomes an 8-bit image first: clipped to [0, 1], times 255 in its own precision, cut to
    whole numbers, repeated, resized as an 8-bit image.
    """
    if not channels3:
        return prepare_slices(torch.from_numpy(np.asarray(image, dtype=np.float32))[None], size, normalised)[0]
    grey = to_grey_levels(image)
    if size is not None:
        from PIL import Image

        grey = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))
    channels = torch.from_numpy(grey.astype(np.float32) / 255)[None].repeat(3, 1, 1)
    return normalise(channels) if normalised else channels


def to_grey_levels(image: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Values in [0, 1] as whole numbers 0..255; those outside are clipped."""
    return (np.clip(image, 0, 1) * image.dtype.type(255)).astype(np.uint8)


def area_resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """(n, c, …) at `size`: each new pixel is the mean of the old ones it covers; also used to enlarge."""
    return F.interpolate(images.float(), size=tuple(size), mode="area")


def trilinear(volume: Float[Tensor, "d h w"], size: Sequence[int]) -> Float[Tensor, "a b c"]:
    """The volume at another size, trilinear, without antialiasing."""
    if tuple(volume.shape) == tuple(size):
        return volume
    return F.interpolate(volume[None, None], size=tuple(size), mode="trilinear", align_corners=False)[0, 0]


@functools.lru_cache(maxsize=64)
def _triangle(length: int, size: int) -> Float[Tensor, "size length"]:
    """Weights of each old pixel in each new one, float64."""
    scale = length / size
    width = max(scale, 1.0)
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * scale
    first = (centres - width + 0.5).clamp_min(0).long()
    last = (centres + width + 0.5).long().clamp_max(length)
    pixels = torch.arange(length)
    weights = (1 - ((pixels + 0.5 - centres[:, None]) / width).abs()).clamp_min(0)
    weights[(pixels < first[:, None]) | (pixels >= last[:, None])] = 0
    return weights / weights.sum(1, keepdim=True)
