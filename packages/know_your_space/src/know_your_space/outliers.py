"""The pixel outliers of a batch, and which spaces inliers and outliers come from.

    space of      inliers   outliers
    VOS           none      latent
    VOS++         pixel     latent
    NDA           none      pixel
    NDA++         pixel     pixel
    the paper     latent    pixel

Pixel outliers are training images put through AugMix at excessive severity and a tile shuffle, and on half of the steps
some randomly convolved ones. Pixel inliers are mildly AugMixed training images; the authors' severity for them is not
published, 3 is the value their code points to. Latent outliers are the vectors that the paper calls inliers.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.devices import send
from ood_shared.errors import InputError, unknown
from torch import Tensor

from know_your_space.augmix import augmix, canvas_side, draw_augmix
from know_your_space.jigsaw import TILES, draw_permutations, shuffle_tiles
from know_your_space.randconv import ROWS, SIZES, draw_kernel, draw_rows, random_convolution, valid_range
from know_your_space.settings import SPACES
from know_your_space.transforms import draw_affine, training_transform

OPERATORS = ("augmix_jigsaw", "jigsaw", "augmix")
INLIER_SEVERITY = 3

Pixels = UInt8[Tensor, "batch 3 height width"]


def latent_tails(inlier_space: str, outlier_space: str) -> tuple[str | None, str | None]:
    """Which end of the class Gaussians the inliers and the outliers are: `far`, `near`, or None where not latent.

    The far tail serves whichever of the two is latent. When both are, it goes to the outliers, as in VOS, and the
    inliers are the draws of highest density: the same vectors cannot be pushed both ways.

    Raises:
        InputError: a space is not known.
    """
    for flag, found in (("--inlier_space", inlier_space), ("--outlier_space", outlier_space)):
        if found not in SPACES:
            raise unknown(flag, found, SPACES)
    outliers = "far" if outlier_space == "latent" else None
    inliers = None if inlier_space != "latent" else ("near" if outliers else "far")
    return inliers, outliers


def pixel_outliers(
    pixels: Pixels,
    operators: Sequence[str],
    severity: float,
    generator: torch.Generator,
    canvas: int | None = None,
    tiles: int = TILES,
) -> Float[Tensor, "batch 3 32 32"]:
    """An outlier of each image, normalised; on the device of the images.

    Independent of the network: several batches may be made in one call, which costs less for each.

    Args:
        pixels: training images of one size.
        operators: of `OPERATORS`; each image draws one of them.
        severity: of AugMix.
        generator: on the CPU.
        canvas: of AugMix, pixels; None takes the original's, which depends on the severity.
        tiles: along each side, of the shuffle.

    Raises:
        InputError: no operator, or one that is not known.
    """
    if not operators:
        raise InputError(f"Outliers need at least one operator of {', '.join(OPERATORS)}.")
    for name in operators:
        if name not in OPERATORS:
            raise unknown("outlier operator", name, OPERATORS)
    kinds = torch.randint(len(operators), (len(pixels),), generator=generator)
    parts, order = [], []
    for number, name in enumerate(operators):
        rows = (kinds == number).nonzero().squeeze(1)
        part = pixels.index_select(0, send(rows, pixels.device))
        if name == "jigsaw":
            made = training_transform(part, draw_affine(len(part), generator))
        else:
            made = augmix(part, draw_augmix(len(part), severity, generator), canvas or canvas_side(severity))
        if name.endswith("jigsaw"):
            made = shuffle_tiles(made, draw_permutations(len(part), tiles, generator))
        parts.append(made)
        order.append(rows)
    return torch.cat(parts).index_select(0, send(torch.cat(order).argsort(), pixels.device))


def pixel_inliers(
    pixels: Pixels, generator: torch.Generator, severity: float = INLIER_SEVERITY
) -> Float[Tensor, "batch 3 32 32"]:
    """Mildly AugMixed images on a canvas of their own size, normalised.

    Raises:
        InputError: the images are not square.
    """
    height, width = pixels.shape[2:]
    if height != width:
        raise InputError(f"Pixel inliers need square images, got {height} x {width} pixels.")
    return augmix(pixels, draw_augmix(len(pixels), severity, generator), canvas=height)


def convolved_outliers(
    images: Float[Tensor, "batch 3 h w"],
    generator: torch.Generator,
    sizes: Sequence[int] = SIZES,
    rows: int = ROWS,
) -> Float[Tensor, "rows 3 h w"]:
    """What a step adds to its outliers: `rows` randomly convolved images on every second step on average, else none.

    Args:
        images: the ID batch, augmented and normalised. Only the chosen rows are convolved.
        generator: on the CPU.
        sizes: kernel sizes to draw from.
        rows: number of outliers added, drawn with replacement.
    """
    if torch.rand(1, generator=generator).item() <= 0.5:
        return images[:0].detach()
    kernel = draw_kernel(sizes, generator)
    chosen: Int64[Tensor, " rows"] = draw_rows(len(images), rows, generator)
    return random_convolution(images.index_select(0, send(chosen, images.device)), kernel)


def jitter_contrast(
    images: Float[Tensor, "batch 3 h w"], largest: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 h w"]:
    """Outliers of every contrast, an option of ours: each image stretched about its mean, or flattened.

    The paper's outliers have about the contrast of the training images, or less (random convolution). The margin loss
    then pushes low contrast outwards and never high contrast, so that images of higher contrast than any outlier get a
    lower energy than the training images.

    Args:
        images: normalised.
        largest: the factor F, at least 1; each image's contrast is multiplied by exp(U(-ln F, ln F)), its mean by
            channel stays, and what leaves the range of valid pixels is cut. 1 changes and draws nothing.
        generator: on the CPU.
    """
    if largest == 1:
        return images
    u = 2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1
    factors = send((math.log(largest) * u).exp().to(images.dtype), images.device)
    low, high = (bound.to(images.dtype) for bound in valid_range(images.device))
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.minimum(torch.maximum(mean + factors * (images - mean), low), high)
