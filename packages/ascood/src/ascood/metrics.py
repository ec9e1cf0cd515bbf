"""The five numbers of OpenOOD's tables, from confidences.

OOD is the positive class with score -confidence: FPR@95 is the share of ID inputs flagged where 95 % of OOD are caught,
the areas under the precision-recall curves are by trapezoid.
"""

import numpy as np
import numpy.typing as npt
from ood_shared import metrics

COLUMNS = ("FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC")
_SHARED = ("fpr95", "auroc", "aupr_in_trapezoid", "aupr_out_trapezoid")


def openood_metrics(
    confidence: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]
) -> dict[str, float]:
    """FPR@95, AUROC, AUPR_IN, AUPR_OUT and ACC as fractions, in that order.

    Args:
        confidence: (n,), larger = more ID.
        labels: (n,), -1 for OOD.
        predicted: (n,) classes; those of OOD inputs do not count.

    Raises:
        InputError: NaN among the confidences, or no ID or no OOD input.
    """
    outlier = labels < 0
    measured = metrics.evaluate(-confidence[~outlier], -confidence[outlier])
    values = [measured[name] for name in _SHARED]
    return dict(zip(COLUMNS, [*values, metrics.accuracy(predicted, labels)], strict=True))
