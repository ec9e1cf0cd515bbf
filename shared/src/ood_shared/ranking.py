"""One exact sort of the raw scores, and every detection metric as sums over it.

A threshold flags the inputs whose score is at or above it. Sorting once gives, for each distinct score, how many OOD
and how many ID inputs are flagged; ties fall together and need no rule of their own. Read from the top this is the
curve with OOD as the positive class, read from the bottom the one with ID as the positive class, so one function
(`side_metrics`) serves both. It takes counts, not scores: the data set itself and any bootstrap resample of it differ
in the counts only.

All counts are whole numbers in float64, exact up to 2**53, so AUROC, FPR and detection error are exact fractions.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int, Num

from ood_shared.errors import InputError

Scores = npt.NDArray[np.generic] | torch.Tensor | list[float] | tuple[float, ...]

NAMES = (
    *("auroc", "aupr_out", "aupr_in", "aupr_out_trapezoid", "aupr_in_trapezoid"),
    *("fpr95", "fpr95_id_positive", "fpr80", "fpr80_id_positive", "detection_error"),
)
LEVELS = {"fpr95": 0.95, "fpr80": 0.80}

# Stands in for the count 0 of positives, so that 0 flagged of 0 is precision 1 (scikit-learn's starting point) without
# a mask: (0 + NOTHING) / (0 + NOTHING) is 1, and added to a count of 1 or more it vanishes.
NOTHING = 1e-300
ROUNDING = 1e-6  # of counts that are fractions, in sums that should be whole


@dataclass(frozen=True)
class Ranking:
    """Inputs flagged at each distinct score, from the highest down; both arrays start with 0."""

    flagged_id: Int[np.ndarray, " thresholds"]
    flagged_ood: Int[np.ndarray, " thresholds"]

    @property
    def n_id(self) -> int:
        """Number of ID scores."""
        return int(self.flagged_id[-1])

    @property
    def n_ood(self) -> int:
        """Number of OOD scores."""
        return int(self.flagged_ood[-1])


@dataclass(frozen=True)
class Side:
    """The steps of a ranking at which positives are gained, as positions in the sorted positives and negatives.

    Positives are counted from their end of the ranking, negatives from the opposite end: `spared` negatives are those
    that a threshold does not flag.
    """

    n_positive: int
    n_negative: int
    before: Int[np.ndarray, " steps"] | slice
    after: Int[np.ndarray, " steps"] | slice
    spared_before: Int[np.ndarray, " steps"]
    spared_after: Int[np.ndarray, " steps"]
    cross_ties: bool


def as_scores(scores: Scores, name: str) -> npt.NDArray[np.floating]:
    """The scores as a one-dimensional array of NumPy floats, checked, every value kept exactly.

    Raises:
        InputError: not one-dimensional, empty, not numbers, or NaN among them.
    """
    if isinstance(scores, torch.Tensor):
        scores = scores.detach().cpu()
        array: npt.NDArray[Any] = (scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
    else:
        array = np.asarray(scores)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {tuple(array.shape)}; expected one score per input, shape (n,).")
    if array.size == 0:
        raise InputError(f"{name} is empty; a metric needs at least one ID and one OOD score.")
    if array.dtype.kind in "iu" and np.array_equal(array.astype(np.float64).astype(array.dtype), array):
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise InputError(f"{name} has dtype {array.dtype}; expected floating-point scores.")
    missing = np.isnan(array)
    if missing.any():
        first = int(missing.argmax())
        raise InputError(f"{name} has {int(missing.sum())} NaN of {array.size} scores, the first at position {first}.")
    return array.astype(np.float32) if array.dtype == np.float16 else array  # wider, and sorts faster


def rank(id_scores: Scores, ood_scores: Scores) -> Ranking:
    """Sort both groups of scores together and count what each distinct score flags.

    Args:
        id_scores: (n_id,) scores of ID inputs; higher means more OOD.
        ood_scores: (n_ood,) scores of OOD inputs.
    """
    values = np.concatenate((as_scores(id_scores, "id_scores"), as_scores(ood_scores, "ood_scores")))
    order = np.argsort(values)[::-1]
    ordered = values[order]
    last_of_tie = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), values.size - 1)
    flagged_ood = np.cumsum(order >= len(id_scores))[last_of_tie]
    flagged_id = last_of_tie + 1 - flagged_ood
    return Ranking(flagged_id=np.append(0, flagged_id), flagged_ood=np.append(0, flagged_ood))


def ood_side(ranking: Ranking) -> Side:
    """OOD positive: flagged from the highest score down."""
    spared = ranking.n_id - ranking.flagged_id
    return _side(ranking.flagged_ood, spared, ranking.n_ood, ranking.n_id)


def id_side(ranking: Ranking) -> Side:
    """ID positive, confidence = -score: flagged from the lowest score up."""
    accepted = (ranking.n_id - ranking.flagged_id)[::-1]
    return _side(accepted, ranking.flagged_ood[::-1], ranking.n_id, ranking.n_ood)


def _side(
    positives: Int[np.ndarray, " thresholds"], spared: Int[np.ndarray, " thresholds"], n_positive: int, n_negative: int
) -> Side:
    gains = np.flatnonzero(positives[1:] != positives[:-1])
    spared_before, spared_after = spared[gains], spared[gains + 1]
    return Side(
        n_positive=n_positive,
        n_negative=n_negative,
        before=_slice_if_unbroken(positives[gains]),
        after=_slice_if_unbroken(positives[gains + 1]),
        spared_before=spared_before,
        spared_after=spared_after,
        cross_ties=not np.array_equal(spared_before, spared_after),
    )


def metrics_of_counts(
    sides: tuple[Side, Side],
    id_counts: Int[np.ndarray, "resamples n_id"],
    ood_counts: Int[np.ndarray, "resamples n_ood"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of `NAMES`, for each row of counts.

    Args:
        sides: `ood_side` and `id_side` of one ranking.
        id_counts: how often each ID score counts, sorted from the lowest up; fractions add up to the number of scores.
        ood_counts: how often each OOD score counts, sorted from the highest down.
    """
    id_sums, ood_sums = cumulate(id_counts), cumulate(ood_counts)
    ood = side_metrics(sides[0], ood_sums, id_sums)
    ind = side_metrics(sides[1], id_sums, ood_sums)
    return {
        "auroc": ood["auroc"],
        "aupr_out": ood["average_precision"],
        "aupr_in": ind["average_precision"],
        "aupr_out_trapezoid": ood["trapezoid"],
        "aupr_in_trapezoid": ind["trapezoid"],
        "fpr95": ood["fpr95"],
        "fpr95_id_positive": ind["fpr95"],
        "fpr80": ood["fpr80"],
        "fpr80_id_positive": ind["fpr80"],
        "detection_error": ood["detection_error"],
    }


