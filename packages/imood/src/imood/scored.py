"""Scores and predictions of the sets of a test, and the numbers that follow: the published ones, and those by groups of
classes with many or few images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ood_shared import metrics
from ood_shared.results.record import pack_scores
from ood_shared.results.schema import ScoreArrays

from imood import legacy_metrics

GROUPS = ("many", "median", "low")


@dataclass(frozen=True)
class Scored:
    """Scores and predictions of one set; labels -1 where an image is truly OOD."""

    scores: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class SetResult:
    """The published numbers of one outlier set, not rounded."""

    auroc: float
    aupr: float
    aupr_in: float
    fpr95: float  # at the recall nearest to 95 %
    threshold: float
    errors: list[float]  # nine counts
    rates: dict[str, float]  # ACC@FPRn, ACC@TPRn


@dataclass(frozen=True)
class Summary:
    """Everything that one metric gave."""

    accuracy: float
    groups: tuple[float, float, float]
    sets: dict[str, SetResult]

    def mean(self, name: str) -> float:
        """Unweighted mean over the sets, in float32 as published."""
        return float(np.mean(np.array([getattr(result, name) for result in self.sets.values()], dtype=np.float32)))


def summarise(id_test: Scored, outliers: Mapping[str, Scored], counts: Sequence[int]) -> Summary:
    """The published numbers: images of an outlier set that show an ID class count as ID for that set."""
    results = {}
    for name, ood in outliers.items():
        truly = ood.labels < 0
        if not truly.any():
            raise ValueError(f"{name} has no image that is truly OOD")
        inside, outside = np.concatenate([id_test.scores, ood.scores[~truly]]), ood.scores[truly]
        shared = metrics.evaluate(inside, outside)
        fpr, threshold = legacy_metrics.fpr_at_nearest_recall(inside, outside)
        results[name] = SetResult(
            shared["auroc"],
            shared["aupr_out"],
            shared["aupr_in"],
            fpr,
            threshold,
            legacy_metrics.error_counts(
                id_test.scores,
                id_test.labels,
                id_test.predictions,
                outside,
                np.minimum(ood.predictions[truly], len(counts)),
                threshold,
                counts,
            ),
            legacy_metrics.accuracy_at_rates(id_test.scores, id_test.predictions == id_test.labels, outside),
        )
    accuracy = float((id_test.predictions == id_test.labels).mean())
    return Summary(accuracy, legacy_metrics.group_accuracies(id_test.labels, id_test.predictions, counts), results)


def group_auroc(id_test: Scored, outliers: Mapping[str, Scored], counts: Sequence[int]) -> dict[str, float | None]:
    """Mean AUROC of the outlier sets against the ID test images of many, median and low classes alone."""
    areas: dict[str, float | None] = {}
    for name, member in zip(GROUPS, legacy_metrics.groups(counts), strict=True):
        chosen = id_test.scores[member[id_test.labels]]
        values = [
            metrics.evaluate(chosen, ood.scores[ood.labels < 0])["auroc"] for ood in outliers.values() if len(chosen)
        ]
        areas[name] = float(np.mean(values)) if values else None
    return areas


def predicted_groups(
    id_name: str, id_test: Scored, outliers: Mapping[str, Scored], counts: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Share of the images of each set that are predicted as a class of many, median or low; the ID test images first.

    For outliers it decides whether ln beta helps: it lowers the confidence of what looks like a class of many images.
    With `bkg_c` the shares of a set do not add up to 1; the rest is predicted as background.
    """
    member = np.pad(np.stack(legacy_metrics.groups(counts)), ((0, 0), (0, 1)))  # (3, C + 1): background is in no group
    sets = {id_name: id_test.predictions, **{name: o.predictions[o.labels < 0] for name, o in outliers.items()}}
    return {
        name: dict(zip(GROUPS, member[:, predicted].mean(axis=1).tolist(), strict=True))
        for name, predicted in sets.items()
    }


def arrays_of(id_name: str, id_test: Scored, outliers: Mapping[str, Scored]) -> ScoreArrays:
    """The arrays of `scores.npz`, without the images of outlier sets that have a label from 0 on."""
    truly = {name: (o.scores[o.labels < 0], o.predictions[o.labels < 0]) for name, o in outliers.items()}
    return pack_scores(id_name, (id_test.scores, id_test.labels, id_test.predictions), truly)


def of_arrays(arrays: ScoreArrays) -> tuple[Scored, dict[str, Scored]]:
    """The ID test images and the outlier sets of `scores.npz`."""
    sets = {}
    for position, name in enumerate(arrays["names"].tolist()):
        rows = arrays["dataset"] == position
        sets[name] = Scored(arrays["scores"][rows], arrays["predictions"][rows], arrays["labels"][rows])
    id_name, *others = sets
    return sets[id_name], {name: sets[name] for name in others}
