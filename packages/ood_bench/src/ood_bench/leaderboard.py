"""Methods in order, with intervals over test images and trainings, and how sure it is that one is ahead of another.

A resample draws ID images and the images of every OOD set with replacement; every method and every seed is measured on
the same draws (seeds share their test images, so that more seeds do not make these any more). What trainings vary comes
on top (`ood_shared.bootstrap.over_trainings`). A method's interval spans 95 % of its resampled means; the difference of
two methods is taken within each resample and each seed, which is why it is known better than either mean. p is the
two-sided probability that the difference has the other sign, (1 + count) / (1 + resamples), doubled.

One training shows nothing of what trainings vary: intervals are then over images only, and there is no p.

Pairing needs the same images in the same order. Methods whose ID labels or numbers of images differ get no difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ood_shared.bootstrap import CELLS, around, draw_counts, over_trainings
from ood_shared.files import csv_cell
from ood_shared.ranking import id_side, metrics_of_counts, ood_side, rank
from ood_shared.results.schema import Record, ScoreArrays, split_groups, split_scores

METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_id_positive")
GROUPS = ("all", "near", "far")
RESAMPLES, LEVEL = 1000, 0.95
OVER_ALL, OVER_IMAGES = "95 % over test images and trainings", "95 % over test images only; one training"
Result = tuple[Record, ScoreArrays]
Samples = npt.NDArray[np.float64]  # (seeds, resamples)


@dataclass(frozen=True)
class Share:
    """A mean in [0, 1] (or a difference in [-1, 1]) with its 95 % interval."""

    value: float
    low: float
    high: float

    def record(self) -> dict[str, float]:
        """As JSON keeps it."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Entry:
    """A method's place.

    Attributes:
        method: its name.
        seeds: how many runs it had.
        means: by group of OOD sets and metric; groups without sets are absent.
        sets: by OOD set and metric, the mean over the seeds.
        behind: mean AUROC of the first method minus this one's; None for the first and for methods that saw others.
        p: of `behind`, two-sided; None for one training too.
        beaten_by: by method, how far its mean AUROC is ahead of this one's, where the interval excludes 0.
    """

    method: str
    seeds: int
    means: Mapping[str, Mapping[str, Share]]
    sets: Mapping[str, Mapping[str, Share]]
    behind: Share | None = None
    p: float | None = None
    beaten_by: Mapping[str, Share] = field(default_factory=dict)

    @property
    def interval(self) -> str:
        """What the intervals are over."""
        return OVER_ALL if self.seeds > 1 else OVER_IMAGES


