"""Split conformal p-values and thresholds: an alarm rate that holds for images like the calibration images.

Calibration scores c_1..c_n come from ID images that were used for nothing else. For a new score s, higher = more OOD,

    p(s) = (1 + #{c_i >= s}) / (n + 1),        flag where p <= a, which is s > t,
    t    = the k-th smallest of the c_i,       k = ceil((1 - a)(n + 1))

Where the new image and the calibration images are exchangeable, it is flagged with probability (n + 1 - k) / (n + 1) at
most, which is at most a, on average over calibration sets. For one calibration set the share that will be flagged is
at most Beta(n + 1 - k, k) distributed: its spread is what n buys. Images of one patient are not exchangeable with those
of another: of images in groups, one of each calibrates (`one_of_each`), and n counts groups.

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


def split_groups(
    groups: Sequence[str | int], held: int, generator: np.random.Generator
) -> tuple[Int64[np.ndarray, " fit"], Int64[np.ndarray, " calibration"]]:
    """Indices to fit and to calibrate on, with all images of a group on one side.

    A patient on both sides would make calibration images too easy.

    Args:
        groups: of each image, such as its patient.
        held: groups to calibrate on; one at least is left to fit on.
        generator: of the order.

    Raises:
        InputError: fewer than two groups.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{len(names)} group: images to fit and to calibrate on need two or more.")
    chosen = generator.permutation(len(names))[: min(held, len(names) - 1)]
    calibration = np.isin(members, chosen)
    return np.flatnonzero(~calibration), np.flatnonzero(calibration)


def one_of_each(groups: Sequence[str | int], generator: np.random.Generator) -> Int64[np.ndarray, " groups"]:
    """Indices of one image of each group, drawn.

    Images of one patient are alike: n of them are not n independent images, and a threshold from all of them would
    promise too much. One of each is exchangeable with an image of a new patient, drawn in the same way.

    Args:
        groups: of each image.
        generator: of the draws.
    """
    order = generator.permutation(len(groups))
    first = np.unique(np.asarray(groups)[order], return_index=True)[1]
    return np.sort(order[first])


def _checked(calibration: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    scores = np.asarray(calibration, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"Calibration scores are an array of {scores.shape}; expected (n,) with n from 1 on.")
    if np.isnan(scores).any():
        raise InputError(f"{int(np.isnan(scores).sum())} of {len(scores)} calibration scores are NaN.")
    return scores
