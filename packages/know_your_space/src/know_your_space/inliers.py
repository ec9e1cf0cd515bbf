"""Latent inliers: the least likely of many draws from the Gaussian of each class.

    mu_k  = mean of the queue of class k
    Sigma = sum of (q - mu)(q - mu)^T over all classes / (K S) + 0.001 I,    Sigma = L L^T
    V_k   = the `select` of `sample_from` draws mu_k + L eps with the lowest log-density

The paper calls this far tail inliers; VOS (Du et al., ICLR 2022) takes the same vectors for outliers.

The log-density of mu_k + L eps is a constant minus |eps|^2 / 2, so draws are ranked by |eps| and only selected ones
are multiplied by L (`select_by_norm`). Direction and length of eps are independent and |eps|^2 is chi-square
distributed, so the selected rows can also be made without the others: draw the `select` most extreme of `sample_from`
radii, and a uniform direction for each (`extreme_noise`). Same law, and a cost that does not depend on `sample_from`.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Float64, Int64
from ood_shared.devices import send
from ood_shared.errors import InputError
from torch import Tensor

RIDGE = 1e-3  # added to the diagonal of the covariance
JITTERS = (0.0, 1e-6, 1e-4, 1e-2)  # shares of the mean variance, tried in this order
NEWTON_STEPS = 4
TAILS = ("far", "near")


def class_means(queue: Float[Tensor, "classes length dim"]) -> Float[Tensor, "classes dim"]:
    """Mean of the queued features of each class, in float32 or wider."""
    return queue.to(torch.promote_types(queue.dtype, torch.float32)).mean(dim=1)


def pooled_covariance(
    queue: Float[Tensor, "classes length dim"], means: Float[Tensor, "classes dim"], ridge: float = RIDGE
) -> Float[Tensor, "dim dim"]:
    """Covariance around the class means, shared by all classes, divisor K S, plus `ridge` on the diagonal."""
    centred = (queue.to(means.dtype) - means.unsqueeze(1)).flatten(0, 1)  # (K S, dim)
    with torch.autocast(queue.device.type, enabled=False):
        covariance = centred.T @ centred / len(centred)
    return covariance + ridge * torch.eye(len(covariance), dtype=means.dtype, device=means.device)


def covariance_factor(covariance: Float[Tensor, "dim dim"]) -> tuple[Float[Tensor, "dim dim"], Bool[Tensor, ""]]:
    """Lower Cholesky factor, and whether the covariance needed more on its diagonal to have one.

    The original drops the whole margin loss of a step when the factorisation fails. Here the diagonal grows until it
    works, without waiting for the device. Only a covariance that is not finite has no factor at all: it gives NaN.
    """
    share = _jitters(covariance.dtype, covariance.device) * covariance.diagonal().mean()
    raised = covariance + torch.diag_embed(share.unsqueeze(1).expand(-1, len(covariance)))
    factors, info = torch.linalg.cholesky_ex(raised)  # (jitters, dim, dim), (jitters,)
    works = info == 0
    first = works.int().argmax()
    factor = torch.where(works.any(), factors.index_select(0, first.unsqueeze(0)).squeeze(0), torch.nan)
    return factor.tril(), first > 0


@lru_cache(maxsize=16)
def _jitters(dtype: torch.dtype, device: torch.device) -> Float[Tensor, " jitters"]:
    """Shares of the mean variance that are tried in turn; made once on each device."""
    return torch.tensor(JITTERS, dtype=dtype, device=device)


def select_by_norm(
    noise: Float[Tensor, "*classes draws dim"], select: int, tail: str = "far"
) -> Int64[Tensor, "*classes select"]:
    """Positions of the draws with the lowest (`far`) or highest (`near`) density, by the length of their noise."""
    _check(noise.shape[-2], select, tail)
    wide = noise.to(torch.promote_types(noise.dtype, torch.float32))
    return wide.square().sum(dim=-1).topk(select, dim=-1, largest=tail == "far").indices


def latent_samples(
    means: Float[Tensor, "classes dim"],
    factor: Float[Tensor, "dim dim"],
    noise: Float[Tensor, "classes select dim"],
) -> Float[Tensor, "classes select dim"]:
    """mu_k + L eps for each row of noise."""
    with torch.autocast(means.device.type, enabled=False):
        return means.unsqueeze(1) + noise.to(means) @ factor.T


def draw_latent(
    queue: Float[Tensor, "classes length dim"],
    select: int,
    sample_from: int,
    generator: torch.Generator,
    tail: str = "far",
) -> tuple[Float[Tensor, "samples dim"], Bool[Tensor, ""]]:
    """The latent samples of one step, class after class, and whether the covariance needed a jitter.

    Args:
        queue: full queues.
        select: samples kept of each class.
        sample_from: draws of each class that they are selected from.
        generator: on the CPU; the same samples come out on every device, up to rounding.
        tail: `far` for the paper's inliers and VOS's outliers, `near` for the draws of highest density.

    Raises:
        InputError: `select` is below 1 or above `sample_from`.
    """
    n_classes, _, dim = queue.shape
    noise = extreme_noise(n_classes, dim, select, sample_from, generator, tail)
    means = class_means(queue)
    factor, jittered = covariance_factor(pooled_covariance(queue, means))
    return latent_samples(means, factor, send(noise, queue.device)).flatten(0, 1), jittered


def extreme_noise(
    n_classes: int, dim: int, select: int, sample_from: int, generator: torch.Generator, tail: str = "far"
) -> Float[Tensor, "classes select dim"]:
    """The longest (`far`) or shortest (`near`) `select` of `sample_from` standard normal vectors, for each class.

    Only those are drawn: their chi-square radii as extreme order statistics, their directions uniformly. Float32, on
    the CPU; sorted from the most extreme on.

    Raises:
        InputError: `select` is below 1 or above `sample_from`.
    """
    _check(sample_from, select, tail)
    shares = extreme_shares(n_classes, select, sample_from, generator)
    squares = chi_square_quantile(1 - shares if tail == "near" else shares, dim)
    directions = torch.randn(n_classes, select, dim, generator=generator)
    lengths = directions.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return directions * (squares.sqrt().float() / lengths).unsqueeze(-1)


def extreme_shares(
    n_classes: int, select: int, sample_from: int, generator: torch.Generator
) -> Float64[Tensor, "classes select"]:
    """The `select` smallest of `sample_from` uniform numbers, ascending, without the others.

    1 - U_(j) = (1 - U_(j-1)) W_j^(1 / (n - j + 1)) with independent uniform W_j: given the j - 1 smallest, the next is
    the smallest of the n - j + 1 left, which are uniform above U_(j-1).
    """
    w = 1 - torch.rand(n_classes, select, generator=generator, dtype=torch.float64)  # (0, 1]
    left = sample_from - torch.arange(select, dtype=torch.float64)
    return -torch.expm1((w.log() / left).cumsum(dim=1))


def chi_square_quantile(upper: Float64[Tensor, "*batch"], dim: int) -> Float64[Tensor, "*batch"]:
    """x with P(chi-square with `dim` degrees of freedom > x) = `upper`.

    Newton steps on the logarithm of the smaller tail as a function of log x, from the approximation of Wilson and
    Hilferty (1931). Relative error below 1e-8.

    Args:
        upper: shares in (0, 1), float64; pulled in where they are 0 or 1.
        dim: degrees of freedom, at least 1.
    """
    p = upper.clamp(1e-100, 1 - torch.finfo(torch.float64).eps)
    shape = torch.full_like(p, dim / 2)
    cubic = 1 - 2 / (9 * dim) - torch.special.ndtri(p) * math.sqrt(2 / (9 * dim))
    least = (torch.log1p(-p) + math.lgamma(dim / 2 + 1)) / (dim / 2)  # from P(chi-square <= x) <= (x/2)^s / s!
    log_half = torch.maximum((dim / 2 * cubic.clamp_min(0.0) ** 3).log(), least)  # log(x / 2)
    above = p < 0.5
    target = torch.where(above, p, 1 - p)
    for _ in range(NEWTON_STEPS):
        half = log_half.exp()
        log_density = shape * log_half - half - math.lgamma(dim / 2)  # of log(x / 2)
        tail = torch.where(above, torch.special.gammaincc(shape, half), torch.special.gammainc(shape, half))
        step = (tail / target).log() * tail * (-log_density).exp()
        log_half = log_half + torch.where(above, step, -step).clamp(-1, 1)
    return 2 * log_half.exp()


def _check(sample_from: int, select: int, tail: str) -> None:
    if not 1 <= select <= sample_from:
        raise InputError(f"--select {select} needs 1 <= select <= --sample_from, which is {sample_from}.")
    if tail not in TAILS:
        raise InputError(f"The tail is far or near, got `{tail}`.")
