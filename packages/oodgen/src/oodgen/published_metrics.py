"""The metric as the documented program takes and averages it, for comparison with its logs.

`ood_shared.metrics` has the metrics of everything else.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from ood_shared.errors import InputError
from ood_shared.metrics import evaluate
from torch import Tensor

from oodgen.scores import confidence, ood_score


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


def auroc(id_logits: Tensor, ood_logits: Tensor, score: str, average: str, generator: torch.Generator) -> float:
    """AUROC as `--average` asks for it: of all images at once, or the mean over shuffled batches of 1000.

    Raises:
        InputError: `batches` with fewer than 1000 images.
    """
    if average == "pooled":
        return evaluate(ood_score(id_logits, score).numpy(), ood_score(ood_logits, score).numpy())["auroc"]
    probabilities = torch.softmax(torch.cat([id_logits, ood_logits]), dim=1)
    order = torch.randperm(len(probabilities), generator=generator)
    is_ood = order >= len(id_logits)
    return batch_averaged_auroc(confidence(probabilities, score)[order].numpy(), is_ood.numpy())[0]


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
