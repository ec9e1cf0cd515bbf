"""From stored images to the network's input, on whole batches: the random affine map, resizing, normalisation.

    training     random affine (+-15 degrees, +-5 % of each side, nearest neighbour, black) -> 32 x 32 -> normalise
    comparison   32 x 32 -> the view that all methods have in common -> normalise
    evaluation   32 x 32 -> normalise

Every step repeats Pillow's integer arithmetic, so a batch on a GPU gets the pixels that Pillow gives one by one.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from ood_shared.augment import common_views
from ood_shared.devices import send
from ood_shared.errors import InputError
from ood_shared.loaders import to_float
from torch import Tensor

SIDE = 32  # height and width of the network's input, pixels
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
DEGREES = 15.0
SHIFT = 0.05  # of each side
REVERSED_SETS = frozenset({"pathmnist"})  # read as BGR by the original, but not for its outliers
CACHED = 128  # images that a CPU works on at a time, so that what lies between two steps stays in its cache
AFFINE_BITS, RESIZE_BITS = 16, 22  # of Pillow's fixed-point numbers
FLOAT32_EXACT_BITS = 14  # weights of so many binary digits leave float32 sums of 8-bit pixels exact

Pixels = UInt8[Tensor, "batch channels height width"]


class AffineDraws(NamedTuple):
    """A random affine map for each image; on the CPU, independent of the size of the image."""

    degrees: Float64[Tensor, " batch"]
    shift: Float64[Tensor, "batch 2"]  # along x and y, as a share of the largest shift, in [-1, 1]


def as_rgb(images: UInt8[np.ndarray, "n h w *c"], reverse: bool = False) -> UInt8[Tensor, "n 3 h w"]:
    """Stored images as a uint8 tensor, grey ones copied to three channels.

    Args:
        images: (n, h, w), or (n, h, w, c) with 1 or 3 channels.
        reverse: swap red and blue, as the original does with the sets of `REVERSED_SETS`.

    Raises:
        InputError: another shape or dtype.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise InputError(
            f"Images are uint8 of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), got {images.dtype} {images.shape}."
        )
    stacked = images[..., None] if images.ndim == 3 else images
    ordered = stacked[..., ::-1] if reverse else stacked
    pixels = torch.from_numpy(np.array(np.moveaxis(ordered, 3, 1), order="C"))  # a copy: no negative strides
    return pixels.expand(-1, 3, -1, -1).contiguous()


def draw_affine(n: int, generator: torch.Generator) -> AffineDraws:
    """Uniform angles and shifts for `n` images."""
    u = 2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1
    return AffineDraws(DEGREES * u[:, 0], u[:, 1:])


def training_transform(pixels: Pixels, draws: AffineDraws, side: int = SIDE) -> Float[Tensor, "batch channels s s"]:
    """Moved, resized and normalised images; that of ID training and the base of all outliers."""
    return normalise(resize(random_affine(pixels, draws), side))


def training_view(
    pixels: Pixels, augmentation: str, generator: torch.Generator, side: int = SIDE
) -> Float[Tensor, "batch channels s s"]:
    """An augmented ID batch, normalised.

    Args:
        pixels: stored images of one size.
        augmentation: `affine` is the paper's; `crop` and `crop_mirror` are `common_views` of a comparison.
        generator: on the CPU.
        side: height and width of the result, pixels.
    """
    if augmentation == "affine":
        return training_transform(pixels, draw_affine(len(pixels), generator), side)
    return normalise(common_views(resize(pixels, side), generator, mirror=augmentation == "crop_mirror"))


def evaluation_transform(pixels: Pixels, side: int = SIDE) -> Float[Tensor, "batch channels s s"]:
    """Resized and normalised images."""
    return normalise(resize(pixels, side))


