"""The fused detector F: four distances of one forward pass, as smooth conformal p-values, averaged. No OOD images.

With m_0..m_3 the feature maps after the first convolution and each stage, over the fit images:

    s = [mean and deviation over the places of m_0..m_3], each column over its deviation                  (256)
    v = mean of the last map over its Euclidean norm                                                      (64)
    w = [m_1, m_2, m_3 averaged to 8 x 8, each channel over its deviation]                                (7168)

    joint          d1 = min_c (s - mu_c)^T S_W^-1 (s - mu_c)        S_W = mean (s - mu_y)(s - mu_y)^T + 0.01 tr/256 I
    relative       d2 = d1 - (s - mu)^T S_B^-1 (s - mu)             S_B likewise about the mean of all
    neighbour      d3 = |v - its 10th nearest fit image|
    residual       d4 = |w - mean without its 64 principal components|

    F = mean_k g(q_k)                          q_k the evidence of d_k among the calibration images, see `evidence`

The numbers are those of the common network; others have other widths, see `backbones`. `relative` is left out with one
class or fewer than 1000 fit images. Everything after the pass is float64.

On a network that was not trained on the ID images (`lean`) two distances are fused, `neighbour` (the 3rd below 1000 fit
images) and `relative`, or `joint` where that is left out. There the others are weak, and weak members harm: on classes
left out of CIFAR-10, and on turned, inverted and shuffled ID images, the mean AUROC is 81.3 with two, 78.8 with four.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis); Ren et al., arXiv 2106.09022 (relative); Sun et al., ICML 2022
(neighbours); Magesh et al., arXiv 2206.09522 (fusing conformal p-values).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from ood_bench.backbones.backbone import Backbone

MEMBERS = ("joint", "relative", "neighbour", "residual")
SHRINKAGE, NEIGHBOUR, FEW_NEIGHBOUR, COMPONENTS, PLACES = 0.01, 10, 3, 64, 8
LEAST_RELATIVE = 1000  # fit images, below which the class-free Gaussian is too rough, and the 10th neighbour too far
MOST_FIT = 4000
TINY = 1e-9


@dataclass(frozen=True)
class Pass:
    """What one forward pass gives, float64 but for places and logits.

    Attributes:
        pooled: (n, 256), mean and deviation of the maps; not yet scaled.
        last: (n, 64), mean of the last map.
        places: (n, 7168), the maps but the first one at 8 x 8; not yet scaled; float32.
        logits: (n, classes), float32; one column of zeros without a head.
    """

    pooled: Float[Tensor, "n s"]
    last: Float[Tensor, "n v"]
    places: Float[Tensor, "n w"]
    logits: Float[Tensor, "n classes"]

    @property
    def direction(self) -> Float[Tensor, "n v"]:
        """v, of unit length."""
        return F.normalize(self.last, dim=1)


def pass_of(backbone: Backbone, x: Float[Tensor, "n c h w"]) -> Pass:
    """The pass of normalised images through the network, in eval mode."""
    maps = backbone.network.maps(x)
    last, measured = maps[-1].mean(dim=(2, 3)), maps[backbone.first : backbone.last]
    pooled = torch.cat([part for m in measured for part in _mean_and_deviation(m)], dim=1)
    grids = [F.adaptive_avg_pool2d(m, backbone.places).flatten(1) for m in measured[1:] or measured]
    logits = last.new_zeros(last.shape[0], 1) if backbone.head is None else backbone.head(last)
    return Pass(pooled.double(), last.double(), torch.cat(grids, dim=1), logits)


@dataclass(frozen=True)
class Statistics:
    """What is fitted on ID images; tensors only, so that it can be kept in a file.

    Attributes:
        scale: (256,), deviations of the pooled statistics.
        class_means: (classes, 256).
        within: (256, 256), whitening of S_W.
        mean: (256,).
        total: (256, 256), whitening of S_B; empty where `relative` is left out.
        bank: (m, 64), directions of the fit images.
        place_scale: (7168,), deviations of the channels, at each of their places.
        place_mean: (7168,), of the scaled places.
        components: (7168, 64), principal; empty where `residual` is left out.
        joint: whether `joint` is fused; `relative` needs its parts also without.
        neighbour: which nearest image counts.
    """

    scale: Tensor
    class_means: Tensor
    within: Tensor
    mean: Tensor
    total: Tensor
    bank: Tensor
    place_scale: Tensor
    place_mean: Tensor
    components: Tensor
    joint: bool = True
    neighbour: int = NEIGHBOUR

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the distances that are fused."""
        there = {"joint": self.joint, "relative": len(self.total) > 0, "residual": len(self.components) > 0}
        return tuple(name for name in MEMBERS if there.get(name, True))


