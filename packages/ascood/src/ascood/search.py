"""APS, the automatic parameter search: every combination of the sweep, by the AUROC of ID against OOD validation data.

The first list varies fastest; the first of equal winners is taken (the published programs disagree). Values go to the
hyper-parameters by position.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from ood_shared import distributed, metrics

from ascood.scores.base import Confidences, Extract, FeatureScore, Score
from ascood.scoring import score_outputs

Trial = dict[str, Any]  # the hyper-parameters, and `auroc`


def combinations(sweep: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """All combinations, the first list varying fastest.

    >>> list(combinations([[1, 2], ["a", "b"]]))
    [(1, 'a'), (2, 'a'), (1, 'b'), (2, 'b')]
    """
    for values in itertools.product(*reversed(sweep)):
        yield tuple(reversed(values))


def search_extracts(score: FeatureScore, id_val: Extract, ood_val: Extract) -> list[Trial]:
    """Search a score of logits and features."""
    trials = []
    for values in combinations(score.sweep):
        score.args.update(zip(score.order, values, strict=True))
        score.prepare()
        trials.append(_trial(score.order, values, score_outputs(score, id_val), score_outputs(score, ood_val)))
    return _take_best(score, trials)


def search_images(
    score: Score, of_validation: Callable[[Sequence[float]], list[tuple[Confidences, Confidences]]]
) -> list[Trial]:
    """Search a score of images whose last hyper-parameter is a noise: all noises from one backward pass.

    Args:
        score: ODIN or i-ODIN.
        of_validation: for the temperature in `score.args`, confidences of ID and OOD validation data for each noise.
    """
    temperatures, noises = score.sweep
    by_setting = {}
    for temperature in temperatures:
        score.args["temperature"] = temperature
        for noise, (of_id, of_ood) in zip(noises, of_validation(noises), strict=True):
            by_setting[temperature, noise] = (of_id, of_ood)
    trials = [_trial(score.order, values, *by_setting[values]) for values in combinations(score.sweep)]
    return _take_best(score, trials)


def _trial(names: Sequence[str], values: Sequence[Any], of_id: Confidences, of_ood: Confidences) -> Trial:
    confidences = [np.asarray(pair[0].detach().cpu(), dtype=np.float64) for pair in (of_id, of_ood)]
    auroc = metrics.evaluate(-confidences[0], -confidences[1])["auroc"]
    return {**dict(zip(names, values, strict=True)), "auroc": auroc}


def _take_best(score: Score, trials: list[Trial]) -> list[Trial]:
    best = max(range(len(trials)), key=lambda at: (trials[at]["auroc"], -at))
    score.args.update({name: trials[best][name] for name in score.order})
    score.prepare()
    chosen = ", ".join(f"{name} {trials[best][name]}" for name in score.order)
    percent = 100 * trials[best]["auroc"]
    if distributed.is_main():
        print(f"{score.name}: {len(trials)} settings tried, chosen {chosen} (AUROC {percent:.2f})", file=sys.stderr)
    return trials
