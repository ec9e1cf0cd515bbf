"""Outliers made from training images (arXiv 2411.10794, section 3.2).

=========  ==============================================  ==========================================================
type       selection, with k rounded down                  outlier
=========  ==============================================  ==========================================================
gradient   the k = C H W p single values of largest |G|    x + alpha G on the selected values
shuffle    the k = H W p positions of largest sum exp(G)   the selected pixels permuted among themselves, per image
gaussian   none                                            alpha times standard normal noise; x is not used
=========  ==============================================  ==========================================================

`shuffle` ranks by the signed gradient, `gradient` by its size; so does the original. The outlier carries no gradient:
in the original `gradient` left it attached to the input copy, which cost memory and changed no parameter.
"""

import math

import torch
from jaxtyping import Float, Int64
from ood_shared.devices import send
from ood_shared.errors import InputError, unknown
from torch import Tensor

OOD_TYPES = ("gradient", "shuffle", "gaussian")


def selection_size(shape: torch.Size | tuple[int, ...], p_inv: float, ood_type: str) -> int:
    """How many values (`gradient`) or positions (`shuffle`) of an image (channels, height, width) are selected.

    Raises:
        InputError: `p_inv` is not in [0, 1].
    """
    if not 0 <= p_inv <= 1:
        raise InputError(f"p_inv is {p_inv}; expected a fraction from 0 to 1.")
    counted = shape if ood_type == "gradient" else shape[1:]
    return int(math.prod(counted) * p_inv)


def gradient_outliers(
    images: Float[Tensor, "batch channels height width"],
    attribution: Float[Tensor, "batch channels height width"],
    p_inv: float,
    alpha: float,
) -> Float[Tensor, "batch channels height width"]:
    """Images with the most attributed values moved along the attribution.

    Args:
        images: normalised images.
        attribution: see `attribution.saliency`.
        p_inv: share of the values, from 0 to 1.
        alpha: step, in units of normalised pixels per unit of gradient.
    """
    count = selection_size(images.shape[1:], p_inv, "gradient")
    if count == 0:
        return images.clone()
    flat = attribution.flatten(1)  # (batch, channels * height * width)
    chosen = flat.abs().topk(count, dim=1, sorted=False).indices
    moved = images.flatten(1).scatter_add(1, chosen, (alpha * flat.gather(1, chosen)).to(images.dtype))
    return moved.view_as(images)


def shuffle_positions(
    attribution: Float[Tensor, "batch channels height width"], count: int
) -> Int64[Tensor, "batch count"]:
    """The `count` positions (row by row) with the largest sum over the channels of exp(attribution), largest first.

    The sum is compared as logarithm where exp would overflow: the order is the same.
    """
    wide = attribution.to(torch.promote_types(attribution.dtype, torch.float32)).flatten(2)
    return torch.logsumexp(wide, dim=1).topk(count, dim=1).indices


def shuffle_outliers(
    images: Float[Tensor, "batch channels height width"],
    attribution: Float[Tensor, "batch channels height width"],
    p_inv: float,
    uniform: Float[Tensor, "batch count"],
) -> Float[Tensor, "batch channels height width"]:
    """Images with the most attributed pixels permuted among themselves.

    Args:
        images: normalised images.
        attribution: see `attribution.saliency`.
        p_inv: share of the positions, from 0 to 1.
        uniform: draws from [0, 1), one for each selected position; their ascending order is the permutation.
    """
    count = selection_size(images.shape[1:], p_inv, "shuffle")
    if count == 0:
        return images.clone()
    positions = shuffle_positions(attribution, count)  # (batch, count), in descending order
    sources = positions.gather(1, uniform.argsort(dim=1))
    pixels = images.flatten(2)
    targets = positions[:, None].expand(-1, images.shape[1], -1)  # (batch, channels, count)
    values = pixels.gather(2, sources[:, None].expand_as(targets))
    return pixels.scatter(2, targets, values).view_as(images)


def draw_noise(
    images: Float[Tensor, "batch channels height width"], p_inv: float, ood_type: str, generator: torch.Generator
) -> Tensor | None:
    """The random numbers that one batch of outliers needs; None for `gradient`.

    One draw a batch: uniform (batch, count) for `shuffle`, normal like the images for `gaussian`.

    Args:
        images: of the batch; gives shape, dtype and device.
        p_inv: share of the positions.
        ood_type: one of `OOD_TYPES`.
        generator: on the device of the images, or on the CPU.
    """
    if ood_type == "gradient":
        return None
    where = generator.device
    if ood_type == "shuffle":
        count = selection_size(images.shape[1:], p_inv, "shuffle")
        return send(torch.rand(len(images), count, generator=generator, device=where), images.device)
    if ood_type == "gaussian":
        drawn = torch.randn(images.shape, generator=generator, device=where, dtype=images.dtype)
        return send(drawn, images.device)
    raise unknown("ood_type", ood_type, OOD_TYPES)


def make_outliers(
    images: Float[Tensor, "batch channels height width"],
    attribution: Float[Tensor, "batch channels height width"] | None,
    ood_type: str,
    p_inv: float,
    alpha: float,
    noise: Tensor | None,
) -> Float[Tensor, "batch channels height width"]:
    """Outliers of one type.

    Args:
        images: normalised images.
        attribution: not needed for `gaussian`.
        ood_type: one of `OOD_TYPES`.
        p_inv: share of the values or positions that are changed.
        alpha: strength; `shuffle` does not use it.
        noise: from `draw_noise`.

    Raises:
        InputError: the type is not known.
    """
    if ood_type not in OOD_TYPES:
        raise unknown("ood_type", ood_type, OOD_TYPES)
    if ood_type == "gaussian":
        assert noise is not None
        return alpha * noise
    assert attribution is not None
    if ood_type == "gradient":
        return gradient_outliers(images, attribution, p_inv, alpha)
    assert noise is not None
    return shuffle_outliers(images, attribution, p_inv, noise)
