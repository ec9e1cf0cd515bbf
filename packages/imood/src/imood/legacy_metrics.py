"""The numbers of the published result files, where they differ from the shared metrics.

OOD is positive and a higher score means more OOD. The published FPR takes the threshold whose recall of OOD is nearest
to 95 %, which may be below it; `ood_shared.metrics` takes the first that reaches it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from ood_shared.errors import InputError

ACCURACY_LEVELS = {"fpr": (1e-4, 1e-3, 1e-2, 1e-1), "tpr": (0.98, 0.95, 0.90, 0.80)}


def fpr_at_nearest_recall(
    id_scores: Float[np.ndarray, " n"], ood_scores: Float[np.ndarray, " m"], recall: float = 0.95
) -> tuple[float, float]:
    """Share of ID at or above the threshold whose recall of OOD is nearest to `recall`, and that threshold.

    On a tie the larger recall wins; points after the first with full recall do not count.
    """
    if not len(id_scores) or not len(ood_scores):
        raise InputError(f"There are {len(id_scores)} ID and {len(ood_scores)} OOD scores; expected some of both.")
    scores = np.concatenate([ood_scores, id_scores])
    positive = np.concatenate([np.ones(len(ood_scores)), np.zeros(len(id_scores))])
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # last index of each distinct score
    caught = np.cumsum(positive)[ends]
    flagged = 1 + ends - caught
    last = int(np.searchsorted(caught, caught[-1]))
    recalls = caught[last::-1] / caught[-1]  # from full recall downwards
    chosen = last - int(np.argmin(np.abs(recalls - recall)))
    return float(flagged[chosen] / len(id_scores)), float(scores[ends[chosen]])


class Groups(NamedTuple):
    """Which classes have many, a medium number of, and few training images."""

    many: Bool[np.ndarray, " classes"]
    median: Bool[np.ndarray, " classes"]
    low: Bool[np.ndarray, " classes"]


def thresholds(counts: Sequence[int]) -> tuple[int, int]:
    """Sizes above which a class has many and below which it has few images: by rank up to 100 classes, else 100 and 20.

    >>> thresholds([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    (1077, 232)
    """
    n_classes = len(counts)
    if n_classes > 100:
        return 100, 20
    ordered = list(counts) if n_classes == 2 else sorted(counts, reverse=True)  # of two, the published order decides
    return int(ordered[int(0.34 * n_classes)]), int(ordered[int(0.67 * n_classes)])


def groups(counts: Sequence[int]) -> Groups:
    """The three groups of classes by their number of training images."""
    high, low = thresholds(counts)
    n = np.asarray(counts)
    return Groups(n > high, (n <= high) & (n >= low), (n < low) & (n <= high))


def class_accuracies(
    labels: Int64[np.ndarray, " n"], predictions: Int64[np.ndarray, " n"], n_classes: int
) -> Float[np.ndarray, " classes"]:
    """Accuracy of each class; NaN for one without test images."""
    total = np.bincount(labels, minlength=n_classes).astype(np.float64)
    right = np.bincount(labels[labels == predictions], minlength=n_classes)
    return np.divide(right, total, out=np.full(n_classes, np.nan), where=total > 0)


def group_means(values: Float[np.ndarray, " classes"], counts: Sequence[int]) -> tuple[float, float, float]:
    """Means of a value per class over the classes of many, median and low; NaN for a group without values."""
    shares = []
    for member in groups(counts):
        chosen = values[member]
        chosen = chosen[~np.isnan(chosen)]
        shares.append(float(chosen.mean()) if len(chosen) else float("nan"))
    return shares[0], shares[1], shares[2]


def group_accuracies(
    labels: Int64[np.ndarray, " n"], predictions: Int64[np.ndarray, " n"], counts: Sequence[int]
) -> tuple[float, float, float]:
    """Mean class accuracy of many, median and low."""
    return group_means(class_accuracies(labels, predictions, len(counts)), counts)


def group_counts(classes: Int[np.ndarray, " n"], counts: Sequence[int]) -> tuple[float, float, float]:
    """How often a class of many, median and low occurs in a list of classes, on average."""
    return group_means(np.bincount(classes, minlength=len(counts))[: len(counts)].astype(np.float64), counts)


def error_counts(
    id_scores: Float[np.ndarray, " n"],
    id_labels: Int64[np.ndarray, " n"],
    id_predictions: Int64[np.ndarray, " n"],
    ood_scores: Float[np.ndarray, " m"],
    ood_predictions: Int64[np.ndarray, " m"],
    threshold: float,
    counts: Sequence[int],
) -> list[float]:
    """Nine numbers, three groups each: rejected ID by true and by predicted class, accepted OOD by predicted class."""
    rejected, accepted = id_scores >= threshold, ood_scores < threshold
    lists = (id_labels[rejected], id_predictions[rejected], ood_predictions[accepted])
    return [value for classes in lists for value in group_counts(classes, counts)]


def accuracy_at_rates(
    id_scores: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    ood_scores: Float[np.ndarray, " m"],
) -> dict[str, float]:
    """ACC@FPRn and ACC@TPRn of Wang et al. (ICML 2022): accuracy over the ID images that a threshold accepts.

    The threshold is a score whose false (ID flagged) or true (OOD flagged) positive rate is nearest to n; ID images
    with a score at or below it count. NaN where none is accepted.
    """
    values = np.append(np.unique(np.concatenate([id_scores, ood_scores])), np.inf)[::-1]  # inf flags nothing
    fpr = 1 - np.searchsorted(np.sort(id_scores), values) / len(id_scores)
    tpr = 1 - np.searchsorted(np.sort(ood_scores), values) / len(ood_scores)
    accuracies = {}
    for name, rates in (("fpr", fpr), ("tpr", tpr)):
        for level in ACCURACY_LEVELS[name]:
            accepted = id_scores <= values[int(np.argmin(np.abs(rates - level)))]
            accuracies[f"acc_at_{name}{level:g}"] = float(correct[accepted].mean()) if accepted.any() else float("nan")
    return accuracies
