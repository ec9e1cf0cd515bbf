"""The original's five metrics, definition by definition, so that its published numbers can be compared.

A threshold sweeps upward through all confidences (higher = ID, ID positive). Each event removes the smallest confidence
that remains, an ID one before an OOD one where they tie, which leaves tp ID and fp OOD inputs above the threshold.

They differ from `ood_shared.metrics`: ties count against the detector (equal scores give an AUROC of 0, not 0.5), FPR
is taken where the TPR is nearest to 95 %, and the curves of precision carry fixed end points.
"""

import numpy as np
import numpy.typing as npt
from ood_shared.metrics import Scores, as_scores

NAMES = ("FPR", "DTERR", "AUROC", "AUIN", "AUOUT")  # in the order of printing
LEVEL = 0.95

Counts = npt.NDArray[np.int64]
Curve = npt.NDArray[np.float64]


def sweep(known: Scores, novel: Scores) -> tuple[Counts, Counts]:
    """tp and fp, (n_known + n_novel + 1,) each, before the first event and after each.

    Args:
        known: (n_known,) confidences of ID inputs; higher means more ID.
        novel: (n_novel,) confidences of OOD inputs.

    Raises:
        InputError: empty, not one-dimensional, or NaN among the confidences.
    """
    a, b = as_scores(known, "known"), as_scores(novel, "novel")
    order = np.argsort(np.concatenate([a, b]), kind="stable")  # known first among ties
    removed_known = np.concatenate([[0], np.cumsum(order < len(a))])
    removed = np.arange(len(order) + 1)
    return (len(a) - removed_known).astype(np.int64), (len(b) - (removed - removed_known)).astype(np.int64)


def legacy_metrics(known: Scores, novel: Scores) -> dict[str, float]:
    """FPR, DTERR, AUROC, AUIN and AUOUT as fractions; arguments as in `sweep`.

    AUROC may come out as -0.0, as it does there.
    """
    tp, fp = sweep(known, novel)
    n_known, n_novel = tp[0], fp[0]
    tpr, fpr = tp / n_known, fp / n_novel
    precision_in, at_in = _share(tp, tp + fp), tp + fp > 0
    rejected_known, rejected_novel = n_known - tp, n_novel - fp
    precision_out, at_out = _share(rejected_novel, rejected_known + rejected_novel), rejected_known + rejected_novel > 0
    return {
        "FPR": float(fpr[np.argmin(np.abs(tpr - LEVEL))]),
        "DTERR": float(np.min(1 - tpr + fpr) / 2),
        "AUROC": -_trapezoid(_framed(0, 1 - fpr, 1), _framed(1, tpr, 0)),
        "AUIN": -_trapezoid(_framed(0.5, precision_in[at_in], 0), _framed(1, tpr[at_in], 0)),
        "AUOUT": _trapezoid(_framed(0, precision_out[at_out], 0.5), _framed(0, (1 - fpr)[at_out], 1)),
    }


def _share(part: Counts, whole: Counts) -> Curve:
    return part / np.maximum(whole, 1)


def _framed(first: float, middle: Curve, last: float) -> Curve:
    return np.concatenate([[first], middle, [last]])


def _trapezoid(y: Curve, x: Curve) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