def leaderboard(
    results: Sequence[Result], near: Sequence[str], generator: np.random.Generator, resamples: int = RESAMPLES
) -> list[Entry]:
    """The methods, highest mean AUROC over all OOD sets first.

    Args:
        results: record and scores of every run.
        near: OOD sets that are near; all others are far.
        generator: of the resamples.
        resamples: number of them.
    """
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(result[0]["method"], []).append(result)
    if not runs:
        return []
    root = int(generator.integers(2**63))
    tables = {method: _Table(found, near, root, resamples) for method, found in runs.items()}
    order = sorted(tables, key=lambda method: -tables[method].values(tables[method].sets, "auroc").mean())
    return [_entry(method, tables, order) for method in order]


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For `leaderboard.json`; shares in [0, 1]."""
    return [
        {
            "place": place,
            "method": entry.method,
            "seeds": entry.seeds,
            "means": _plain(entry.means),
            "sets": _plain(entry.sets),
            "auroc_behind_first": None if entry.behind is None else entry.behind.record(),
            "p": entry.p,
            "beaten_by": {method: share.record() for method, share in entry.beaten_by.items()},
            "interval": entry.interval,
        }
        for place, entry in enumerate(entries, 1)
    ]


def as_csv(entries: Sequence[Entry]) -> str:
    """For `leaderboard.csv`: one line a method, shares in [0, 1], empty where there is nothing."""
    import csv
    import io

    groups = [group for group in GROUPS if any(group in entry.means for entry in entries)]
    sets = dict.fromkeys(ood for entry in entries for ood in entry.sets)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tested = ["behind_first", "behind_low", "behind_high", "p"]
    of_groups = [f"{group}_{name}{end}" for group in groups for name in METRICS for end in ("", "_low", "_high")]
    of_sets = [csv_cell(f"{ood}:{name}{end}") for ood in sets for name in METRICS for end in ("", "_low", "_high")]
    writer.writerow(["place", "method", "seeds", *of_groups, *tested, *of_sets, "interval"])
    for place, entry in enumerate(entries, 1):
        means = [cell for group in groups for name in METRICS for cell in _cells(entry.means.get(group, {}).get(name))]
        each = [cell for ood in sets for name in METRICS for cell in _cells(entry.sets.get(ood, {}).get(name))]
        p = "" if entry.p is None else f"{entry.p:.4f}"
        writer.writerow(
            [place, csv_cell(entry.method), entry.seeds, *means, *_cells(entry.behind), p, *each, entry.interval]
        )
    return text.getvalue()


def _plain(shares: Mapping[str, Mapping[str, Share]]) -> dict[str, dict[str, dict[str, float]]]:
    return {key: {name: share.record() for name, share in found.items()} for key, found in shares.items()}


def _cells(share: Share | None) -> list[str]:
    return ["", "", ""] if share is None else [f"{part:.6f}" for part in (share.value, share.low, share.high)]


class _Table:
    """Values and resamples of one method: every metric on every OOD set, by seed."""

    def __init__(self, runs: Sequence[Result], near: Sequence[str], root: int, resamples: int) -> None:
        runs = sorted(runs, key=lambda run: run[0]["seed"])
        self.seeds = [int(record["seed"]) for record, _ in runs]
        self.sets = [str(name) for name in runs[0][0]["ood_datasets"]]
        self.labels = [scores["labels"] for _, scores in runs]
        groups = {"all": self.sets, "near": [s for s in self.sets if s in near]}
        groups["far"] = [s for s in self.sets if s not in near]
        self.groups = {group: found for group, found in groups.items() if found}
        if "near" not in self.groups:
            self.groups.pop("far")
        self._values = {
            (ood, name): np.array([record["metrics"][ood][name]["value"] for record, _ in runs])
            for ood in self.sets
            for name in METRICS
        }
        drawn = [_resample(scores, root, resamples) for _, scores in runs]
        self._samples: dict[tuple[str, str], Samples] = {
            key: np.stack([found[key] for found in drawn]) for key in self._values
        }
        self._root = root

    def values(self, sets: Sequence[str], name: str) -> npt.NDArray[np.float64]:
        """Mean over sets, (seeds,)."""
        mean: npt.NDArray[np.float64] = np.mean([self._values[ood, name] for ood in sets], axis=0)
        return mean

    def samples(self, sets: Sequence[str], name: str) -> Samples:
        """The same of every resample of the images."""
        mean: Samples = np.mean([self._samples[ood, name] for ood in sets], axis=0)
        return mean

    def resampled(self, values: npt.NDArray[np.float64], samples: Samples) -> npt.NDArray[np.float64]:
        """Means over the seeds in every resample of images and trainings, (resamples,)."""
        return over_trainings(values, samples, np.random.default_rng([self._root, 0]))

    def shares(self, sets: Sequence[str]) -> dict[str, Share]:
        """Every metric with its interval."""
        found = {}
        for name in METRICS:
            values = self.values(sets, name)
            drawn = np.clip(self.resampled(values, self.samples(sets, name)), 0, 1)
            found[name] = Share(float(values.mean()), *around(float(values.mean()), drawn, LEVEL))
        return found

    def ahead_of(self, other: "_Table") -> tuple[Share, float]:
        """Mean AUROC minus that of another method, and its p."""
        values = self.values(self.sets, "auroc") - other.values(self.sets, "auroc")
        drawn = self.resampled(values, self.samples(self.sets, "auroc") - other.samples(self.sets, "auroc"))
        drawn = np.clip(drawn, -1, 1)
        tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
        p = min(1.0, 2 * (1 + tail) / (1 + len(drawn)))
        return Share(float(values.mean()), *around(float(values.mean()), drawn, LEVEL)), p

    def saw_the_same(self, other: "_Table") -> bool:
        """Whether both methods scored the same images, as far as labels and numbers tell."""
        return (
            self.seeds == other.seeds
            and self.sets == other.sets
            and all(np.array_equal(a, b) for a, b in zip(self.labels, other.labels, strict=True))
        )


def _resample(scores: ScoreArrays, root: int, resamples: int) -> dict[tuple[str, str], npt.NDArray[Any]]:
    """Every metric of every resample against each OOD set.

    Equal numbers of images give equal draws, whatever the method and the seed. Where seeds drew other images of a large
    set, equal draws do no harm: the places of unrelated images vary together with nothing.
    """
    id_scores, *ood_scores = split_scores(scores)
    of_id, *of_ood = split_groups(scores)
    found: dict[tuple[str, str], list[Any]] = {}
    for number, values in enumerate(ood_scores):
        name = str(scores["names"][1 + number])
        sides = (ood_side(ranking := rank(id_scores, values)), id_side(ranking))
        up, down = np.argsort(id_scores, kind="stable"), np.argsort(-values, kind="stable")
        id_stream = np.random.default_rng([root, 1, len(id_scores)])
        ood_stream = np.random.default_rng([root, 2, number, len(values)])
        rows = max(1, CELLS // (len(id_scores) + len(values)))
        for start in range(0, resamples, rows):
            count = min(rows, resamples - start)
            id_counts = draw_counts(id_stream, count, len(id_scores), of_id)[:, up]
            ood_counts = draw_counts(ood_stream, count, len(values), of_ood[number])[:, down]
            for metric, chunk in metrics_of_counts(sides, id_counts, ood_counts).items():
                if metric in METRICS:
                    found.setdefault((name, metric), []).append(chunk)
    return {key: np.concatenate(chunks) for key, chunks in found.items()}


def _entry(method: str, tables: Mapping[str, _Table], order: Sequence[str]) -> Entry:
    table = tables[method]
    means = {group: table.shares(sets) for group, sets in table.groups.items()}
    each = {ood: table.shares([ood]) for ood in table.sets}
    ahead = order[: order.index(method)]
    measured = {other: tables[other].ahead_of(table) for other in ahead if table.saw_the_same(tables[other])}
    behind, p = measured.get(order[0], (None, None))
    beaten_by = {other: share for other, (share, _) in measured.items() if share.low > 0}
    return Entry(method, len(table.seeds), means, each, behind, p if len(table.seeds) > 1 else None, beaten_by)
