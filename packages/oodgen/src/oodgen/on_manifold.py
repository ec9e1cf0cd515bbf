"""Outliers of type 2: images decoded from the shell around a class in latent space.

    D_i = sqrt((z_i - m)^T S^+ (z_i - m)),   r = sorted(D)[floor(0.95 N)]
    z'  = L u + m,   |u| ~ U(r, 1.5 r) in a uniform direction,   L L^T = S,   x2 = g(z', c)

with mean m and covariance S (divisor N - 1) of the codes of the class. Trained posteriors often fill only a few of the
d dimensions. Eigenvalues of S below 1e-6 of the largest count as zero, for the distances and for the factor alike, and
u lies on a sphere of as many dimensions as are left; a Cholesky factor of a padded S would put nearly all samples
inside the class. All of it in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from ood_shared.devices import module_device
from ood_shared.errors import InputError, unknown
from torch import Tensor

from oodgen.manifold import exact_inference, unit
from oodgen.vae import ConditionalVAE, one_hot

RANK_CUT = 1e-6  # eigenvalues of a class covariance below this share of the largest count as zero
QUANTILE = 0.95
OUTER = 1.5  # the shell reaches from r to 1.5 r
FACTORS = ("rank", "cholesky", "seed")


@dataclass(frozen=True)
class Shells:
    """The shell of every class; float64, on the CPU.

    Attributes:
        mean: (classes, d).
        cov: (classes, d, d), divisor N - 1.
        precision: pseudo-inverse of `cov` above the cut.
        rank: number of eigenvalues above the cut.
        sphere_dim: dimensions of the sphere that u is drawn from: the rank, or d for the other factors.
        factor: L (classes, d, d); the first `sphere_dim` columns count, the rest is zero.
        radius: the 95 % Mahalanobis radius r.
    """

    mean: Float[Tensor, "classes latent"]
    cov: Float[Tensor, "classes latent latent"]
    precision: Float[Tensor, "classes latent latent"]
    rank: Int[Tensor, " classes"]
    sphere_dim: Int[Tensor, " classes"]
    factor: Float[Tensor, "classes latent latent"]
    radius: Float[Tensor, " classes"]


def fit_class_shells(
    codes: Float[Tensor, "batch latent"],
    labels: Int[Tensor, " batch"],
    n_classes: int,
    factor: str = "rank",
    rank_cut: float = RANK_CUT,
) -> Shells:
    """Statistics and shell of every class.

    Args:
        codes: posterior means or samples, any float dtype.
        labels: class of each code.
        n_classes: number of classes; each needs codes.
        factor: `rank` spans the dimensions above the cut with eigenvectors; `cholesky` needs full rank; `seed` is the
            published factor (`published_factor`), whose samples do not stay in the shell.
        rank_cut: eigenvalues of a covariance below this share of its largest count as zero.

    Raises:
        InputError: a class has fewer than two codes, or codes without spread; `cholesky` with a short rank; a code is
            not finite; a label is not below `n_classes`.
    """
    if factor not in FACTORS:
        raise unknown("--maha_factor", factor, FACTORS)
    codes, labels = codes.detach().cpu().double(), labels.cpu()
    _check_codes(codes, labels, n_classes)
    means, covs = zip(*(mean_and_covariance(codes[labels == c]) for c in range(n_classes)), strict=True)
    mean, cov = torch.stack(means), torch.stack(covs)

    values, vectors = torch.linalg.eigh(cov)
    kept = values > rank_cut * values[:, -1:]
    rank = kept.sum(dim=1)
    precision = (vectors * (kept / torch.where(kept, values, 1.0)).unsqueeze(1)) @ vectors.mT
    radius = torch.stack(
        [shell_radius(mahalanobis(codes[labels == c], mean[c], precision[c])) for c in range(n_classes)]
    )
    if factor == "rank":  # columns in descending order, so that those that count stand in front
        root = (vectors * torch.where(kept, values, 0.0).sqrt().unsqueeze(1)).flip(2)
        return Shells(mean, cov, precision, rank, rank, root, radius)
    sphere_dim = torch.full_like(rank, codes.shape[1])
    if factor == "seed":
        return Shells(mean, cov, precision, rank, sphere_dim, published_factor(cov), radius)
    if (rank < codes.shape[1]).any():
        worst = int(rank.argmin())
        raise InputError(
            f"--maha_factor cholesky: the codes of class {worst} fill {int(rank[worst])} of {codes.shape[1]} latent "
            "dimensions, so their covariance has no Cholesky factor. Use --maha_factor rank."
        )
    return Shells(mean, cov, precision, rank, sphere_dim, torch.linalg.cholesky(cov), radius)


def sample_shells(
    shells: Shells, labels_wanted: Int[Tensor, " batch"], generator: torch.Generator | None = None
) -> Float[Tensor, "batch latent"]:
    """One code in the shell of each wanted class: float64, on the CPU.

    Raises:
        InputError: a wanted label has no shell.
    """
    n, classes, dim = len(labels_wanted), *shells.mean.shape
    c = labels_wanted.cpu().long()
    one_hot(c, classes)  # refuses labels out of range
    radius = shells.radius[c] * (1 + (OUTER - 1) * torch.rand(n, generator=generator, dtype=torch.float64))
    normal = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    normal = normal * (torch.arange(dim) < shells.sphere_dim[c].unsqueeze(1))
    return shell_points(radius, normal, shells.factor[c], shells.mean[c])


def make_on_manifold(
    vae: ConditionalVAE,
    shells: Shells,
    labels: Int[Tensor, " batch"],
    generator: torch.Generator | None = None,
    chunk: int = 1000,
    after_chunk: Callable[[int], object] | None = None,
) -> Float[Tensor, "batch 1 28 28"]:
    """One image in (0,1) per label, decoded from the shell of its class; on the device of the network.

    Args:
        vae: the network whose codes the shells were fitted to.
        shells: see `fit_class_shells`.
        labels: class that each image is conditioned on.
        generator: CPU generator; torch's global one when None.
        chunk: images per pass.
        after_chunk: called after each pass with the number of finished images.
    """
    like = next(vae.parameters())
    codes = sample_shells(shells, labels, generator).to(like.dtype)
    condition = one_hot(labels.cpu(), vae.n_classes).to(like.dtype)
    at = module_device(vae)
    images = []
    with exact_inference(vae):
        for z, y in zip(codes.split(chunk), condition.split(chunk), strict=True):
            images.append(vae.decoder(z.to(at), y.to(at)))
            if after_chunk is not None:
                after_chunk(sum(map(len, images)))
    return torch.cat(images)


def mean_and_covariance(
    codes: Float[Tensor, "batch latent"],
) -> tuple[Float[Tensor, " latent"], Float[Tensor, "latent latent"]]:
    """Mean and covariance with divisor N - 1."""
    mean = codes.mean(dim=0)
    centred = codes - mean
    return mean, centred.T @ centred / (len(codes) - 1)


def mahalanobis(
    codes: Float[Tensor, "batch latent"], mean: Float[Tensor, " latent"], precision: Float[Tensor, "latent latent"]
) -> Float[Tensor, " batch"]:
    """Distance of each code from `mean` in the metric `precision`."""
    centred = codes - mean
    return ((centred @ precision) * centred).sum(dim=1).clamp_min(0).sqrt()


def shell_radius(distances: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The sorted distance at index floor(0.95 N), counted from 0, without interpolation."""
    return distances.sort().values[int(QUANTILE * len(distances))]


