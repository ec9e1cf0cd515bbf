"""AugMix on a whole batch, with operator chains, magnitudes and mixing weights of its own for each image.

    result = (1 - m) P(image) + m sum_i w_i P(chain_i(image)),   w ~ Dirichlet(1, 1, 1),   m ~ Beta(1, 1)

P is the training transform with a random affine map of its own in each of the four places, which gives the mixture its
ghosts. A chain is 1 to 3 operators. The paper takes severity 11, above the nominal 10, for outliers.

Source: Hendrycks et al., ICLR 2020. Here the original's fifth call of P, for a shape, is left out.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from ood_shared.devices import send
from ood_shared.errors import InputError
from torch import Tensor

from know_your_space.operators import ON_CANVAS, OPERATORS, apply_operators
from know_your_space.transforms import SIDE, AffineDraws, channel_scale, draw_affine, random_affine, resize

CHAINS, DEPTH = 3, 3
CANVAS, MILD_CANVAS = 32, 224  # sides of the canvas for severities from 5 on, and below
MILD = 5
LEAST = 0.1  # magnitude
SEVERITY = 11


class AugMixDraws(NamedTuple):
    """All random numbers of a batch; on the CPU."""

    weights: Float[Tensor, "batch chains"]
    mix: Float[Tensor, " batch"]
    depth: Int64[Tensor, "batch chains"]
    operators: Int64[Tensor, "batch chains depth"]
    magnitudes: Float64[Tensor, "batch chains depth"]
    negative: Bool[Tensor, "batch chains depth"]
    affine: AffineDraws  # of 4 batch places: the image, then its chains


def draw_augmix(n: int, severity: float, generator: torch.Generator) -> AugMixDraws:
    """Random numbers for `n` images.

    Args:
        n: number of images.
        severity: upper end of the magnitudes, above 0.1.
        generator: on the CPU.

    Raises:
        InputError: the severity is not above 0.1.
    """
    if not LEAST < severity < float("inf"):
        raise InputError(
            f"--augmix_severity {severity} is too small; expected a number above {LEAST}, 11 in the paper."
        )
    shape = (n, CHAINS, DEPTH)
    exponential = -torch.rand(n, CHAINS, generator=generator, dtype=torch.float64).clamp_min(1e-300).log()
    return AugMixDraws(
        weights=(exponential / exponential.sum(dim=1, keepdim=True)).float(),
        mix=torch.rand(n, generator=generator),
        depth=torch.randint(1, DEPTH + 1, (n, CHAINS), generator=generator),
        operators=torch.randint(len(OPERATORS), shape, generator=generator),
        magnitudes=LEAST + (severity - LEAST) * torch.rand(shape, generator=generator, dtype=torch.float64),
        negative=torch.rand(shape, generator=generator) > 0.5,
        affine=draw_affine((1 + CHAINS) * n, generator),
    )


def canvas_side(severity: float) -> int:
    """Side of the canvas of shears and translations, as the original chooses it."""
    return CANVAS if severity >= MILD else MILD_CANVAS


def augmix(
    pixels: UInt8[Tensor, "batch 3 height width"], draws: AugMixDraws, canvas: int, side: int = SIDE
) -> Float[Tensor, "batch 3 s s"]:
    """Mixtures, normalised; on the device of the images.

    Args:
        pixels: images of one size.
        draws: see `draw_augmix`.
        canvas: see `canvas_side`; the side of the image itself avoids the black bars of a larger canvas, and at mild
            severities the tiny picture on a 224-pixel one.
        side: of the result, pixels.
    """
    parts, order = [], []
    for rows, images in _run_chains(pixels, draws, canvas):
        where = AffineDraws(draws.affine.degrees[rows], draws.affine.shift[rows])
        parts.append(resize(random_affine(images, where), side))
        order.append(rows)
    return _mix(torch.cat(parts).index_select(0, send(torch.cat(order).argsort(), pixels.device)), draws)


def _run_chains(pixels: Tensor, draws: AugMixDraws, canvas: int) -> list[tuple[Tensor, Tensor]]:
    """The images and the results of their chains: (rows, images) of the native size, and of the canvas.

    Row r < batch is image r itself, row batch + 3 i + c is chain c of image i, as in `draws.affine`. Results are
    appended to a pool for each size, and `at` tells where in its pool a row stands: gathering whole images is much
    cheaper than scattering them.
    """
    n, device = len(pixels), pixels.device
    at = torch.cat([torch.arange(n), torch.arange(n).repeat_interleave(CHAINS)])
    depth = torch.cat([torch.zeros(n, dtype=torch.int64), draws.depth.flatten()])
    placed = torch.zeros(len(at), dtype=torch.bool)  # on the canvas
    pools = [pixels, pixels.new_empty(0, 3, canvas, canvas)]
    for level in range(DEPTH):
        settings = [values[..., level].flatten() for values in (draws.operators, draws.magnitudes, draws.negative)]
        due = [((depth > level) & (placed == flag)).nonzero().squeeze(1) for flag in (False, True)]
        grown: list[list[Tensor]] = [[pool] for pool in pools]
        for flag, active in enumerate(due):
            chosen = pools[flag].index_select(0, send(at[active], device))
            operators, magnitudes, negative = (values[active - n] for values in settings)
            for part, changed in apply_operators(chosen, operators, magnitudes, negative, canvas):
                rows = active[part]
                target = int(flag or OPERATORS[operators[part[0]]] in ON_CANVAS)
                at[rows] = sum(map(len, grown[target])) + torch.arange(len(rows))
                placed[rows] = bool(target)
                grown[target].append(changed)
        pools = [torch.cat(parts) for parts in grown]
    rows_of = [(placed == flag).nonzero().squeeze(1) for flag in (False, True)]
    return [(rows, pools[flag].index_select(0, send(at[rows], device))) for flag, rows in enumerate(rows_of)]


def _mix(small: Tensor, draws: AugMixDraws) -> Tensor:
    """The weighted mean of image and chains. Weights add up to 1, so it may be normalised afterwards, once."""
    n, device = len(draws.mix), small.device
    m = draws.mix.unsqueeze(1)
    shares = send(torch.cat([1 - m, m * draws.weights], dim=1) / 255, device)[:, :, None, None, None]
    chains = small[n:].unflatten(0, (n, CHAINS))  # (batch, chains, 3, side, side)
    mixed = small[:n].float().mul_(shares[:, 0])
    for i in range(CHAINS):
        mixed.addcmul_(chains[:, i].float(), shares[:, i + 1])
    mean, std = channel_scale(device)
    return mixed.sub_(mean).div_(std)
