"""Images of any set in the size and the channels that a network wants.

Bilinear interpolation with antialiasing, computed in float32 on every device and rounded once: torchvision's uint8
kernels give other values on processors without AVX2, and results should not depend on the processor.
While `torch.export` traces, weighted sums do the same (`resize_matrix`).
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from ood_shared.datasets.imageset import ImageSet
from ood_shared.datasets.resize_matrix import resize_by_weights
from ood_shared.errors import InputError

# ITU-R 601 luma in 16-bit fixed point, the integers that Pillow uses; equal channels keep their value exactly.
LUMA_RED, LUMA_GREEN, LUMA_BLUE, LUMA_HALF = 19595, 38470, 7471, 32768
CHUNK_PIXELS = 1 << 24  # float32 copies of at most 64 MiB at a time


def resize(
    images: UInt8[Tensor, "n c h w"] | UInt8[np.ndarray, "n hh ww cc"],
    size: tuple[int, int],
    channels: int,
    native: tuple[int, int] | None = None,
) -> UInt8[Tensor, "n channels height width"]:
    """The images at `size` with `channels` channels, as a uint8 tensor (n, channels, height, width).

    RGB becomes grey by integer luma, (19595 R + 38470 G + 7471 B + 32768) >> 16; grey becomes RGB by repeating it.

    Args:
        images: uint8 tensor (n, channels, height, width), or array (n, height, width, channels); 1 or 3 channels.
        size: height and width to reach, in pixels. The aspect ratio is not kept.
        channels: 1 or 3.
        native: height and width of the ID images as their source gives them. When they are smaller than `size`, images
            larger than that are reduced to it first: otherwise an OOD set could be told from an enlarged ID set by its
            sharpness alone. Without effect when ID is not enlarged.

    Raises:
        InputError: for another number of channels, or a size below 1.
    """
    if isinstance(images, np.ndarray):
        own_channels = images.shape[3]
        pixels = torch.from_numpy(np.array(np.moveaxis(images, 3, 1), order="C"))  # (n, c, h, w), always a fresh copy
    else:
        own_channels, pixels = images.shape[1], images
    if channels not in (1, 3) or own_channels not in (1, 3):
        raise InputError(f"Images have 1 (grey) or 3 (RGB) channels; found {own_channels}, asked for {channels}.")
    for pair in (size, native or size):
        if min(pair) < 1:
            raise InputError(f"An image size is at least 1 x 1 pixels, got {pair[0]} x {pair[1]}.")

    if own_channels == 3 and channels == 1:
        pixels = luma(pixels)
    height, width = pixels.shape[2:]
    if native is not None and (native[0] < size[0] or native[1] < size[1]):
        pixels = _interpolate(pixels, (min(height, native[0]), min(width, native[1])))
    pixels = _interpolate(pixels, size)
    if own_channels == 1 and channels == 3:
        pixels = pixels.expand(-1, 3, -1, -1)
    return pixels.contiguous()


def luma(images: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 1 h w"]:
    """Grey images of RGB ones: (19595 R + 38470 G + 7471 B + 32768) >> 16, the integers of Pillow's conversion."""
    if torch.compiler.is_exporting():
        return _luma_chunk(images)
    grey = [_luma_chunk(chunk) for chunk in torch.split(images, _chunk_length(images))]
    return torch.cat(grey) if grey else images[:, :1]


def fit(images: ImageSet, size: int | None, channels: int | None) -> ImageSet:
    """The set at `size` x `size` (centre square, then resized) with `channels` channels; None leaves either alone."""
    height, width, own_channels = images.images.shape[1:]
    size = size or (height if height == width else None)
    if (size is None or height == width == size) and channels in (None, own_channels):
        return images
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images.images[:, top : top + side, left : left + side] if size else images.images
    target = (size, size) if size else (height, width)
    pixels = resize(square, target, channels or own_channels)
    return replace(images, images=np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy()))


def _luma_chunk(chunk: Tensor) -> Tensor:
    red, green, blue = chunk.to(torch.int32).unbind(dim=1)
    grey = (LUMA_RED * red + LUMA_GREEN * green + LUMA_BLUE * blue + LUMA_HALF) >> 16
    return grey.unsqueeze(1).to(torch.uint8)


def _interpolate(images: Tensor, size: tuple[int, int]) -> Tensor:
    if torch.compiler.is_exporting():  # where nothing may depend on the number of images
        return images if tuple(images.shape[2:]) == tuple(size) else resize_by_weights(images, size)
    if tuple(images.shape[2:]) == tuple(size) or not len(images):
        return images if len(images) else images.new_empty((0, images.shape[1], *size))
    resized = []
    for chunk in torch.split(images, _chunk_length(images, size)):
        wide = F.interpolate(chunk.float(), size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
        resized.append(wide.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(resized)


def _chunk_length(images: Tensor, size: tuple[int, int] = (1, 1)) -> int:
    per_image = images.shape[1] * max(images.shape[2] * images.shape[3], size[0] * size[1])
    return max(1, CHUNK_PIXELS // max(1, per_image))
