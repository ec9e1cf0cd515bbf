"""Confidences, scores and the documented program's way of averaging its metric.

Two signs meet here. `confidence` is the paper's: higher means more in-distribution. `ood_score` is the shared one:
higher means more OOD, and without the ties that 1 - p_n gets in float32 where p_n is small.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from ood_shared.errors import InputError, unknown
from torch import Tensor

KINDS = ("one_minus_ood", "max_in", "max_all")


def confidence(probabilities: Float[Tensor, "batch outputs"], kind: str = "one_minus_ood") -> Float[Tensor, " batch"]:
    """Higher = more in-distribution.

    Args:
        probabilities: softmax over n + 1 outputs, the outlier class last.
        kind: `one_minus_ood` is 1 - p_n; `max_in` the largest of p_0..p_{n-1}; `max_all` the largest of all, the
            documented program's score, which is high for an outlier recognised with certainty.

    Raises:
        InputError: the kind is not known.
    """
    if kind == "one_minus_ood":
        return 1 - probabilities[:, -1]
    return -_negative_maximum(probabilities, kind)


def ood_score(logits: Float[Tensor, "batch outputs"], kind: str = "one_minus_ood") -> Float[Tensor, " batch"]:
    """Higher = more OOD: p_n itself, or minus the largest p_k; float64, from the logits.

    Args:
        logits: scores of the n classes and, last, the outlier class.
        kind: as in `confidence`.

    Raises:
        InputError: the kind is not known.
    """
    wide = logits.cpu() if logits.device.type == "mps" else logits  # Metal has no float64
    probabilities = torch.softmax(wide.double(), dim=1)
    if kind == "one_minus_ood":
        return probabilities[:, -1]
    return _negative_maximum(probabilities, kind)


class NearestMetrics(NamedTuple):
    """Metrics with ID as the positive class; fractions."""

    auroc: float
    fpr95: float
    fpr80: float


def nearest_metrics(
    id_confidence: Float[np.ndarray, " id"], ood_confidence: Float[np.ndarray, " ood"]
) -> NearestMetrics:
    """AUROC, and FPR at the point of the ROC curve whose TPR is nearest to 95 % and 80 %, as the authors take them.

    Collinear points of the curve are dropped first and the first of equally near points wins, so the TPR may be lower
    than the level. `ood_shared.metrics` has the FPR at a TPR of at least the level.

    Args:
        id_confidence: higher = more in-distribution.
        ood_confidence: the same for outliers.

    Returns:
        NaN for all three when a group is empty, as in the documented program.
    """
    if not len(id_confidence) or not len(ood_confidence):
        return NearestMetrics(float("nan"), float("nan"), float("nan"))
    fpr, tpr = _roc_curve(np.asarray(id_confidence), np.asarray(ood_confidence))
    area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)
    return NearestMetrics(float(area), *(float(fpr[np.abs(tpr - level).argmin()]) for level in (0.95, 0.80)))


def batch_averaged_auroc(
    confidences: Float[np.ndarray, " batch"], is_ood: Bool[np.ndarray, " batch"], batch_size: int = 1000
) -> tuple[float, list[NearestMetrics]]:
    """The documented evaluation: one AUROC per batch in the given order, and their mean.

    A last partial batch is dropped. A batch without ID or without OOD images gives NaN, and so does the mean then: a
    mean of per-batch AUROCs is no AUROC, and this one is kept for comparison only.

    Args:
        confidences: higher = more in-distribution, in the (shuffled) order of the batches.
        is_ood: which of them are outliers.
        batch_size: images per batch.

    Returns:
        The mean AUROC and the metrics of each batch.

    Raises:
        InputError: there are fewer images than one batch needs.
    """
    if batch_size < 1 or len(confidences) < batch_size:
        raise InputError(
            f"--average batches needs at least one batch of {batch_size} images, got {len(confidences)}. "
            "Use --average pooled."
        )
    batches = []
    for start in range(0, len(confidences) - batch_size + 1, batch_size):
        values, outlier = confidences[start : start + batch_size], is_ood[start : start + batch_size]
        batches.append(nearest_metrics(values[~outlier], values[outlier]))
    return sum(metrics.auroc for metrics in batches) / len(batches), batches


def _negative_maximum(probabilities: Tensor, kind: str) -> Tensor:
    if kind not in KINDS:
        raise unknown("--score", kind, KINDS)
    return -(probabilities[:, :-1] if kind == "max_in" else probabilities).amax(dim=1)


def _roc_curve(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FPR and TPR at every distinct threshold from (0, 0) on, without the points inside straight pieces."""
    scores = np.concatenate([positive, negative])
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    tps = np.cumsum(order < len(positive))[last_of_ties]
    fps = 1 + last_of_ties - tps
    if len(tps) > 2:
        corners = np.flatnonzero(np.r_[True, (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0), True])
        tps, fps = tps[corners], fps[corners]
    return np.r_[0, fps] / len(negative), np.r_[0, tps] / len(positive)
