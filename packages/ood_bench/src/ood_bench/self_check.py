"""How a fused detector and its members do on outliers that can be had without OOD images: a report, and a warning.

Two kinds: classes of the ID set that a second detector never saw (two folds, from four classes on), and eleven kinds of
synthetic outliers. The recipe is never changed by what comes out: a choice by such sets is not safer than the fixed
recipe, but a member that is far ahead of F on them is worth knowing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.errors import InputError
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ood_bench.fused_detector import FusedDetector
from ood_bench.fused_fit import LEAST, Fitted
from ood_bench.synthetic import make_all

FUSED = "fused"
MOST = 300  # images of a set
LEAST_CLASSES = 4
FOLDS, SHARE = 2, 0.3  # of the classes that a fold leaves out
RESAMPLES = 200
FitFold = Callable[[Benchmark], Fitted]


@dataclass(frozen=True)
class Check:
    """What was seen.

    Attributes:
        sets: AUROC by name of the set and of the detector, `fused` and its members.
        ahead: members that beat F over all sets of a kind, by more than the 95 % interval: words.
    """

    sets: dict[str, dict[str, float]]
    ahead: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        names = list(next(iter(self.sets.values())))
        width = max(map(len, self.sets))
        lines = ["AUROC on outliers made from your images, in %; a report, nothing was chosen by it:"]
        lines.append(f"{'':{width}}  " + "  ".join(f"{name:>9}" for name in names))
        for name, found in self.sets.items():
            lines.append(f"{name:{width}}  " + "  ".join(f"{100 * found[own]:9.1f}" for own in names))
        return [*lines, *(f"warning: {words}" for words in self.ahead)]

    def about(self) -> dict[str, Any]:
        """For the card of a file."""
        return {"auroc": self.sets, "warnings": list(self.ahead)}


def self_check(fitted: Fitted, benchmark: Benchmark, fit_fold: FitFold, seed: int = 0) -> Check:
    """Look at a fitted detector.

    Args:
        fitted: on the training images of the benchmark.
        benchmark: the same.
        fit_fold: fits another detector, on fewer classes.
        seed: of all draws.
    """
    generator = torch.Generator().manual_seed(seed)
    held = benchmark.train[fitted.held][torch.randperm(len(fitted.held), generator=generator)[:MOST]]
    own = _scores(fitted.detector, held)
    synthetic = {name: _scores(fitted.detector, made) for name, made in make_all(held, generator).items()}
    sets = {name: _auroc(own, found) for name, found in synthetic.items()}
    ahead = _ahead("the synthetic sets", [(own, found) for found in synthetic.values()], seed)
    folds = [_fold(benchmark, left_out, fit_fold, generator) for left_out in _folds(len(benchmark.classes), generator)]
    pairs = []
    for names, inside, outside in filter(None, folds):
        sets[f"without {names}"] = _auroc(inside, outside)
        pairs.append((inside, outside))
    return Check(sets, (*ahead, *(_ahead("classes left out", pairs, seed) if pairs else ())))


def _folds(n_classes: int, generator: torch.Generator) -> list[list[int]]:
    if n_classes < LEAST_CLASSES:
        return []
    count = max(1, round(SHARE * n_classes))
    order = torch.randperm(n_classes, generator=generator).tolist()
    return [sorted(order[at * count : (at + 1) * count]) for at in range(FOLDS)]


Scores = dict[str, Float[np.ndarray, " n"]]


def _fold(
    benchmark: Benchmark, left_out: list[int], fit_fold: FitFold, generator: torch.Generator
) -> tuple[str, Scores, Scores] | None:
    """Scores of a detector that never saw some classes: of ID images held out from it, and of these classes.

    None where too few images, or groups of them, are left.
    """
    labels = benchmark.train_labels
    outside = torch.isin(labels, torch.tensor(left_out))
    kept = [number for number in range(len(benchmark.classes)) if number not in left_out]
    if int((~outside).sum()) < 2 * LEAST:
        return None
    renumbered = torch.full((len(benchmark.classes),), -1)
    renumbered[kept] = torch.arange(len(kept))
    classes = tuple(benchmark.classes[number] for number in kept)
    train, train_labels = benchmark.train[~outside], renumbered[labels[~outside]]
    groups = benchmark.train_groups
    own = None if groups is None else tuple(np.array(groups)[~outside.numpy()].tolist())
    part = replace(benchmark, train=train, train_labels=train_labels, train_groups=own, classes=classes)
    try:
        fitted = fit_fold(part)
    except InputError:
        if own is None:
            raise
        return None
    held = train[fitted.held][:MOST]
    others = benchmark.train[outside]
    others = others[torch.randperm(len(others), generator=generator)[:MOST]]
    names = ", ".join(benchmark.classes[number] for number in left_out)
    return names, _scores(fitted.detector, held), _scores(fitted.detector, others)


def _scores(detector: FusedDetector, images: Tensor) -> Scores:
    values, _, _ = detector.measure(images)
    return {FUSED: detector.calibration.fuse(values), **dict(zip(detector.statistics.members, values, strict=True))}


def _drawn(n: int, generator: np.random.Generator) -> Float[np.ndarray, " n"]:
    """How often each of n images is in a resample."""
    return np.bincount(generator.integers(n, size=n), minlength=n).astype(np.float64)


def _auroc(own: Scores, found: Scores) -> dict[str, float]:
    return {name: _area(own[name], found[name]) for name in own}


def _area(own: Float[np.ndarray, " n"], found: Float[np.ndarray, " m"]) -> float:
    truth = np.r_[np.zeros(len(own)), np.ones(len(found))]
    return float(roc_auc_score(truth, np.r_[own, found]))


def _ahead(what: str, pairs: list[tuple[Scores, Scores]], seed: int) -> tuple[str, ...]:
    """Members whose mean AUROC over the pairs exceeds that of F in 97.5 % of the resamples of the images."""
    generator = np.random.default_rng(seed)
    members = [name for name in pairs[0][0] if name != FUSED and all(name in own for own, _ in pairs)]
    sizes = [(len(own[FUSED]), len(found[FUSED])) for own, found in pairs]
    drawn = [[(_drawn(n, generator), _drawn(m, generator)) for n, m in sizes] for _ in range(RESAMPLES)]
    areas = {name: np.zeros(RESAMPLES) for name in (FUSED, *members)}
    for (own, found), counts in zip(pairs, zip(*drawn, strict=True), strict=True):
        of_own, of_found = (np.stack(part) for part in zip(*counts, strict=True))  # (resamples, n), (resamples, m)
        for name, total in areas.items():
            above = (own[name][:, None] < found[name]) + 0.5 * (own[name][:, None] == found[name])  # (n, m)
            total += ((of_own @ above) * of_found).sum(1) / above.size / len(pairs)
    gains = {name: areas[name] - areas[FUSED] for name in members}
    intervals = [(name, np.quantile(gains[name], (0.025, 0.975))) for name in members]
    return tuple(
        f"`{name}` alone is ahead of the fused score on {what} by {100 * low:.1f} to {100 * high:.1f} points of AUROC; "
        "nothing was switched."
        for name, (low, high) in intervals
        if low > 0
    )
