"""Average precision and AUROC of very many scores, from counts per distinct score.

A volume of 256^3 voxels read as float16 in [0, 1] has at most 15,361 distinct scores: counting them is exact and needs
no sorting. Float32 scores are sorted as long as they fit in memory; beyond that their bit patterns are counted in
2^22 bins, which merges scores that differ by less than one part in 16,384.

AP = sum over thresholds of (R_k - R_{k-1}) P_k; equal scores make one step. AUROC counts them one half.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mood_dpa.standalone import InputError

Part = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]
SORT_LIMIT = 2**26  # voxels that are kept and sorted; 64 million are 0.5 GiB
DROPPED_BITS = 9


@dataclass(frozen=True)
class Metrics:
    """Area under both curves; NaN where it is not defined."""

    ap: float
    auroc: float


def rank_metrics(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Metrics:
    """AP and AUROC from one sort (float16: from counts).

    Args:
        labels: true or 1 for anomalies.
        scores: higher means more anomalous; their own precision decides what is equal.

    Raises:
        InputError: nothing to rank, lengths that differ, or NaN.
    """
    y = np.asarray(labels).astype(bool).ravel()
    s = np.asarray(scores).ravel()
    if len(y) != len(s) or not len(y):
        raise InputError(f"{len(y)} labels and {len(s)} scores cannot be ranked; expected as many, at least one.")
    if s.dtype == np.float16 or (s.dtype == np.float32 and len(s) >= 2**20):
        return metrics_of_counts(*_counts(y, s))
    if np.isnan(s).any():
        raise InputError(f"Score {int(np.isnan(s).argmax())} is NaN.")
    order = np.argsort(s, kind="stable")
    s, y = s[order], y[order]
    last = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    positive = np.diff(np.cumsum(y)[last], prepend=0)
    return metrics_of_counts(positive, np.diff(last, prepend=-1) - positive)


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Step-wise average precision; 0 with a warning when nothing is positive."""
    return rank_metrics(labels, scores).ap


def metrics_of_counts(positive: npt.NDArray[np.integer], negative: npt.NDArray[np.integer]) -> Metrics:
    """AP and AUROC.

    Args:
        positive: (k,), positives at each distinct score, in rising order of the score; zeros are allowed.
        negative: (k,), negatives.
    """
    kept = np.flatnonzero((positive + negative) > 0)[::-1]
    p, n = positive[kept].astype(np.float64), negative[kept].astype(np.float64)
    total_p, total_n = p.sum(), n.sum()
    true, false = np.cumsum(p), np.cumsum(n)
    if total_p == 0:
        warnings.warn("No positive label: the average precision is 0 by convention.", stacklevel=3)
        return Metrics(0.0, float("nan"))
    ap = float(np.sum(p / total_p * (true / (true + false))))
    if total_n == 0:
        warnings.warn("Only positive labels: the AUROC is not defined.", stacklevel=3)
        return Metrics(ap, float("nan"))
    return Metrics(ap, float(np.sum(p * (total_n - false + 0.5 * n)) / (total_p * total_n)))


class Ranking:
    """AP and AUROC of scores that come in parts; exact up to `sort_limit` of them, counted beyond."""

    def __init__(self, sort_limit: int = SORT_LIMIT) -> None:
        self.sort_limit = sort_limit
        self._parts: list[Part] = []
        self._held = 0
        self._bins: npt.NDArray[np.int64] | None = None  # (2, bins): negatives, positives

    @property
    def exact(self) -> bool:
        """Whether every score still counts with all its bits."""
        return self._bins is None

    def add(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        """Take more scores, not negative; they are kept as float32."""
        y, s = np.asarray(labels).astype(bool).ravel(), np.asarray(scores, dtype=np.float32).ravel()
        if len(y) != len(s):
            raise InputError(f"{len(y)} labels and {len(s)} scores.")
        if not np.isfinite(s).all() or (len(s) and s.min() < 0):
            raise InputError("Anomaly scores must be finite and not negative.")
        self._parts.append((y, s))
        self._held += len(y)
        if self._bins is not None or self._held > self.sort_limit:
            self._count()

    def metrics(self) -> Metrics:
        """Of everything so far."""
        if self._bins is not None:
            return metrics_of_counts(self._bins[1], self._bins[0])
        if not self._parts:
            raise InputError("There is nothing to rank.")
        labels, scores = (np.concatenate(values) for values in zip(*self._parts, strict=True))
        return rank_metrics(labels, scores)

    def state(self) -> tuple[list[Part], npt.NDArray[np.int64] | None]:
        """What it holds, for another process to merge."""
        return self._parts, self._bins

    @classmethod
    def merged(cls, states: list[tuple[list[Part], npt.NDArray[np.int64] | None]]) -> "Ranking":
        """One ranking of what several hold."""
        merged = cls()
        for parts, bins in states:
            merged._parts += parts
            if bins is not None:
                merged._bins = bins if merged._bins is None else merged._bins + bins
        merged._held = sum(len(labels) for labels, _ in merged._parts)
        if merged._bins is not None or merged._held > merged.sort_limit:
            merged._count()
        return merged

    def _count(self) -> None:
        if self._bins is None:
            self._bins = np.zeros((2, 2 ** (31 - DROPPED_BITS)), np.int64)
        for labels, scores in self._parts:
            codes = (scores + np.float32(0)).view(np.uint32) >> DROPPED_BITS
            for row, chosen in enumerate((~labels, labels)):
                self._bins[row] += np.bincount(codes[chosen], minlength=self._bins.shape[1])
        self._parts, self._held = [], 0


def _counts(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Positives and negatives of each distinct score, in rising order of the score."""
    if np.isnan(scores).any():
        raise InputError(f"Score {int(np.isnan(scores).argmax())} is NaN.")
    if scores.dtype == np.float16:
        codes = _ordered(scores, np.uint16).astype(np.intp)
        both = np.bincount((codes << 1) | labels, minlength=2**17).reshape(-1, 2)
        return both[:, 1], both[:, 0]
    keys = (_ordered(scores, np.uint32).astype(np.uint64) << np.uint64(1)) | labels.astype(np.uint64)
    keys.sort()
    values = keys >> np.uint64(1)
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    positive = np.diff(np.cumsum((keys & np.uint64(1)).astype(np.int64))[last], prepend=0)
    return positive, np.diff(last, prepend=-1) - positive


def _ordered(scores: npt.NDArray[np.floating], kind: type) -> npt.NDArray[np.unsignedinteger]:
    """Bit patterns as whole numbers in the order of the scores; -0 equals 0."""
    bits: npt.NDArray[Any] = (scores + scores.dtype.type(0)).view(kind)
    top = kind(1) << kind(bits.dtype.itemsize * 8 - 1)
    return np.where(bits & top, ~bits, bits | top)
