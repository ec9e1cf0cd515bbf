"""Bootstrap intervals of every metric, from the one sort that the metrics themselves use.

ID and OOD scores are resampled separately (stratified), with replacement; an interval runs between two percentiles of
the resampled metric. A resample is a count per sorted score, and a metric needs the running sums of these counts only:
nothing is sorted again, and many resamples are computed at once.

Images that belong together, such as a patient's, are drawn together: a resample draws groups, and the counts of its
images are brought to the number of images, which groups of different sizes would change.

Resampled images tell nothing of another training. `over_trainings` adds that: few trainings cannot be resampled (of
three, no resample lies beyond the lowest and the highest), so their mean is spread as Student's t does.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from ood_shared.errors import InputError
from ood_shared.ranking import NAMES, Ranking, Scores, id_side, metrics_of_counts, ood_side, rank

# Scores per chunk of resamples. Its dozen arrays of at most 1 MiB stay in the processor's cache; longer chunks are
# slower, not faster.
CELLS = 2**17

Interval = tuple[float, float]
Groups = tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64] | None]  # of ID and of OOD scores


def bootstrap(
    id_scores: Scores,
    ood_scores: Scores,
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile interval of every metric of `NAMES`.

    Args:
        id_scores: (n_id,) scores of ID inputs; higher means more OOD.
        ood_scores: (n_ood,) scores of OOD inputs.
        generator: source of the resamples; equal generators give equal intervals.
        resamples: number of resamples.
        level: share of the resamples that the interval spans, in (0, 1).

    Raises:
        InputError: scores as in `ood_shared.ranking.as_scores`, or `level` or `resamples` out of range.
    """
    resampled = resampled_metrics(rank(id_scores, ood_scores), generator, resamples)
    return {name: percentile_interval(resampled[name], level) for name in NAMES}


def resampled_metrics(
    ranking: Ranking, generator: np.random.Generator, resamples: int, groups: Groups = (None, None)
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of every resample of a ranking.

    Args:
        ranking: of ID and OOD scores.
        generator: source of the resamples.
        resamples: number of them.
        groups: numbers of the groups of the ID scores, from the lowest up, and of the OOD scores, from the highest
            down; None where each image is by itself.
    """
    if resamples < 1:
        raise InputError(f"The number of resamples must be 1 or more, found {resamples}.")
    sides = ood_side(ranking), id_side(ranking)
    chunks = [
        metrics_of_counts(sides, *counts)
        for counts in _resample_counts(ranking.n_id, ranking.n_ood, generator, resamples, groups)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in NAMES}


def percentile_interval(values: Float[np.ndarray, " resamples"], level: float) -> Interval:
    """The values between which a share `level` of the resamples lies, an equal share outside on either side."""
    if not 0 < level < 1:
        raise InputError(f"The level of an interval must lie between 0 and 1, found {level}.")
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def around(value: float, values: Float[np.ndarray, " resamples"], level: float) -> Interval:
    """The percentile interval of a metric, widened to hold the metric itself.

    A resample repeats scores, which lowers a minimum such as the detection error and raises an average precision that
    is nearly perfect: all resamples may lie on one side of the value.
    """
    low, high = percentile_interval(values, level)
    return min(low, value), max(high, value)


def over_trainings(
    values: Float[np.ndarray, " trainings"],
    samples: Float[np.ndarray, "trainings resamples"],
    generator: np.random.Generator,
) -> Float[np.ndarray, " resamples"]:
    """Resamples of a mean over trainings that vary with the images and with the trainings.

    To each resample of the images comes a deviation of the mean of n trainings, s / sqrt(n) times Student's t with
    n - 1 degrees of freedom, where s is the standard deviation of the trainings. One training has no s: its resamples
    vary with the images only.

    Args:
        values: of each training, on all images.
        samples: of each training on resampled images; where trainings saw the same images, on the same resamples.
        generator: pairs deviations and resamples; equal generators give equal pairs.
    """
    n, resamples = samples.shape
    mean: Float[np.ndarray, " resamples"] = samples.mean(axis=0)
    if n == 1:
        return mean
    from scipy.special import stdtrit  # of scipy.stats, which takes much longer to import, t.ppf is the same

    # Quantiles at even steps instead of draws: the tails are long, and draws would make the interval's ends noisy.
    steps = stdtrit(n - 1, (np.arange(resamples) + 0.5) / resamples)
    mean += values.std(ddof=1) / np.sqrt(n) * generator.permutation(steps)
    return mean


def streams(generator: np.random.Generator) -> tuple[np.random.Generator, np.random.Generator]:
    """One stream for the ID and one for the OOD scores, so that the draws do not depend on the size of a chunk.

    Resample r of n scores holds the sorted scores at row r of `integers(0, n, size=(resamples, n))`.
    """
    id_seed, ood_seed = generator.integers(0, 2**63, size=2)
    return np.random.default_rng(id_seed), np.random.default_rng(ood_seed)


def _resample_counts(
    n_id: int, n_ood: int, generator: np.random.Generator, resamples: int, groups: Groups
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    id_stream, ood_stream = streams(generator)
    rows = max(1, CELLS // (n_id + n_ood))
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        yield draw_counts(id_stream, chunk, n_id, groups[0]), draw_counts(ood_stream, chunk, n_ood, groups[1])


def draw_counts(
    stream: np.random.Generator, rows: int, n: int, groups: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """How often each of `n` scores is in each of `rows` resamples of `n`, with replacement: (rows, n).

    Args:
        stream: of the draws.
        rows: number of resamples.
        n: number of scores.
        groups: (n,), numbers of their groups, from 0 on, none left out: then as many groups are drawn as there are, and
            the counts, fractions now, add up to n.
    """
    if groups is not None:
        counts = draw_counts(stream, rows, int(groups.max()) + 1)[:, groups].astype(np.float64)
        counts *= n / counts.sum(axis=1, keepdims=True)
        return counts
    drawn = stream.integers(0, n, size=(rows, n))
    drawn += np.arange(rows)[:, None] * n  # each row counts in cells of its own
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