def cumulate(counts: Num[np.ndarray, "resamples n"]) -> Float[np.ndarray, "resamples n+1"]:
    """How many of the first 0, 1, 2, … sorted scores of a group there are, with `NOTHING` for 0."""
    sums = np.empty((counts.shape[0], counts.shape[1] + 1))
    sums[:, 0] = NOTHING
    np.maximum(np.cumsum(counts, axis=1), NOTHING, out=sums[:, 1:])
    return sums


def side_metrics(
    side: Side,
    positives: Float[np.ndarray, "resamples positive_sums"],
    negatives: Float[np.ndarray, "resamples negative_sums"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Metrics with one group positive, for each row of counts.

    Args:
        side: where positives are gained.
        positives: `cumulate` of the positives, counted from their end of the ranking.
        negatives: `cumulate` of the negatives, counted from the other end.

    Returns:
        `auroc`, `average_precision`, `trapezoid`, `detection_error`, `fpr95` and `fpr80`.
    """
    n_positive, n_negative = side.n_positive, side.n_negative
    pairs = float(n_positive) * n_negative
    before, after = _take(positives, side.before), _take(positives, side.after)  # (resamples, steps)
    false = n_negative - _take(negatives, side.spared_after)
    false_before = n_negative - _take(negatives, side.spared_before) if side.cross_ties else false
    gained = after - before

    lost = _dot(gained, false)  # misordered pairs, with those that tie; a tie counts one half
    lost_before = _dot(gained, false_before) if side.cross_ties else lost
    precision = _dot(gained, after / (after + false))
    precision_before = _dot(gained, before / (before + false_before))
    advantage = (after * n_negative - false * n_positive).max(axis=1)  # TPR - FPR, times the pairs
    values = {
        "auroc": (2 * pairs - lost - lost_before) / (2 * pairs),
        "average_precision": precision / n_positive,
        "trapezoid": (precision + precision_before) / (2 * n_positive),
        "detection_error": 0.5 - np.maximum(advantage, 0) / (2 * pairs),  # 0: the threshold that flags nothing
    }
    for name, level in LEVELS.items():
        step = np.count_nonzero(after < positives_needed(level, n_positive) - ROUNDING, axis=1)
        values[name] = false[np.arange(len(step)), step] / n_negative
    return values


def positives_needed(level: float, n_positive: int) -> int:
    """The smallest count k with k / n >= level, where level is the decimal number as it is written.

    In floats 0.55 * 100 is 55.00000000000001, which would ask for 56 of 100.

    >>> positives_needed(0.55, 100), positives_needed(0.95, 20), positives_needed(0.95, 21)
    (55, 19, 20)
    """
    if not 0 < level <= 1:
        raise InputError(f"The true positive rate must lie in (0, 1], found {level}.")
    return math.ceil(Fraction(str(level)) * n_positive)


def _slice_if_unbroken(rising: Int[np.ndarray, " steps"]) -> Int[np.ndarray, " steps"] | slice:
    """Positions without ties inside the group are a plain range: then a view serves and nothing is copied."""
    first, last = int(rising[0]), int(rising[-1])
    return slice(first, last + 1) if last - first + 1 == len(rising) else rising


def _take(
    sums: Float[np.ndarray, "resamples positions"], index: Int[np.ndarray, " steps"] | slice
) -> Float[np.ndarray, "resamples steps"]:
    return sums[:, index] if isinstance(index, slice) else np.take(sums, index, axis=1)


def _dot(
    a: Float[np.ndarray, "resamples steps"], b: Float[np.ndarray, "resamples steps"]
) -> Float[np.ndarray, " resamples"]:
    sums: Float[np.ndarray, " resamples"] = np.einsum("rs,rs->r", a, b)  # no matmul: it wakes threads for each call
    return sums
