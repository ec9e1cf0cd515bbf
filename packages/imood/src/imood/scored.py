"""Scores and predictions of the sets of a test: as arrays, and by the groups of classes with many or few images."""

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


def group_auroc(id_test: Scored, outliers: Mapping[str, Scored], counts: Sequence[int]) -> dict[str, float | None]:
    """Mean AUROC of the outlier sets against the ID test images of many, median and low classes alone."""
    found: dict[str, float | None] = {}
    for name, member in zip(GROUPS, legacy_metrics.groups(counts), strict=True):
        chosen = id_test.scores[member[id_test.labels]]
        values = [
            metrics.evaluate(chosen, ood.scores[ood.labels < 0])["auroc"] for ood in outliers.values() if len(chosen)
        ]
        found[name] = float(np.mean(values)) if values else None
    return found


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
