"""Split conformal p-values and thresholds: an alarm rate that holds for images like the calibration images.

Calibration scores c_1..c_n come from ID images that were used for nothing else. For a new score s, higher = more OOD,

    p(s) = (1 + #{c_i >= s}) / (n + 1),        flag where p <= a, which is s > t,
    t    = the k-th smallest of the c_i,       k = ceil((1 - a)(n + 1))

Where the new image and the calibration images are exchangeable, it is flagged with probability (n + 1 - k) / (n + 1) at
most, which is at most a, on average over calibration sets. For one calibration set the share that will be flagged is
at most Beta(n + 1 - k, k) distributed: its spread is what n buys.

Sources: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005; Bates et al., *Testing for Outliers
with Conformal p-values*, Annals of Statistics 2023 (arXiv 2104.08279), section 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from ood_shared.errors import InputError

CONFIDENCE = 0.95  # of the bound that is stated beside the average


@dataclass(frozen=True)
class Threshold:
    """A score above which an image is flagged, and what is promised about it.

    Attributes:
        value: t; a score above it is flagged.
        alarm_rate: a, that was asked for.
        n: calibration images.
        k: rank of t among them.
    """

    value: float
    alarm_rate: float
    n: int
    k: int

    @property
    def expected(self) -> float:
        """Share of ID images like the calibration images that is flagged, on average over calibration sets, at most."""
        return (self.n + 1 - self.k) / (self.n + 1)

    @property
    def bound(self) -> float:
        """Share that is flagged with this calibration set, at most, with a confidence of 95 %."""
        from scipy.special import betaincinv  # of scipy.stats, which takes much longer to import, beta.ppf is the same

        return float(betaincinv(self.n + 1 - self.k, self.k, CONFIDENCE))

    def words(self) -> str:
        """The promise, for people.

        >>> Threshold(1.0, 0.05, 400, 381).words()[:61]
        'at most 5.0 % of images like your calibration images are flag'
        """
        return (
            f"at most {100 * self.expected:.1f} % of images like your calibration images are flagged, on average over "
            f"calibration sets of {self.n}; with {100 * CONFIDENCE:.0f} % confidence at most {100 * self.bound:.1f} %"
        )


def least_calibration(alarm_rate: float) -> int:
    """How many calibration images an alarm rate needs: below them no score would ever be flagged.

    >>> least_calibration(0.05), least_calibration(0.01)
    (19, 99)
    """
    return math.ceil(1 / alarm_rate - 1e-9) - 1


def fit_threshold(calibration: Float[np.ndarray, " n"], alarm_rate: float) -> Threshold:
    """The threshold at which at most a share `alarm_rate` of images like these is flagged.

    Args:
        calibration: scores of ID images that were used for nothing else; higher = more OOD.
        alarm_rate: between 0 and 1.

    Raises:
        InputError: the rate is none, scores that are no numbers, or too few of them for the rate.
    """
    scores = _checked(calibration)
    if not 0 < alarm_rate < 1:
        raise InputError(f"The alarm rate is {alarm_rate}; expected a share between 0 and 1, such as 0.05.")
    n, least = len(scores), least_calibration(alarm_rate)
    if n < least:
        raise InputError(
            f"{n} calibration images cannot support an alarm rate of {alarm_rate:g}: it needs {least} or more. "
            f"Give more images, or an alarm rate of {1 / (n + 1):.3g} or more."
        )
    k = min(n, math.ceil((1 - alarm_rate) * (n + 1) - 1e-9))  # 0.95 x 400 is not a whole number in binary
    return Threshold(float(np.partition(scores, k - 1)[k - 1]), alarm_rate, n, k)


def p_values(calibration: Float[np.ndarray, " n"], scores: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Conformal p-values, in [1 / (n + 1), 1]; ties with calibration scores count as at least as high.

    Args:
        calibration: as in `fit_threshold`; one or more.
        scores: to judge.

    Raises:
        InputError: no calibration score, or scores that are no numbers.
    """
    ordered = np.sort(_checked(calibration))
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise InputError(f"{int(np.isnan(values).sum())} of {values.size} scores are NaN; nothing can be said of them.")
    at_least = len(ordered) - np.searchsorted(ordered, values, side="left")
    return (1 + at_least) / (len(ordered) + 1)


def class_p_values(
    calibration: Float[np.ndarray, " n"],
    classes: Int64[np.ndarray, " n"],
    scores: Float[np.ndarray, " m"],
    predicted: Int64[np.ndarray, " m"],
) -> Float[np.ndarray, " m"]:
    """p-values within the class that each image is taken for: the rate then holds for every class by itself.

    Args:
        calibration: scores of ID images.
        classes: that the calibration images were taken for, by the same classifier; not their labels.
        scores: to judge.
        predicted: classes that these images were taken for.

    Raises:
        InputError: an image was taken for a class that no calibration image was taken for.
    """
    p = np.empty(len(scores))
    for number in np.unique(predicted):
        own = calibration[classes == number]
        if not len(own):
            raise InputError(f"No calibration image was taken for class {number}; expected some of every class.")
        p[predicted == number] = p_values(own, scores[predicted == number])
    return p


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


def split_groups(
    groups: Sequence[str | int], share: float, generator: np.random.Generator
) -> tuple[Int64[np.ndarray, " fit"], Int64[np.ndarray, " calibration"]]:
    """Indices to fit and to calibrate on, with all images of a group on one side.

    Groups are drawn until they hold at least the share; a patient in both would make calibration images too easy.

    Args:
        groups: of each image, such as its patient.
        share: of the images to calibrate on, between 0 and 1.
        generator: of the order.

    Raises:
        InputError: fewer than two groups.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{len(names)} group: images to fit and to calibrate on need two or more.")
    sizes = np.bincount(members)
    order = generator.permutation(len(names))
    wanted = share * len(members)
    taken = min(len(names) - 1, int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1)
    held = np.isin(members, order[:taken])
    return np.flatnonzero(~held), np.flatnonzero(held)


def _checked(calibration: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    scores = np.asarray(calibration, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"Calibration scores are an array of {scores.shape}; expected (n,) with n from 1 on.")
    if np.isnan(scores).any():
        raise InputError(f"{int(np.isnan(scores).sum())} of {len(scores)} calibration scores are NaN.")
    return scores