def fit_statistics(
    fit: Pass, labels: Int64[Tensor, " n"], n_classes: int, places: int = PLACES, lean: bool = False
) -> Statistics:
    """The Gaussians, the bank and the components of the fit images.

    Args:
        fit: pass of the fit images; more than ten.
        labels: their classes; each has images.
        n_classes: number of classes, 1 or more.
        places: side of the grid of `fit.places`.
        lean: fuse the neighbour and one distance only, `relative` or where that is left out `joint`.

    Raises:
        InputError: too few images.
    """
    n = len(fit.pooled)
    if n <= NEIGHBOUR:
        raise InputError(f"{n} images to fit on; expected more than {NEIGHBOUR}, of which one is the 10th neighbour.")
    scale = fit.pooled.std(dim=0, correction=0) + TINY
    s = fit.pooled / scale
    class_means = torch.stack([s[labels == c].mean(dim=0) for c in range(n_classes)])
    mean = s.mean(dim=0)
    relative = n_classes > 1 and n >= LEAST_RELATIVE
    if lean:
        place_scale, place_mean, components = (s.new_empty(0) for _ in range(3))
    else:
        grids = fit.places.double()
        channels = grids.unflatten(1, (-1, places * places))  # (n, channels, places)
        place_scale = (channels.std(dim=(0, 2), correction=0) + TINY).repeat_interleave(places * places)
        w = grids / place_scale
        place_mean = w.mean(dim=0)
        components = _principal(w - place_mean)
    return Statistics(
        scale,
        class_means,
        _whitening(s - class_means[labels]),
        mean,
        _whitening(s - mean) if relative else s.new_empty(0, 0),
        fit.direction.half().double(),  # as a file keeps them, so that a detector and its file agree
        place_scale,
        place_mean,
        components,
        not (lean and relative),
        neighbour_of(n, lean),
    )


def neighbour_of(n: int, lean: bool) -> int:
    """Which nearest image counts among n: the 10th; of a `lean` detector of few images the 3rd.

    >>> neighbour_of(4000, True), neighbour_of(200, True), neighbour_of(200, False)
    (10, 3, 10)
    """
    return FEW_NEIGHBOUR if lean and n < LEAST_RELATIVE else NEIGHBOUR


def distances(statistics: Statistics, images: Pass) -> tuple[Float[Tensor, "members n"], Int64[Tensor, " n"]]:
    """d_k of each image, in the order of `statistics.members`, and the position of its nearest image in the bank."""
    s = images.pooled / statistics.scale
    centred = (s[:, None] - statistics.class_means) @ statistics.within  # (n, classes, 256)
    joint = centred.square().sum(dim=2).amin(dim=1)
    values = {"joint": joint}
    if len(statistics.total):
        values["relative"] = joint - ((s - statistics.mean) @ statistics.total).square().sum(dim=1)
    nearest = _apart(images.direction, statistics.bank).topk(statistics.neighbour, dim=1, largest=False, sorted=True)
    values["neighbour"] = nearest.values[:, -1]
    if len(statistics.components):
        w = images.places.double() / statistics.place_scale - statistics.place_mean
        inside = w @ statistics.components
        values["residual"] = (w.square().sum(dim=1) - inside.square().sum(dim=1)).clamp_min(0).sqrt()
    return torch.stack([values[name] for name in statistics.members]), nearest.indices[:, 0]


def _mean_and_deviation(m: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
    """Over the places; 0 for a single one. On a CPU torch's own `std` takes six times as long."""
    mean, places = m.mean(dim=(2, 3), keepdim=True), m.shape[2] * m.shape[3]
    return mean.flatten(1), ((m - mean).square().sum(dim=(2, 3)) / max(1, places - 1)).sqrt()


def _apart(rows: Float[Tensor, "n v"], bank: Float[Tensor, "m v"]) -> Float[Tensor, "n m"]:
    """Euclidean distances; in an exported graph, which has no such operation, by the squares: 1e-8 off at most."""
    if torch.compiler.is_exporting():
        squared = rows.square().sum(dim=1, keepdim=True) + bank.square().sum(dim=1) - 2 * rows @ bank.T
        return squared.clamp_min(0).sqrt()
    return torch.cdist(rows, bank, compute_mode="donot_use_mm_for_euclid_dist")


def _whitening(centred: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """A with A A^T = (covariance + shrinkage)^-1, so that |x A|^2 is the squared distance."""
    covariance = centred.T @ centred / len(centred)
    covariance.diagonal().add_(SHRINKAGE * covariance.diagonal().mean() + TINY)
    inverse = torch.linalg.cholesky(covariance)
    return torch.linalg.solve_triangular(inverse, torch.eye(len(inverse), dtype=inverse.dtype), upper=False).T


def _principal(centred: Float[Tensor, "n d"]) -> Float[Tensor, "d k"]:
    """The leading principal directions, by scikit-learn's randomised decomposition with fixed draws."""
    k = min(COMPONENTS, len(centred) - 1, centred.shape[1])
    _, _, rows = randomized_svd(centred.numpy(), k, n_iter=4, random_state=0)
    return torch.from_numpy(np.ascontiguousarray(rows.T)).float().double()  # as a file keeps them
