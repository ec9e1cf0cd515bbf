"""Metrics of out-of-distribution detection, all from one exact sort of the raw scores.

One sign: a higher score means more OOD, and OOD is the positive class. Where the convention is the other one, the name
says so: `fpr95_id_positive` is the share of OOD accepted at the threshold that keeps 95 % of ID, `fpr95` the share of
ID flagged at the threshold that catches 95 % of OOD.

=================================  =====================================================================================
`auroc`                            area under the ROC curve; ties count one half
`aupr_out`, `aupr_in`              average precision, OOD or ID positive (scikit-learn's `average_precision_score`)
`aupr_out_trapezoid`, `aupr_in_…`  area under the precision-recall curve by trapezoid (`auc(recall, precision)`)
`fpr95`, `fpr80`                   FPR at the largest threshold that catches at least that share of OOD
`fpr95_id_positive`, `fpr80_…`     the same with ID positive and confidence = -score
`detection_error`                  least mean of FPR and missed share over all thresholds
=================================  =====================================================================================

Scores count in their own precision: nothing is rounded, squashed or clipped, infinities are ranked, NaN is refused.
"""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from ood_shared.bootstrap import (
    Groups,
    Interval,
    around,
    bootstrap,
    draw_counts,
    percentile_interval,
    resampled_metrics,
)
from ood_shared.errors import InputError
from ood_shared.ranking import (
    NAMES,
    Ranking,
    Scores,
    as_scores,
    id_side,
    metrics_of_counts,
    ood_side,
    positives_needed,
    rank,
)

__all__ = [
    "NAMES",
    "Interval",
    "Scores",
    "accuracy",
    "accuracy_interval",
    "as_scores",
    "bootstrap",
    "evaluate",
    "evaluate_with_intervals",
    "fpr_at_tpr",
    "roc_curve",
]

Labels = npt.NDArray[np.integer] | torch.Tensor


def evaluate(id_scores: Scores, ood_scores: Scores) -> dict[str, float]:
    """Every metric of `NAMES`.

    Args:
        id_scores: (n_id,) scores of ID inputs, array or tensor of any floating dtype; higher means more OOD.
        ood_scores: (n_ood,) scores of OOD inputs.

    Raises:
        InputError: empty, not one-dimensional, or NaN among the scores (with the position).

    >>> evaluate(np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.9]))["auroc"]  # 5 pairs in order, 1 tie
    0.9166666666666666
    """
    return _evaluate(rank(id_scores, ood_scores))


def evaluate_with_intervals(
    id_scores: Scores,
    ood_scores: Scores,
    generator: np.random.Generator,
    resamples: int = 1000,
    groups: Groups = (None, None),
) -> dict[str, dict[str, float]]:
    """Every metric as `{"value", "low", "high"}`, the last two being its 95 % bootstrap interval (`around`).

    Args:
        id_scores: (n_id,).
        ood_scores: (n_ood,).
        generator: source of the resamples.
        resamples: number of them.
        groups: numbers of the groups of the ID scores and of the OOD scores, in their order, none left out; they are
            drawn together. None where each is by itself.
    """
    ranking = rank(id_scores, ood_scores)
    values = _evaluate(ranking)
    of_id, of_ood = groups
    if of_id is not None:
        of_id = of_id[np.argsort(as_scores(id_scores, "ID scores"), kind="stable")]
    if of_ood is not None:
        of_ood = of_ood[np.argsort(-as_scores(ood_scores, "OOD scores"), kind="stable")]
    resampled = resampled_metrics(ranking, generator, resamples, (of_id, of_ood))
    intervals = {name: around(values[name], resampled[name], 0.95) for name in NAMES}
    return {name: {"value": values[name], "low": intervals[name][0], "high": intervals[name][1]} for name in NAMES}


