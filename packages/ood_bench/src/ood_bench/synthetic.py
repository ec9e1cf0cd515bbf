"""Eleven kinds of outliers that are made from ID images, to look at a detector where no OOD images are.

None of them stands for OOD: each alone can be fooled, all of them rank detectors on far sets and hardly on near ones.
uint8 in, uint8 out, (n, c, side, side); every draw comes from the generator.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Generator, Tensor

TILES = 4  # to a side
COMPONENTS = 64
Make = Callable[[Tensor, Generator], Tensor]


def make_all(images: UInt8[Tensor, "n c h w"], generator: Generator) -> dict[str, UInt8[Tensor, "n c h w"]]:
    """Every kind by name, of the same ID images."""
    return {name: make(images, generator) for name, make in KINDS.items()}


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _pixels(images: Tensor, generator: Generator) -> Tensor:
    order = torch.randperm(images[0, 0].numel(), generator=generator)
    return images.flatten(2)[:, :, order].view_as(images)


def _patches(images: Tensor, generator: Generator) -> Tensor:
    side = images.shape[2] // TILES * TILES
    tiles = images[:, :, :side, :side].unflatten(3, (TILES, -1)).unflatten(2, (TILES, -1))
    order = torch.randperm(TILES * TILES, generator=generator)
    flat = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)[:, order].unflatten(1, (TILES, TILES))
    made = images.clone()
    made[:, :, :side, :side] = flat.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return made


def _convolved(images: Tensor, generator: Generator) -> Tensor:
    """By a random filter over all channels, with mean and deviation as before."""
    channels = images.shape[1]
    filters = torch.randn(channels, channels, 3, 3, generator=generator)
    x = images.float()
    made = F.conv2d(x, filters, padding=1)
    dims = (1, 2, 3)
    made = (made - made.mean(dims, keepdim=True)) / (made.std(dims, keepdim=True) + 1e-6)
    return _bytes(made * x.std(dims, keepdim=True) + x.mean(dims, keepdim=True))


def _strokes(images: Tensor, generator: Generator) -> Tensor:
    """What stands out from a blurred image is moved elsewhere: the attributed parts of an image in a wrong place."""
    x = images.float()
    base = _smooth(x, 9)
    shifts = [int(torch.randint(images.shape[2] // 4, images.shape[2] // 2, (), generator=generator)) for _ in range(2)]
    return _bytes(base + (x - base).roll(shifts, dims=(2, 3)))


def _mixed(images: Tensor, generator: Generator) -> Tensor:
    return _bytes((images.float() + _others(images, generator).float()) / 2)


def _cut(images: Tensor, generator: Generator) -> Tensor:
    made, half = images.clone(), images.shape[2] // 2
    made[:, :, :, half:] = _others(images, generator)[:, :, :, half:]
    return made


def _off(images: Tensor, generator: Generator) -> Tensor:
    """Noise outside the principal components, as long as half of the image's own departure from the mean."""
    x, mean, directions = _principal(images)
    noise = torch.randn(x.shape, generator=generator)
    noise -= noise @ directions @ directions.T
    length = (x - mean).norm(dim=1, keepdim=True) / 2
    return _bytes(x + noise / noise.norm(dim=1, keepdim=True) * length).view_as(images)


def _on(images: Tensor, generator: Generator) -> Tensor:
    """Twice as far from the mean along the principal components as images are, in a drawn direction."""
    x, mean, directions = _principal(images)
    drawn = torch.randn(len(x), directions.shape[1], generator=generator)
    spread = ((x - mean) @ directions).std(dim=0)
    return _bytes(mean + 2 * (drawn * spread) @ directions.T).view_as(images)


def _turned(images: Tensor, generator: Generator) -> Tensor:
    return images.rot90(1, dims=(2, 3))


def _blurred(images: Tensor, generator: Generator) -> Tensor:
    return _bytes(_smooth(images.float(), 5))


def _inverted(images: Tensor, generator: Generator) -> Tensor:
    return 255 - images


def _smooth(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (size // 2,) * 4, mode="replicate"), size, 1)


def _others(images: Tensor, generator: Generator) -> Tensor:
    """Another image for each."""
    shift = int(torch.randint(1, max(2, len(images)), (), generator=generator))
    return images.roll(shift, dims=0)


def _principal(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = images.flatten(1).float()
    mean = x.mean(dim=0)
    count = min(COMPONENTS, len(x) - 1)
    directions = torch.linalg.svd(x - mean, full_matrices=False).Vh[:count].T
    return x, mean, directions


KINDS: Mapping[str, Make] = {
    "pixels": _pixels,
    "patches": _patches,
    "convolved": _convolved,
    "strokes": _strokes,
    "mixed": _mixed,
    "cut": _cut,
    "off": _off,
    "on": _on,
    "turned": _turned,
    "blurred": _blurred,
    "inverted": _inverted,
}
