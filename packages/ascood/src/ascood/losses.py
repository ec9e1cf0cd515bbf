"""Training losses. ASCOOD's is cross-entropy on images plus a weight times the uncertainty loss on outliers.

    L = CE(z(x), y) + w KL,   KL = mean over i of sum over c of 1/C (log 1/C - log softmax(z(x'_i))_c)

(arXiv 2411.10794, eq. 6; 0 for a uniform prediction.) The others are of the comparison in its table 1.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Loss = Float[Tensor, ""]


def uncertainty_loss(logits: Float[Tensor, "batch classes"]) -> Loss:
    """Mean divergence of the prediction from the uniform one, in nats. The target 1/C is rounded to float32."""
    classes = logits.shape[1]
    uniform = torch.full((), 1.0 / classes, dtype=torch.float32, device=logits.device).to(logits.dtype)
    return classes * uniform * uniform.log() - uniform * F.log_softmax(logits, dim=1).sum(dim=1).mean()


def ascood_loss(
    id_logits: Float[Tensor, "batch classes"],
    labels: Int64[Tensor, " batch"],
    ood_logits: Float[Tensor, "outliers classes"],
    weight: float,
) -> tuple[Loss, Loss, Loss]:
    """Total loss, and its two parts: cross-entropy and (unweighted) uncertainty loss."""
    of_id = F.cross_entropy(id_logits, labels)
    of_ood = uncertainty_loss(ood_logits)
    return of_id + weight * of_ood, of_id, of_ood


def logitnorm_loss(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"], tau: float) -> Loss:
    """Wei et al., Mitigating Neural Network Overconfidence with Logit Normalization, ICML 2022, eq. 6."""
    return F.cross_entropy(logits / (logits.norm(dim=1, keepdim=True) + 1e-7) / tau, labels)


def outlier_exposure_loss(
    id_logits: Float[Tensor, "batch classes"],
    labels: Int64[Tensor, " batch"],
    ood_logits: Float[Tensor, "outliers classes"],
    weight: float,
) -> Loss:
    """Hendrycks, Mazeika, Dietterich, ICLR 2019: cross-entropy of outliers to the uniform distribution, less log C."""
    uniform = (ood_logits.logsumexp(dim=1) - ood_logits.mean(dim=1)).mean()
    return F.cross_entropy(id_logits, labels) + weight * uniform


def soft_cross_entropy(logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]) -> Loss:
    """Cross-entropy to a distribution over the classes, mean over the batch."""
    return -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def mixed_labels(labels: Int64[Tensor, " batch"], classes: int, share: float) -> Float[Tensor, "batch classes"]:
    """Labels of images of which `share` is ID and the rest an outlier: share onehot + (1 - share) / C."""
    return share * F.one_hot(labels, classes).float() + (1 - share) / classes


def cutmix_box(height: int, width: int, share: float, centre: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of the box that an outlier fills, clipped at the border.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        share: of the image that should stay; the sides are floor(side sqrt(1 - share)), halved with floor to each side.
        centre: row and column.
    """
    root = math.sqrt(1 - share)
    half_height, half_width = int(height * root) // 2, int(width * root) // 2
    row, column = centre
    return (
        max(0, row - half_height),
        min(height, row + half_height),
        max(0, column - half_width),
        min(width, column + half_width),
    )