def fpr_at_tpr(id_scores: Scores, ood_scores: Scores, level: float, positive: str = "ood") -> float:
    """Share of the negatives flagged at the largest threshold that flags at least `level` of the positives.

    Args:
        id_scores: (n_id,) scores of ID inputs; higher means more OOD.
        ood_scores: (n_ood,) scores of OOD inputs.
        level: true positive rate to reach, in (0, 1], taken as the decimal number that is written.
        positive: `ood` flags high scores; `id` flags high confidence, which is -score.
    """
    if positive not in ("ood", "id"):
        raise InputError(f"`positive` is ood or id, found `{positive}`.")
    ranking = rank(id_scores, ood_scores)
    side = ood_side(ranking) if positive == "ood" else id_side(ranking)
    positives = np.arange(side.n_positive + 1)[side.after]
    step = int(np.searchsorted(positives, positives_needed(level, side.n_positive)))
    return float((side.n_negative - side.spared_after[step]) / side.n_negative)


def roc_curve(
    id_scores: Scores, ood_scores: Scores
) -> tuple[Float[np.ndarray, " thresholds"], Float[np.ndarray, " thresholds"]]:
    """False and true positive rate (OOD positive) at each distinct score from the highest down, starting at (0, 0)."""
    ranking = rank(id_scores, ood_scores)
    return ranking.flagged_id / ranking.n_id, ranking.flagged_ood / ranking.n_ood


def accuracy(predictions: Labels, labels: Labels) -> float:
    """Share of ID inputs whose predicted class is their label; inputs with a negative label (OOD) do not count.

    Args:
        predictions: (n,) predicted classes.
        labels: (n,) classes; -1 for OOD.

    Raises:
        InputError: shapes that differ, or no ID input.
    """
    return float(correct_predictions(predictions, labels).mean())


def correct_predictions(predictions: Labels, labels: Labels) -> npt.NDArray[np.bool_]:
    """For each ID input, in order, whether its predicted class is its label."""
    predicted, expected = on_cpu(predictions), on_cpu(labels)
    if predicted.shape != expected.shape or predicted.ndim != 1:
        raise InputError(
            f"predictions have shape {predicted.shape} and labels {expected.shape}; expected both to be (n,)."
        )
    known = np.greater_equal(expected, 0)
    if not known.any():
        raise InputError("Accuracy needs at least one ID input; every label is negative, which marks OOD.")
    correct: npt.NDArray[np.bool_] = np.equal(predicted[known], expected[known])
    return correct


def accuracy_interval(
    correct: npt.NDArray[np.bool_] | torch.Tensor,
    generator: np.random.Generator,
    resamples: int = 1000,
    groups: npt.NDArray[np.int64] | None = None,
) -> Interval:
    """95 % bootstrap interval of an accuracy.

    Args:
        correct: (n,) whether each prediction is right.
        generator: source of the resamples.
        resamples: number of resamples; the number of right ones among n drawn with replacement is binomial.
        groups: (n,), of images that are drawn together; see `bootstrap.draw_counts`.
    """
    right = on_cpu(correct).astype(np.bool_)
    if right.ndim != 1 or right.size == 0:
        raise InputError(f"`correct` has shape {right.shape}; expected (n,) with at least one entry.")
    if groups is None:
        return percentile_interval(generator.binomial(right.size, right.mean(), size=resamples) / right.size, 0.95)
    numbers = np.arange(int(groups.max()) + 1)
    drawn = draw_counts(generator, resamples, len(numbers))
    sizes, hits = np.bincount(groups), np.bincount(groups, weights=right)
    return percentile_interval((drawn @ hits) / (drawn @ sizes), 0.95)


def _evaluate(ranking: Ranking) -> dict[str, float]:
    """The data set itself is the resample that draws every score once."""
    id_once, ood_once = np.ones((1, ranking.n_id), dtype=np.intp), np.ones((1, ranking.n_ood), dtype=np.intp)
    metrics_by_name = metrics_of_counts((ood_side(ranking), id_side(ranking)), id_once, ood_once)
    return {name: float(metrics_by_name[name][0]) for name in NAMES}


def on_cpu(values: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.generic]:
    """The values as a NumPy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
