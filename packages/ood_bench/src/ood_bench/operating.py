"""Operating points: the share of each OOD set that a method catches at a rate of false alarms, from its stored scores.

The threshold of a rate is the conformal one of the ID test scores (`ood_shared.thresholds`): at most that share of
images like them lies above. Over seeds, the mean of the shares; each seed has a threshold of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ood_shared.contract import ALARM_RATE
from ood_shared.results.schema import Record, ScoreArrays, split_scores
from ood_shared.sections import Cell, Slider, Table
from ood_shared.thresholds import fit_threshold, least_calibration

RATE = ALARM_RATE  # of false alarms, where one is named
RATES = (0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, RATE, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
Result = tuple[Record, ScoreArrays]


@dataclass(frozen=True)
class Caught:
    """A share of an OOD set: the mean over seeds, the lowest and the highest."""

    mean: float
    low: float
    high: float

    def words(self) -> str:
        """In percent, with the range where seeds differ.

        >>> Caught(0.5, 0.25, 0.75).words(), Caught(1.0, 1.0, 1.0).words()
        ('50.0 (25.0–75.0)', '100.0')
        """
        mean, low, high = (f"{100 * share:.1f}" for share in (self.mean, self.low, self.high))
        return mean if low == high else f"{mean} ({low}–{high})"


def caught(results: Sequence[Result], rate: float = RATE) -> dict[str, Caught]:
    """By OOD set, what a method catches; nothing where a run has too few ID images for the rate.

    Args:
        results: record and scores of each seed of one method.
        rate: of false alarms.
    """
    shares: dict[str, list[float]] = {}
    for record, scores in results:
        id_scores, *ood_scores = split_scores(scores)
        if len(id_scores) < least_calibration(rate):
            return {}
        threshold = fit_threshold(id_scores, rate).value
        for name, values in zip(record["ood_datasets"], ood_scores, strict=True):
            shares.setdefault(name, []).append(float((values > threshold).mean()))
    return {name: Caught(fmean(found), min(found), max(found)) for name, found in shares.items()}


def words_of(rate: float) -> str:
    """A rate in percent.

    >>> words_of(0.05), words_of(0.0015)
    ('5 %', '0.15 %')
    """
    return f"{100 * rate:g} %"


def table(results: Sequence[Result], methods: Sequence[str], columns: Mapping[str, str]) -> Table:
    """What each method catches of each OOD set, at a rate of false alarms that a slider sets.

    Args:
        results: record and scores of every run.
        methods: the rows.
        columns: OOD sets and their heads.
    """
    rows: list[list[str | Cell]] = []
    for method in methods:
        own = [result for result in results if result[0]["method"] == method]
        shares = [caught(own, rate) for rate in RATES]
        rows.append([method, *(_cell([at.get(ood) for at in shares]) for ood in columns)])
    several = len({record["seed"] for record, _ in results}) > 1
    note = (
        f"Share of each OOD set caught, in %{', mean over the seeds' if several else ''}. The threshold of a rate is "
        "the conformal one of the ID test scores: at most that share of images like them is flagged. –: too few ID "
        f"test images for the rate. Without scripts, the table stays at {words_of(RATE)}."
    )
    slider = Slider("False alarms", [words_of(rate) for rate in RATES], RATES.index(RATE))
    head = ["method", *(f"{name} ↑" for name in columns.values())]
    return Table("What is caught", head, rows, note=note, sortable=True, slider=slider)


def _cell(shares: Sequence[Caught | None]) -> Cell:
    stops = ["–" if share is None else f"{100 * share.mean:.1f}" for share in shares]
    now = shares[RATES.index(RATE)]
    return Cell(stops[RATES.index(RATE)], None if now is None else 100 * now.mean, stops=stops)
