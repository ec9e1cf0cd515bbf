"""Noise images: Gaussian, uniform, and points on a sphere outside the data.

The parameters are the usual ones of the field: each pixel N(0.5, 1) clipped to [0, 1], or U[0, 1]. Sphere-OOD draws a
direction a ~ N(0, I_D) and puts the image at R a / |a|; its values are small and half of them negative, so it exists
as floats only.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ood_shared.datasets.imageset import SPLITS, ImageSet, missing_split
from ood_shared.errors import InputError, unknown

NOISE = ("gaussian", "uniform", "sphere")
NOISE_COUNT = 1000  # images per split of `load`
NOISE_SEEDS = {"train": 20_001, "val": 20_002, "test": 20_003}  # one per split, so that no split repeats another
NOISE_SIZE = 28


def make_noise(
    kind: str,
    n: int,
    shape: tuple[int, int, int],
    generator: torch.Generator,
    radius: float | None = None,
) -> Float[Tensor, "n channels height width"]:
    """`n` noise images as float32 in the [0, 1] scale, on the generator's device.

    Args:
        kind: `gaussian` (N(0.5, 1), clipped to [0, 1]), `uniform` (U[0, 1]) or `sphere` (radius * a / |a|, a normal;
            not clipped).
        n: number of images, at least 1.
        shape: channels, height, width.
        generator: source of the randomness.
        radius: Euclidean norm of every image of `sphere`, which needs it; the others ignore it. The usual choice is the
            largest norm of a training image in [0, 1], plus 2.

    Raises:
        InputError: for an unknown kind, n or a side below 1, or a radius that is missing or not positive.
    """
    if kind not in NOISE:
        raise unknown("Noise", kind, NOISE)
    if n < 1 or min(shape) < 1:
        raise InputError(
            f"Noise needs at least 1 image of at least 1 x 1 x 1, got {n} of {' x '.join(map(str, shape))}."
        )
    device = generator.device
    if kind == "uniform":
        return torch.rand((n, *shape), generator=generator, device=device, dtype=torch.float32)
    normal = torch.randn((n, *shape), generator=generator, device=device, dtype=torch.float32)
    if kind == "gaussian":
        return normal.add_(0.5).clamp_(0.0, 1.0)
    if radius is None or not 0 < radius < math.inf:
        raise InputError(
            f"`sphere` needs a positive radius, got {radius}: the largest norm of a training image, plus 2."
        )
    length = torch.linalg.vector_norm(normal.flatten(1), dim=1, dtype=torch.float64)  # (n,)
    factor = (radius / length).view(-1, 1, 1, 1)
    return normal.mul(factor).to(torch.float32)


def load_noise(name: str, split: str, size: int | None = None, channels: int | None = None) -> ImageSet:
    """1000 noise images of a split as uint8, the floats of `make_noise` rounded to 255ths.

    The seeds are fixed (`NOISE_SEEDS`): the same images in every run. `size` is 28 and `channels` 1 unless told.

    Raises:
        InputError: for `sphere`, whose negative values do not fit into uint8.
    """
    if name == "sphere":
        raise InputError(
            "`sphere` has negative values and cannot be stored as uint8. Make it as floats: "
            "ood_shared.datasets.make_noise('sphere', n, shape, generator, radius)."
        )
    if split not in NOISE_SEEDS:
        raise missing_split(f"`{name}`", split, SPLITS)
    generator = torch.Generator().manual_seed(NOISE_SEEDS[split])
    side = NOISE_SIZE if size is None else size
    pixels = make_noise(name, NOISE_COUNT, (channels or 1, side, side), generator)
    images = pixels.mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    labels = torch.zeros(NOISE_COUNT, dtype=torch.int64).numpy()
    return ImageSet(images, labels, (name,), "made by ood_shared from a fixed seed; no rights reserved", name)