def normalise(pixels: UInt8[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """(pixels / 255 - mean) / std, float32."""
    return to_float(pixels, MEAN, STD)


def normalise_unit(images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """(images - mean) / std, of float images in the scale of [0, 1]."""
    mean, std = channel_scale(images.device)
    return (images - mean) / std


@lru_cache(maxsize=16)
def channel_scale(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Mean and standard deviation of the normalisation, by channel; made once on each device, not to be changed."""
    with torch.inference_mode(mode=False):
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    return mean, std


def random_affine(pixels: Pixels, draws: AffineDraws) -> Pixels:
    """`affine` with the drawn angles, and shifts of up to 5 % of each side rounded to whole pixels."""
    height, width = pixels.shape[2:]
    largest = torch.tensor([SHIFT * width, SHIFT * height], dtype=torch.float64)
    shift = (draws.shift * largest).round()
    if not _in_pieces(pixels):
        return affine(pixels, draws.degrees, shift)
    return torch.cat(
        [affine(*piece) for piece in zip(*(t.split(CACHED) for t in (pixels, draws.degrees, shift)), strict=True)]
    )


def affine(pixels: Pixels, degrees: Float64[Tensor, " batch"], shift: Float64[Tensor, "batch 2"]) -> Pixels:
    """Each image turned clockwise about its centre, then shifted; nearest neighbour, black where nothing comes from.

    Pillow walks over the source in numbers of 16 binary digits; so does this.

    Args:
        pixels: images of one size.
        degrees: of each image, on the CPU.
        shift: to the right and down, pixels, on the CPU.
    """
    height, width = pixels.shape[2:]
    cos, sin = torch.cos(degrees * (math.pi / 180)), torch.sin(degrees * (math.pi / 180))
    u, v = -width / 2 - shift[:, 0], -height / 2 - shift[:, 1]  # source x = cos (x + u) + sin (y + v) + width / 2
    x0, y0 = cos * u + sin * v + width / 2, -sin * u + cos * v + height / 2
    starts = torch.stack([x0 + (cos + sin) * 0.5, y0 + (cos - sin) * 0.5])  # at the centre of the first pixel
    steps = torch.stack([cos, sin, -sin, cos])
    fixed = (torch.cat([starts, steps]) * 2**AFFINE_BITS + 0.5).floor().to(torch.int32)
    at_x, at_y, xx, xy, yx, yy = send(fixed, pixels.device)[:, :, None, None]
    x = torch.arange(width, dtype=torch.int32, device=pixels.device)
    y = torch.arange(height, dtype=torch.int32, device=pixels.device)[:, None]
    column = (at_x + xx * x + xy * y) >> AFFINE_BITS  # (batch, height, width)
    row = (at_y + yx * x + yy * y) >> AFFINE_BITS
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = torch.where(inside, row * width + column, 0).long().flatten(1).unsqueeze(1)
    moved = pixels.flatten(2).gather(2, source.expand(-1, pixels.shape[1], -1)).view_as(pixels)
    return moved * inside.unsqueeze(1)


def resize(pixels: Pixels, side: int = SIDE) -> UInt8[Tensor, "batch channels s s"]:
    """Images of `side` x `side` pixels: bilinear, antialiased when shrinking, rounded along x and again along y.

    Newer versions of Pillow begin with y for some images that are higher than wide.
    """
    height, width = pixels.shape[2:]
    if height == width == side:
        return pixels
    if _in_pieces(pixels):
        return torch.cat([resize(piece, side) for piece in pixels.split(CACHED)])
    across, along = (_weights(found, side, pixels.device) for found in (width, height))
    wide = pixels.to(torch.promote_types(across.dtype, along.dtype))
    with torch.autocast(pixels.device.type, enabled=False):  # (batch, channels, height, side), then (…, side, side)
        wide = (wide @ across.T.to(wide.dtype)).add_(0.5).floor_()
        return (along.to(wide.dtype) @ wide).add_(0.5).floor_().to(torch.uint8)


def _in_pieces(pixels: Pixels) -> bool:
    return pixels.device.type == "cpu" and len(pixels) > CACHED


@lru_cache(maxsize=32)
def _weights(found: int, wanted: int, device: torch.device) -> Float[Tensor, "wanted found"]:
    """Pillow's triangle filter as a matrix, its weights rounded to 22 binary digits.

    In float32 where that leaves every sum exact, which 28 to 32 pixels do, else in float64 (float32 on Metal, which has
    no float64: one grey level may differ there).
    """
    scale = found / wanted
    spread = max(scale, 1.0)
    weights = np.zeros((wanted, found))
    for target in range(wanted):
        centre = (target + 0.5) * scale
        low, high = max(int(centre - spread + 0.5), 0), min(int(centre + spread + 0.5), found)
        distance = np.abs(np.arange(low, high) - centre + 0.5) / spread
        triangle = np.maximum(1 - distance, 0)
        weights[target, low:high] = np.floor(triangle / triangle.sum() * 2**RESIZE_BITS + 0.5) / 2**RESIZE_BITS
    digits = weights * 2**FLOAT32_EXACT_BITS
    narrow = device.type == "mps" or bool((digits == np.round(digits)).all())
    return torch.from_numpy(weights).to(torch.float32 if narrow else torch.float64).to(device)
