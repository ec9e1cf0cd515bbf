"""Directions that leave the decoder's manifold: the Jacobian and the projection onto the null space of its transpose.

    J = d g(z, c) / d z   (784 x d, class fixed),    P = I - J (J^T J)^+ J^T,    v = P w / |P w|

v is uniform on the unit sphere of null(J^T) for w ~ N(0, I). Nothing of size 784 x 784 is ever built or factorised:
the Jacobian comes from d forward tangents (`ConditionalVAE.decoder_with_tangents`), the projection from d x d matrices.

Rank-deficient Jacobians are normal, because 16 ReLU units are the bottleneck of the documented decoder. Singular values
below 1e-6 of the largest count as zero, and J = 0 gives P = I.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from ood_shared.devices import module_device
from ood_shared.errors import InputError
from torch import Tensor, nn

from oodgen.vae import ConditionalVAE

GRAM_CUT = 1e-12  # eigenvalues of J^T J below this share of the largest count as zero


@contextmanager
def exact_inference(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, autocast or TF32; the module's mode and the flags are restored."""
    training = module.training
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    precisions = matmul.fp32_precision, convolution.fp32_precision
    module.eval()
    matmul.fp32_precision = convolution.fp32_precision = "ieee"
    try:
        with torch.no_grad(), torch.autocast(module_device(module).type, enabled=False):
            yield
    finally:
        matmul.fp32_precision, convolution.fp32_precision = precisions
        module.train(training)


def decoder_jacobian(
    vae: ConditionalVAE, z: Float[Tensor, "batch latent"], y: Float[Tensor, "batch classes"], chunk: int = 128
) -> tuple[Float[Tensor, "batch 1 28 28"], Float[Tensor, "batch pixels latent"]]:
    """Images of the codes and the decoder's Jacobian there, in the precision of the network.

    Args:
        vae: either architecture, float32 or float64.
        z: codes.
        y: one-hot classes, held fixed.
        chunk: codes per pass; 1 + d images are decoded for each.

    Returns:
        images (batch, 1, 28, 28) in (0,1) and J (batch, 784, d), on the device of the network.
    """
    like = next(vae.parameters())
    images, tangents = [], []
    with exact_inference(vae):
        for part, condition in zip(z.to(like).split(chunk), y.to(like).split(chunk), strict=True):
            image, tangent = vae.decoder_with_tangents(part, condition)
            images.append(image)
            tangents.append(tangent)
    return torch.cat(images), torch.cat(tangents).transpose(1, 2)


def tangent_basis(
    jacobian: Float[Tensor, "batch pixels latent"],
) -> tuple[Float[Tensor, "batch pixels latent"], Int[Tensor, " batch"]]:
    """Orthonormal columns that span the columns of J, zero columns where the rank is short, and the rank.

    J V_r Lambda_r^(-1/2), with J^T J = V Lambda V^T, is orthonormal up to the condition number squared. A second d x d
    Gram matrix, now close to the identity, and its Cholesky factor remove the rest, so the projector is accurate also
    when singular values span six decades. Everything in float64: float32 would square the condition number.

    Raises:
        InputError: J holds NaN or infinity.
    """
    wide = in_float64(jacobian)
    scale = wide.abs().amax(dim=(1, 2), keepdim=True)
    wide = wide / torch.where(scale > 0, scale, 1.0)
    gram = wide.mT @ wide
    values, vectors = (t.to(wide.device) for t in torch.linalg.eigh(gram.cpu()))  # slow for tiny matrices on GPUs
    kept = values > GRAM_CUT * values[:, -1:]  # all False for J = 0
    inverse_root = torch.where(kept, values, 1.0).rsqrt() * kept
    basis = wide @ (vectors * inverse_root.unsqueeze(1))
    second = basis.mT @ basis + torch.diag_embed((~kept).double())
    factor = torch.linalg.cholesky(second)
    return torch.linalg.solve_triangular(factor, basis.mT, upper=False).mT, kept.sum(dim=1)


def in_float64(jacobian: Float[Tensor, "batch pixels latent"]) -> Float[Tensor, "batch pixels latent"]:
    """The Jacobians in float64: on their own device, or on the CPU where that has no float64 (Metal).

    Raises:
        InputError: J holds NaN or infinity.
    """
    wide = (jacobian.cpu() if jacobian.device.type == "mps" else jacobian).double()
    if not wide.isfinite().all():
        raise InputError(
            "The decoder's Jacobian is not finite: the weights of the VAE or the codes hold NaN or infinity."
        )
    return wide


def decoder_rank(jacobian: Float[Tensor, "batch pixels latent"]) -> Int[Tensor, " batch"]:
    """Rank of each Jacobian: singular values above 1e-6 of the largest."""
    return tangent_basis(jacobian)[1]


def null_space_projection(
    jacobian: Float[Tensor, "batch pixels latent"], w: Float[Tensor, "batch *probes pixels"]
) -> Float[Tensor, "batch *probes pixels"]:
    """P w in float64: the part of each `w` that is orthogonal to all columns of its Jacobian.

    Args:
        jacobian: float32 is enough, the projection itself runs in float64.
        w: one vector per Jacobian, or several (batch, probes, 784).

    Raises:
        InputError: J holds NaN or infinity.
    """
    basis, _ = tangent_basis(jacobian)
    rows = w.to(basis).reshape(len(basis), -1, basis.shape[1])  # (batch, probes, pixels)
    for _ in range(2):  # the second pass removes the rounding error of the first
        rows = rows - (rows @ basis) @ basis.mT
    return rows.reshape(w.shape).to(w.device if w.device.type != "mps" else basis.device)


def unit(w: Float[Tensor, "*batch pixels"]) -> Float[Tensor, "*batch pixels"]:
    """Each vector divided by its Euclidean length; a zero vector stays zero."""
    return F.normalize(w, dim=-1, eps=torch.finfo(w.dtype).tiny)


def null_space_direction(
    jacobian: Float[Tensor, "batch pixels latent"], w: Float[Tensor, "batch pixels"]
) -> Float[Tensor, "batch pixels"]:
    """Unit vectors P w / |P w| of null(J^T), in float64."""
    return unit(null_space_projection(jacobian, w))


def degenerate_direction(coefficients: Float[Tensor, "batch others"]) -> Float[Tensor, "batch pixels"]:
    """(0, c) / |c|: the documented program's direction, any but that of the first pixel.

    Its gradient loop runs over the channel axis and finds one gradient, that of the sum of all pixels; the null space
    of the matrix it fills with it is spanned by all unit vectors but the first. No tangent direction is excluded.

    Args:
        coefficients: one value per pixel but the first, U(-1,1) in the documented program.
    """
    return unit(F.pad(coefficients, (1, 0)))
