"""Margin loss on the energy of synthetic inliers and outliers, and the class-weighted cross-entropy beside it.

    E(z)  = -T log sum_k exp(z_k / T)
    L_ce  = -sum_i w[y_i] log softmax(z_i)[y_i] / sum_i w[y_i]
    L_mar = mean max(0, E(inliers) - m_in)^2 + mean max(0, m_out - E(outliers))^2
    L     = L_ce + beta1 L_mar

The temperature enters the energy only. The paper takes T = 1, m_in = -20, m_out = -7, beta1 = 0.1. Logits of latent
inliers are those of the last linear layer alone, which is therefore all that their term trains.

Source: Liu et al., *Energy-based Out-of-distribution Detection*, NeurIPS 2020, eq. 7, for the two hinges.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.scores import energy
from torch import Tensor


class MarginLoss(NamedTuple):
    """The two hinges of the margin loss, before `beta1`."""

    inliers: Float[Tensor, ""]
    outliers: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """Their sum."""
        return self.inliers + self.outliers


def margin_loss(
    inlier_logits: Float[Tensor, "inliers classes"] | None,
    outlier_logits: Float[Tensor, "outliers classes"] | None,
    m_in: float = -20.0,
    m_out: float = -7.0,
    temperature: float = 1.0,
) -> MarginLoss:
    """Squared hinges that push the energy of inliers below `m_in` and that of outliers above `m_out`.

    Args:
        inlier_logits: logits of all inliers of the step. None or no row drops the term: training without inliers.
        outlier_logits: logits of all outliers of the step; likewise.
        m_in: energy below which an inlier costs nothing.
        m_out: energy above which an outlier costs nothing.
        temperature: of the energy; positive.
    """
    given = [logits for logits in (inlier_logits, outlier_logits) if logits is not None]
    nothing = given[0].new_zeros((), dtype=torch.float32) if given else torch.zeros(())
    inliers = outliers = nothing
    if inlier_logits is not None and len(inlier_logits):
        inliers = (energy(inlier_logits, temperature) - m_in).clamp_min(0).square().mean()
    if outlier_logits is not None and len(outlier_logits):
        outliers = (m_out - energy(outlier_logits, temperature)).clamp_min(0).square().mean()
    return MarginLoss(inliers, outliers)


def confidence(logits: Float[Tensor, "batch classes"], temperature: float = 1.0) -> Float[Tensor, " batch"]:
    """T log sum_k exp(z_k / T): the negative energy, higher = more in-distribution, as the original writes to files."""
    return -energy(logits, temperature)


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"], weights: Float[Tensor, " classes"]
) -> Float[Tensor, ""]:
    """Cross-entropy in nats, a weighted mean, in float32 or wider.

    Where every label of the batch has weight 0, as with a single class, the loss is 0 and not 0 / 0.

    Args:
        logits: class scores.
        labels: classes 0..K-1.
        weights: weight of each class, not negative.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    with torch.autocast(logits.device.type, enabled=False):
        summed = F.cross_entropy(wide, labels, weight=weights.to(wide.dtype), reduction="sum")
        total = weights.to(wide.dtype)[labels].sum()
        return summed / torch.where(total > 0, total, 1.0)
