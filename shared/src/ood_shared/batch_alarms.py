"""Whether a whole batch is shifted: more or fewer alarms than promised, or scores above the calibration scores."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from ood_shared.errors import InputError
from ood_shared.thresholds import Threshold


@dataclass(frozen=True)
class Alarms:
    """How often a batch was flagged, against what was promised, and how its scores lie among the calibration scores.

    Attributes:
        flagged: images.
        n: images of the batch.
        low: lower end of the exact 95 % interval of the share.
        high: upper end.
        more: p-value against more alarms than a batch like the calibration images has, which differ by batch and by
            calibration set: beta-binomial.
        fewer: p-value against fewer alarms than that; with many ties it is too small.
        higher: p-value against scores above those of the calibration images, by Kolmogorov and Smirnov with both
            samples, so that a large batch is not called shifted for the chance in a small calibration set.
    """

    flagged: int
    n: int
    low: float
    high: float
    more: float
    fewer: float
    higher: float

    @property
    def shifted(self) -> float:
        """p-value of the batch being like the calibration images: the smallest of the three, times three."""
        return min(1.0, 3 * min(self.more, self.fewer, self.higher))


def check_batch(p: Float[np.ndarray, " n"], limit: Threshold) -> Alarms:
    """Whether a whole batch is shifted.

    Args:
        p: of `p_values`, one or more.
        limit: the threshold of the same calibration scores.

    Raises:
        InputError: no image.
    """
    return check_ranks(np.bincount(ranks_of(p, limit.n), minlength=limit.n + 1), limit)


def ranks_of(p: Float[np.ndarray, " n"], calibration: int) -> Int64[np.ndarray, " n"]:
    """How many of the calibration scores are at least as high as each score, 0 to their number, by its p-value."""
    return np.clip(np.ceil(np.asarray(p) * (calibration + 1) - 1e-6).astype(np.int64) - 1, 0, calibration)


def check_ranks(counts: Int64[np.ndarray, " ranks"], limit: Threshold, flagged: int | None = None) -> Alarms:
    """As `check_batch`, of counts, which need the same room for any number of images.

    Args:
        counts: images with 0, 1, … n calibration scores at least as high (`ranks_of`).
        limit: the threshold; a score above the k-th smallest of n has at most n - k at least as high.
        flagged: images, where that is decided otherwise, such as by class; the counts tell it when it is not given.

    Raises:
        InputError: no image.
    """
    total, n = int(counts.sum()), limit.n
    if not total:
        raise InputError("There are no images to check; pass at least one.")
    flagged = int(counts[: n + 1 - limit.k].sum()) if flagged is None else flagged
    from scipy import stats

    interval = stats.binomtest(flagged, total).proportion_ci(0.95, method="exact")
    alarmed = n + 1 - limit.k
    fewer = float(stats.betabinom(total, alarmed, limit.k).cdf(flagged))
    more = float(stats.betabinom(total, limit.k, alarmed).cdf(total - flagged))  # of the others, small p-values too
    above = np.cumsum(counts) / total - np.arange(n + 1) / n  # shares of both above each calibration score
    higher = _one_sided(float(max(0.0, above.max())), total, n)
    return Alarms(flagged, total, float(interval.low), float(interval.high), min(1.0, more), min(1.0, fewer), higher)


def _one_sided(distance: float, one: int, other: int) -> float:
    """Chance of so large a one-sided distance between two samples of one distribution.

    Source: Hodges, *The significance probability of the Smirnov two-sample test*, 1958, eq. 5.3.
    """
    large, small = max(one, other), min(one, other)
    z = math.sqrt(large * small / (large + small)) * distance
    correction = 2 * z * (large + 2 * small) / math.sqrt(large * small * (large + small)) / 3
    return math.exp(-2 * z * z - correction)
