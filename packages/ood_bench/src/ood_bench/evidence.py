"""How distances become a score: smooth conformal p-values among calibration images, their logarithms averaged.

With the calibration values c_1..c_n of a distance d, u their 90 % quantile and b their mean excess above it:

    r = sum_i min(max(1/2 + (d - c_i) / 2h, 0), 1)      the rank of d; h a hundredth of u less the median
    q = -log((1 + n - r) / (n + 1))                     above u: q = q(u) + (d - u) / b
    F = mean over the distances of g(q),  g(q) = q below 30, else 30 + log(q - 29)

The tail is smooth because ranks saturate: all far images would tie. The ranks are smooth because steps would be fallen
off wherever sums round differently, as in an exported graph: a calibration value nearer than h counts in part, a tie by
half. g keeps one distance from overruling the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from ood_shared.errors import InputError

TAIL, CAP, SOFT = 0.9, 30.0, 0.01
TINY = 1e-9
RECIPE = {"tail": TAIL, "cap": CAP, "soft": SOFT}  # what a score depends on beside its statistics


@dataclass(frozen=True)
class Calibration:
    """Sorted distances of the calibration images, (members, n)."""

    values: Float[np.ndarray, "members n"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "members n"]) -> "Calibration":
        """From the distances of ID images that nothing was fitted on; two or more."""
        if values.shape[1] < 2:
            raise InputError(f"{values.shape[1]} calibration images; expected 2 or more.")
        return cls(np.sort(values, axis=1))

    def evidence(self, values: Float[np.ndarray, "members n"]) -> Float[np.ndarray, "members n"]:
        """q_k: minus the logarithm of the smooth p-value of each distance."""
        return np.stack([_smooth(own, row) for own, row in zip(self.values, values, strict=True)])

    def fuse(self, values: Float[np.ndarray, "members n"]) -> Float[np.ndarray, " n"]:
        """F, higher = more OOD."""
        return capped(self.evidence(values)).mean(axis=0)


class Curve(NamedTuple):
    """How distances of one member become evidence.

    Attributes:
        u: where the tail begins.
        start: q at u.
        b: mean excess above u.
        h: how near a calibration value counts in part.
    """

    u: float
    start: float
    b: float
    h: float


def curve_of(calibration: Float[np.ndarray, " c"]) -> Curve:
    """The curve of sorted calibration values."""
    n = len(calibration)
    u = float(calibration[int(TAIL * n)])
    excess = calibration[calibration > u] - u
    h = max(SOFT * (u - float(calibration[n // 2])), TINY)
    p = 1 - float(_rank(calibration, np.array([u]), h)[0]) / (n + 1)
    return Curve(u, -math.log(p), max(float(excess.mean()), TINY) if len(excess) else 1.0, h)


def capped(q: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """g(q): q below 30, then as its logarithm; keeps the order."""
    return np.where(q < CAP, q, CAP + np.log1p(np.maximum(q - CAP, 0)))


def drivers(members: Sequence[str], evidence: Float[np.ndarray, "members n"]) -> list[str]:
    """The member with the largest q_k for each image: what drove its score."""
    return [members[row] for row in evidence.argmax(axis=0)]


def _smooth(calibration: Float[np.ndarray, " c"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    u, start, b, h = curve_of(calibration)
    p = 1 - _rank(calibration, values, h) / (len(calibration) + 1)
    return np.where(values > u, start + (values - u) / b, -np.log(p))


def _rank(calibration: Float[np.ndarray, " c"], values: Float[np.ndarray, " n"], h: float) -> Float[np.ndarray, " n"]:
    """r of each value; the sums over the values within h are differences of running sums."""
    middle = calibration[len(calibration) // 2]
    own = calibration - middle
    d = np.clip(values - middle, own[0] - h, own[-1] + h)
    first, last = np.searchsorted(own, d - h), np.searchsorted(own, d + h)
    sums = np.concatenate([[0.0], own.cumsum()])
    near = last - first
    found: Float[np.ndarray, " n"] = first + near / 2 + (near * d - (sums[last] - sums[first])) / (2 * h)
    return found
