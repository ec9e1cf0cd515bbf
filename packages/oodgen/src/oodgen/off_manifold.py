"""Outliers of type 1: images moved off the decoder's manifold.

    x1 = clip(x + s e v, 0, 1),   e ~ U(eps_min, eps_max),   s a sign,   v a unit vector of null(J^T)

x is the training image (paper) or its reconstruction (documented program), J the decoder's Jacobian at its code.
`make_off_manifold` is the whole way for a set of images; the functions below it are its steps.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from ood_shared.devices import module_device
from ood_shared.errors import InputError, unknown
from torch import Tensor

from oodgen.echelon import echelon_direction
from oodgen.manifold import degenerate_direction, exact_inference, null_space_direction, unit
from oodgen.vae import PIXELS, ConditionalVAE, latent_noise, one_hot

LATENTS = ("mu", "sample")
NULL_SPACES = ("jacobian", "none")
DIRECTIONS = ("normal", "uniform", "rref")
SIGNS = ("binary", "uniform")
BASES = ("data", "recon")


def make_off_manifold(
    vae: ConditionalVAE,
    images01: Float[Tensor, "batch 1 28 28"],
    encoder_input: Float[Tensor, "batch 1 28 28"],
    labels: Int[Tensor, " batch"],
    *,
    latent: str = "mu",
    null_space: str = "jacobian",
    direction: str = "normal",
    sign: str = "binary",
    eps_min: float = 0.1,
    eps_max: float = 28.0,
    base: str = "data",
    generator: torch.Generator | None = None,
    chunk: int = 128,
    device: torch.device | None = None,
    after_chunk: Callable[[int], object] | None = None,
) -> Float[Tensor, "batch 1 28 28"]:
    """One outlier per image, in [0,1].

    All random numbers are drawn first, for the whole set, on the CPU: the result depends neither on `chunk` nor, up to
    rounding, on the device. With `rref` that rounding is magnified by the inverse of a small matrix (to 1e-4 of a step
    as a rule), and where the Jacobian is singular it decides which pixels are the pivots, as it does for the authors.

    Args:
        vae: trained network.
        images01: images in [0,1], on any device.
        encoder_input: the same images on the scale that the encoder was trained on.
        labels: class of each image, 0..n-1.
        latent: where J is taken: at the posterior mean (`mu`) or at a draw from the posterior (`sample`).
        null_space: `jacobian` is the method; `none` leaves tangent directions in, as the documented program does.
        direction: `normal` draws w ~ N(0, 1), `uniform` w ~ U(-1, 1) per pixel, both projected. `rref` combines the
            basis of the authors' notebooks with coefficients U(-1, 1) (`echelon`). `uniform` with `none` is the
            documented program's draw, which leaves the first pixel alone; so is `rref` with `none`, as the unit vectors
            of the other pixels are the echelon basis of that program's degenerate matrix.
        sign: `binary` draws from {-1, +1}, `uniform` from U(-1, 1), which halves the distances on average.
        eps_min: smallest distance, Euclidean, in units of the pixel scale [0,1].
        eps_max: largest distance; 28 is the diagonal of the 784-dimensional unit cube.
        base: `data` moves the image, `recon` its reconstruction from the code above.
        generator: CPU generator; torch's global one when None.
        chunk: images per pass.
        device: where the result goes; where the network is when None.
        after_chunk: called after each pass with the number of finished images.

    Raises:
        InputError: an option is not known, the distances are no range, or the inputs differ in number.
    """
    _check_choices(latent=latent, null_space=null_space, direction=direction, sign=sign, base=base)
    n = len(images01)
    if len(encoder_input) != n or len(labels) != n:
        raise InputError(
            f"{n} images, {len(encoder_input)} encoder inputs and {len(labels)} labels do not belong together."
        )
    distance = draw_distance(n, eps_min, eps_max, generator)
    signs = draw_sign(n, sign, generator)
    documented = null_space == "none" and direction != "normal"
    noise = draw_noise(n, PIXELS - 1 if documented else PIXELS, direction, generator)
    eps = (
        latent_noise(torch.empty(n, vae.latent_dim), generator)
        if latent == "sample"
        else torch.zeros(n, vae.latent_dim)
    )
    condition = one_hot(labels.cpu(), vae.n_classes)

    along = echelon_direction if direction == "rref" else null_space_direction
    at = module_device(vae)
    outliers = []
    with exact_inference(vae):
        for start in range(0, n, chunk):
            part = slice(start, start + chunk)
            moved, w = images01[part].to(at), noise[part].to(at)
            if null_space == "jacobian" or base == "recon":
                y = condition[part].to(at)
                mu, logvar = vae.encode(encoder_input[part].to(at), y)
                z = mu if latent == "mu" else vae.sample(mu, logvar, eps[part].to(at))
            if null_space == "jacobian":
                recon, tangents = vae.decoder_with_tangents(z, y)
                v = along(tangents.transpose(1, 2), w)
            else:
                recon = vae.decoder(z, y) if base == "recon" else moved
                v = degenerate_direction(w) if documented else unit(w)
            outlier = off_manifold(moved if base == "data" else recon, v, distance[part].to(at), signs[part].to(at))
            outliers.append(outlier.to(device or at))
            if after_chunk is not None:
                after_chunk(min(start + chunk, n))
    return torch.cat(outliers) if outliers else images01.to(device or at)


def off_manifold(
    base01: Float[Tensor, "batch ..."],
    direction: Float[Tensor, "batch pixels"],
    distance: Float[Tensor, " batch"],
    sign: Float[Tensor, " batch"],
) -> Float[Tensor, "batch ..."]:
    """clip(base + sign * distance * direction, 0, 1), in the shape and precision of `base01`.

    Args:
        base01: images in [0,1].
        direction: unit vectors, one per image.
        distance: Euclidean, not negative.
        sign: in [-1, 1].
    """
    step = direction.to(base01.dtype).to(base01.device) * (sign * distance).to(base01.dtype).unsqueeze(1)
    return (base01 + step.reshape(base01.shape)).clamp(0, 1)


def draw_distance(n: int, low: float, high: float, generator: torch.Generator | None) -> Float[Tensor, " batch"]:
    """Distances U(low, high).

    Raises:
        InputError: not 0 <= low <= high < infinity.
    """
    if not 0 <= low <= high < float("inf"):
        raise InputError(f"--eps_min {low} and --eps_max {high} are no range of distances; expected 0 <= min <= max.")
    return low + (high - low) * torch.rand(n, generator=generator)


def draw_sign(n: int, kind: str, generator: torch.Generator | None) -> Float[Tensor, " batch"]:
    """`binary`: -1 or +1 with equal chance; `uniform`: U(-1, 1)."""
    if kind == "uniform":
        return 2 * torch.rand(n, generator=generator) - 1
    return torch.randint(0, 2, (n,), generator=generator).float() * 2 - 1


def draw_noise(n: int, size: int, kind: str, generator: torch.Generator | None) -> Float[Tensor, "batch size"]:
    """Raw directions before any projection, and coefficients of `rref`: `normal` N(0, 1), the others U(-1, 1)."""
    if kind == "normal":
        return torch.randn(n, size, generator=generator)
    return 2 * torch.rand(n, size, generator=generator) - 1


def _check_choices(**found: str) -> None:
    known = {"latent": LATENTS, "null_space": NULL_SPACES, "direction": DIRECTIONS, "sign": SIGNS, "base": BASES}
    for name, value in found.items():
        if value not in known[name]:
            raise unknown(f"--{name}", value, known[name])
