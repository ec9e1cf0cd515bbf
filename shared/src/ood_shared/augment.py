"""Random crops, flips, greys and colours on whole batches, with draws of its own for every image.

Images are (batch, channels, height, width) on any device: uint8 in 0..255, or floats in [0, 1]. Every draw comes from a
generator on the CPU, so that all devices see the same ones; nothing waits for the device. The distributions are those
of torchvision's transforms of the same names.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ood_shared.devices import send
from ood_shared.errors import InputError

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision rounds it
PADDING = 2  # pixels that a crop of the common views is shifted by at most, along each side
_OPERATIONS = 4  # brightness, contrast, saturation, hue


def common_views(images: Tensor, generator: torch.Generator, mirror: bool) -> Tensor:
    """One view of each image: shifted by up to `PADDING` pixels, and mirrored half of the time where that is right.

    Args:
        images: (n, c, h, w), any dtype, on any device; what is shifted in is 0.
        generator: on the CPU.
        mirror: of the benchmark: a property of the data (`ood_shared.datasets.benchmark.is_mirrored`).
    """
    shifted = random_crop(images, PADDING, generator)
    return random_flip(shifted, generator) if mirror else shifted


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """A window of the old size, at a random place of the image padded with zeros on each side.

    Args:
        images: (n, c, h, w), any dtype.
        padding: pixels on each side, 0 or more.
        generator: on the CPU.

    Raises:
        InputError: a negative padding.
    """
    if padding < 0:
        raise InputError(f"The padding is {padding} pixels; expected 0 or more.")
    n, _, height, width = images.shape
    offsets = send(torch.randint(0, 2 * padding + 1, (2, n), generator=generator), images.device)
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # (n, c, 2p+1, 2p+1, h, w)
    return windows[torch.arange(n, device=images.device), :, offsets[0], offsets[1]]


def random_flip(images: Tensor, generator: torch.Generator, p: float = 0.5) -> Tensor:
    """The images, each mirrored left to right with probability `p`; any dtype."""
    return torch.where(_chosen(images, p, generator), images.flip(-1), images)


def random_grey(
    images: Float[Tensor, "n 3 h w"], generator: torch.Generator, p: float = 0.2
) -> Float[Tensor, "n 3 h w"]:
    """The images, each as grey in all three channels with probability `p`; floats in [0, 1]."""
    return torch.where(_chosen(images, p, generator), luma(images), images)


def random_resized_crop(
    images: Tensor,
    size: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A random part of each image, resized to `size` x `size` bilinearly.

    Without antialiasing: meant for parts that are enlarged, as those of images of about `size` are.

    Args:
        images: floats (n, c, h, w).
        size: side of the result in pixels.
        generator: on the CPU.
        scale: least and greatest share of the image's area.
        ratio: least and greatest width over height, drawn evenly in its logarithm.
    """
    n, _, height, width = images.shape
    drawn = torch.stack([crop_box(height, width, generator, scale, ratio) for _ in range(n)])  # (n, 4)
    boxes = send(drawn.to(images.dtype), images.device)
    top, left, tall, wide = boxes.unbind(1)
    affine = images.new_zeros(n, 2, 3)
    affine[:, 0, 0], affine[:, 0, 2] = wide / width, (2 * left + wide) / width - 1
    affine[:, 1, 1], affine[:, 1, 2] = tall / height, (2 * top + tall) / height - 1
    grid = F.affine_grid(affine, [n, images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def crop_box(
    height: int,
    width: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Int64[Tensor, " 4"]:
    """Top, left, height and width of a random part, by torchvision's rule: ten tries, then the centre."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area_draw, ratio_draw, top_draw, left_draw = torch.rand(4, generator=generator).tolist()
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area_draw)
        aspect = math.exp(low + (high - low) * ratio_draw)
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            top, left = int(top_draw * (height - tall + 1)), int(left_draw * (width - wide + 1))
            return torch.tensor([top, left, tall, wide])
    aspect = min(max(width / height, ratio[0]), ratio[1])
    tall, wide = min(height, round(width / aspect)), min(width, round(height * aspect))
    return torch.tensor([(height - tall) // 2, (width - wide) // 2, tall, wide])


def colour_jitter(
    images: Float[Tensor, "n 3 h w"],
    generator: torch.Generator,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    p: float = 0.8,
) -> Float[Tensor, "n 3 h w"]:
    """Brightness, contrast, saturation and hue changed in a random order, of each image with probability `p`.

    Args:
        images: floats in [0, 1], RGB.
        generator: on the CPU.
        brightness: factors come from U[1 - b, 1 + b], 0 to 1; likewise contrast and saturation.
        contrast: see brightness.
        saturation: see brightness.
        hue: shifts come from U[-hue, hue] turns, 0 to 0.5.
        p: share of the images that change at all.
    """
    n = len(images)
    spread = torch.tensor([brightness, contrast, saturation, hue])
    draws = (2 * torch.rand(n, _OPERATIONS, generator=generator) - 1) * spread
    factors = draws + torch.tensor([1.0, 1.0, 1.0, 0.0])  # (n, 4)
    orders = torch.rand(n, _OPERATIONS, generator=generator).argsort(dim=1)  # (n, 4): a permutation of each image
    changed = torch.rand(n, generator=generator) < p
    return jitter(images, factors, orders, changed)


def jitter(
    images: Float[Tensor, "n 3 h w"],
    factors: Float[Tensor, "n 4"],
    orders: Int64[Tensor, "n 4"],
    changed: Bool[Tensor, " n"],
) -> Float[Tensor, "n 3 h w"]:
    """What `colour_jitter` makes of its draws.

    Args:
        images: floats in [0, 1], RGB.
        factors: on the CPU: brightness, contrast and saturation factors, hue shift in turns.
        orders: on the CPU: for each image the columns of `factors` in the order in which they are applied.
        changed: on the CPU: whether an image changes.
    """
    operations = (_brighten, _contrast, _saturate, _turn_hue)
    turns = [(place, number) for place in range(_OPERATIONS) for number in range(_OPERATIONS)]
    due = [torch.nonzero(changed & (orders[:, place] == number)).squeeze(1) for place, number in turns]
    sizes = [len(rows) for rows in due]
    amounts = torch.cat([factors[rows, number] for rows, (_, number) in zip(due, turns, strict=True)])
    sent = send(torch.cat(due), images.device), send(amounts.to(images.dtype), images.device)  # two transfers in all
    result = images.clone()
    for (_, number), rows, factor in zip(turns, *(values.split_with_sizes(sizes) for values in sent), strict=True):
        if len(rows):
            result[rows] = operations[number](result[rows], factor.view(-1, 1, 1, 1))
    return result


def luma(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Grey value of each pixel: 0.2989 R + 0.587 G + 0.114 B."""
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def _brighten(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = luma(images).mean(dim=(1, 2, 3), keepdim=True)
    return (images * factor + mean * (1 - factor)).clamp_(0, 1)


def _saturate(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor + luma(images) * (1 - factor)).clamp_(0, 1)


def _turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Hue turned in HSV: value and chroma stay, so only the place on the hexagon moves."""
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = value - least
    red, green, blue = images.unbind(1)
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma).squeeze(1)
    top = value.squeeze(1)
    sixth = torch.where(
        top == red,
        (green - blue) / safe,
        torch.where(top == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    ).unsqueeze(1)  # hue in sixths of a turn
    offsets = torch.arange(5, 0, -2, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    k = (offsets + sixth + 6 * turn) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)


def _chosen(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(len(images), generator=generator) < p
    return send(drawn, images.device).view(-1, *(1,) * (images.dim() - 1))