def shell_points(
    radius: Float[Tensor, " batch"],
    normal: Float[Tensor, "batch latent"],
    factor: Float[Tensor, "*batch latent latent"],
    mean: Float[Tensor, "*batch latent"],
) -> Float[Tensor, "batch latent"]:
    """L u + m for points u of the given radii in the directions of `normal`."""
    return (factor @ sphere_points(radius, normal).unsqueeze(-1)).squeeze(-1) + mean


def sphere_points(radius: Float[Tensor, " batch"], normal: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Points of length `radius` in the directions of `normal`; uniform on the sphere for normal numbers."""
    return radius.unsqueeze(1) * unit(normal)


def published_factor(cov: Float[Tensor, "*batch latent latent"]) -> Float[Tensor, "*batch latent latent"]:
    """The lower triangular factor of the published programs, which is no Cholesky factor unless `cov` is diagonal.

        C_ij = S_ij / sqrt(|S_jj - sum_{k<j} C_jk^2|),   j <= i

    The cross terms of Cholesky's rule are lost. A column whose root is zero stays zero here (there: NaN).
    """
    factor = torch.zeros_like(cov)
    for j in range(cov.shape[-1]):
        root = (cov[..., j, j] - factor[..., j, :j].square().sum(dim=-1)).abs().sqrt()
        column = cov[..., j:, j] / torch.where(root > 0, root, torch.inf).unsqueeze(-1)
        factor[..., j:, j] = column
    return factor


def classes_without_spread(
    codes: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"], n_classes: int
) -> list[int]:
    """Classes whose codes are all equal, to the resolution of float32; one that has at most one code counts, too."""
    dead = []
    for c in range(n_classes):
        own = codes[labels == c]
        if len(own) < 2 or (own - own[0]).abs().max() <= torch.finfo(torch.float32).eps * own.abs().max():
            dead.append(c)
    return dead


def _check_codes(codes: Tensor, labels: Tensor, n_classes: int) -> None:
    if len(codes) != len(labels):
        raise InputError(f"{len(codes)} codes and {len(labels)} labels do not belong together.")
    if not codes.isfinite().all():
        raise InputError(
            "The latent codes hold NaN or infinity: the VAE has diverged. Train it again, e.g. with a lower --lr."
        )
    one_hot(labels, n_classes)  # refuses labels out of range
    counts = torch.bincount(labels.long(), minlength=n_classes)
    if counts.min() < 2:
        c = int(counts.argmin())
        raise InputError(f"Class {c} has {int(counts[c])} code(s); its covariance needs at least 2 images.")
    for c in classes_without_spread(codes, labels, n_classes):
        raise InputError(
            f"All {int(counts[c])} codes of class {c} are equal: the VAE's posterior has collapsed and has no shell. "
            "Train it again with another --seed, or use --latent sample."
        )
