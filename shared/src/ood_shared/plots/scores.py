"""Figures of scores: ROC curves and histograms."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from ood_shared import metrics
from ood_shared.looks import ID_COLOUR, OOD_COLOUR, line, marker, need, panels, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2000  # of a drawn curve; more than the pixels it covers
LEAST_FPR = 1e-4  # where the axis begins at the latest
BINS = 20  # of histograms: 5 % of the ID scores each


def roc(curves: Mapping[str, tuple[metrics.Scores, metrics.Scores]], title: str | None = None) -> "Figure":
    """ROC curves, OOD positive, with the AUROC of each in the legend.

    False alarms matter where they are few: their axis is logarithmic. It begins at half of the smallest share that the
    ID scores can tell, where the curves show what is caught without any false alarm.

    Args:
        curves: for each name the ID and the OOD scores, (n_id,) and (n_ood,); higher means more OOD.
        title: printed above.
    """
    need("ROC", curves)
    figure, (axes,) = panels(1, 1, height=4.4)
    begin = max(LEAST_FPR, 0.5 / max(len(id_scores) for id_scores, _ in curves.values()))
    shares = np.geomspace(begin, 1, 200)
    axes.plot(shares, shares, color="#999999", linewidth=0.8, label="chance")
    for position, (name, (id_scores, ood_scores)) in enumerate(curves.items()):
        fpr, tpr = metrics.roc_curve(id_scores, ood_scores)
        area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
        kept = _drawn_points(fpr, tpr, begin)
        axes.plot(
            np.maximum(fpr[kept], begin),
            tpr[kept],
            label=f"{plain(name)} (AUROC {area:.3f})",
            marker=marker(position),
            markevery=(0.02 + 0.011 * position, 0.16),  # of the diagonal, so that curves carry them at other places
            **line(position),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.set(xlim=(begin, 1.05), ylim=(-0.01, 1.01))
    axes.set(xlabel="share of ID flagged (FPR); left edge: none", ylabel="share of OOD caught (TPR)")
    axes.set_title(plain(title))
    figure.legend(loc="outside right center", frameon=False, handlelength=3.6)
    return figure


def histograms(
    id_scores: metrics.Scores, ood_scores: Mapping[str, metrics.Scores], bins: int = BINS, title: str | None = None
) -> "Figure":
    """Score histograms of ID against each OOD set, one panel a set, on the quantiles of the ID scores.

    A score stands at the share of ID scores below it (ties count half). ID is flat by construction, no set however far
    squeezes the others, and the last of 20 bars is the share caught at about 5 % false alarms.

    Args:
        id_scores: (n_id,) scores; higher means more OOD.
        ood_scores: the (n_ood,) scores of each OOD set.
        bins: number of bins.
        title: printed above.
    """
    need("histograms", ood_scores)
    reference = np.sort(metrics.as_scores(id_scores, "id_scores").astype(np.float64))
    edges = np.linspace(0, 1, bins + 1)
    columns = min(2, len(ood_scores))
    figure, found = panels(math.ceil(len(ood_scores) / columns), columns, height=2.4)
    for axes, (name, scores) in zip(found, ood_scores.items(), strict=False):
        values = metrics.as_scores(scores, name).astype(np.float64)
        for label, group, colour in (("ID", reference, ID_COLOUR), (name, values, OOD_COLOUR)):
            share = 100 * np.histogram(_quantiles(reference, group), edges)[0] / len(group)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=plain(label))
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2, frameon=False)
        axes.set(xlim=(0, 1), ylim=(0, None))
    for axes in found[::columns]:
        axes.set_ylabel("% of the set")
    for axes in found[max(0, len(ood_scores) - columns) : len(ood_scores)]:
        axes.set_xlabel("quantile of the ID scores")
    for axes in found[len(ood_scores) :]:
        axes.set_axis_off()
    if title:
        figure.suptitle(plain(title))
    return figure


def _quantiles(reference: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> Float[np.ndarray, " n"]:
    """The share of the sorted reference below each score; what equals it counts half."""
    below, not_above = (np.searchsorted(reference, scores, side=side) for side in ("left", "right"))
    shares: npt.NDArray[np.float64] = (below + not_above) / (2 * len(reference))
    return shares


def _drawn_points(
    fpr: npt.NDArray[np.float64], tpr: npt.NDArray[np.float64], begin: float
) -> Int[np.ndarray, " points"]:
    """The points of a curve from the left edge on, which is `begin`: of many, those next to even steps of both axes."""
    first, last = int(np.searchsorted(fpr, begin, side="right")) - 1, len(fpr) - 1
    if last - first < MOST_POINTS:
        return np.arange(first, last + 1)
    steps = MOST_POINTS // 2 - 1
    across = np.searchsorted(fpr, np.geomspace(begin, 1, steps), side="right") - 1
    upwards = np.searchsorted(tpr, np.linspace(tpr[first], 1, steps))
    return np.unique(np.clip(np.concatenate(([first], across, upwards, [last])), first, last))
