"""Results of several methods and seeds together: one row per method and OOD set, for people and for programs."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ood_shared import metrics
from ood_shared.results.schema import Record

MAIN = {"auroc": "AUROC ↑", "aupr_in": "AUPR in ↑", "aupr_out": "AUPR out ↑", "fpr95": "FPR95 ↓"}
SETTLED = (
    "Score: higher = more OOD; OOD is the positive class. AUPR is average precision. "
    "FPR95: share of ID flagged at the threshold that catches 95 % of OOD."
)
IMAGES_ONLY = "95 % bootstrap interval over test images only"
ONE_TRAINING = "One training: how much a training varies is not known; run --seeds 3."
SET_WIDTH = 11  # characters of an OOD set's name in a terminal of 120 columns


@dataclass(frozen=True)
class Figures:
    """A share in [0, 1] with the span around it: of one run the interval over its images, of several their range."""

    value: float
    low: float
    high: float
    seeds: int

    def text(self) -> str:
        """In percent, as `97.3 [96.1, 98.5]` with an interval and `97.3 (96.8–97.9)` with a range."""
        return f"{self.main()} {self.span()}"

    def main(self) -> str:
        """The value in percent."""
        return f"{100 * self.value:.1f}"

    def span(self) -> str:
        """What stands around the value."""
        low, high = f"{100 * self.low:.1f}", f"{100 * self.high:.1f}"
        return f"[{low}, {high}]" if self.seeds == 1 else f"({low}–{high})"


@dataclass(frozen=True)
class Row:
    """A method on an OOD set."""

    method: str
    ood: str
    n_id: int
    n_ood: int
    metrics: dict[str, Figures]


@dataclass(frozen=True)
class MethodRow:
    """A method, whatever the OOD set. Times in seconds, memory in bytes; the largest over the seeds."""

    method: str
    paper: str
    seeds: tuple[int, ...]
    id_accuracy: Figures | None
    train_seconds: float | None
    score_seconds_per_1000: float | None
    peak_memory_bytes: int | None


def rows(records: Sequence[Record]) -> list[Row]:
    """One row per method and OOD set, in the order of the records; seeds are brought together."""
    rows_of_sets = []
    for method, runs in _by_method(records).items():
        for ood in dict.fromkeys(name for run in runs for name in run["ood_datasets"]):
            entries = [run["metrics"][ood] for run in runs if ood in run["metrics"]]
            together = {name: _combine([entry[name] for entry in entries]) for name in metrics.NAMES}
            rows_of_sets.append(Row(method, ood, entries[0]["n_id"], entries[0]["n_ood"], together))
    return rows_of_sets


def method_rows(records: Sequence[Record]) -> list[MethodRow]:
    """One row per method, in the order of the records."""
    lines = []
    for method, runs in _by_method(records).items():
        accuracies = [run["id_accuracy"] for run in runs if run["id_accuracy"] is not None]
        lines.append(
            MethodRow(
                method=method,
                paper=runs[0]["paper"],
                seeds=tuple(run["seed"] for run in runs),
                id_accuracy=_combine(accuracies) if accuracies else None,
                train_seconds=_largest([run["timings"]["train_seconds"] for run in runs]),
                score_seconds_per_1000=_largest([run["timings"]["score_seconds_per_1000"] for run in runs]),
                peak_memory_bytes=_largest([run["peak_memory_bytes"] for run in runs]),
            )
        )
    return lines


def means(table: Sequence[Row], name: str = "auroc") -> dict[str, float]:
    """For each method the mean of a metric over its OOD sets."""
    return {
        method: fmean(row.metrics[name].value for row in table if row.method == method)
        for method in dict.fromkeys(row.method for row in table)
    }


def span_words(records: Sequence[Record]) -> str:
    """What stands around a value, in words."""
    most = max((len(runs) for runs in _by_method(records).values()), default=1)
    return IMAGES_ONLY if most == 1 else f"mean and (lowest–highest) of up to {most} seeds"


def notes(records: Sequence[Record], told: Sequence[str] = ()) -> list[str]:
    """What the methods were told of the images, each once; what was told before, by the set's path, is left out."""
    known = {_by_name(note) for note in told}
    found = (str(note) for record in records for note in record["config"].get("notes") or ())
    return [note for note in dict.fromkeys(found) if _by_name(note) not in known]


def _by_name(note: str) -> tuple[str, str]:
    """A note's set, without folder and ending, and its text."""
    word, _, text = note.partition(": ")
    return Path(word).name.split(".")[0], text


def caution(records: Sequence[Record]) -> str:
    """What the numbers leave out, where each method was trained once; else nothing."""
    return ONE_TRAINING if all(len(runs) == 1 for runs in _by_method(records).values()) else ""


def as_lines(records: Sequence[Record]) -> list[str]:
    """Both tables for a terminal of 120 columns."""
    table = rows(records)
    several = len({row.ood for row in table}) > 1
    main = [["method", "OOD set", *MAIN.values()]]
    for method, mean in means(table).items():
        own = [row for row in table if row.method == method]
        main += [[method, shorten(row.ood), *(row.metrics[name].text() for name in MAIN)] for row in own]
        if several:
            others = [means(own, name)[method] for name in MAIN if name != "auroc"]
            main.append([method, "mean", *(f"{100 * value:.1f}" for value in (mean, *others))])
    methods = [["method", "ID accuracy", "training", "scoring of 1000", "peak memory"]]
    methods += [
        [row.method, row.id_accuracy.text() if row.id_accuracy else "–", *costs(row)] for row in method_rows(records)
    ]
    said = " ".join(filter(None, [f"In %, {span_words(records)}.", caution(records), SETTLED]))
    return [*textwrap.wrap(said, 100), "", *_align(main), "", *_align(methods)]


def costs(row: MethodRow) -> tuple[str, str, str]:
    """Training time, scoring time of 1000 inputs and peak memory, as text."""
    memory = "–" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:.0f} MiB"
    return duration(row.train_seconds), duration(row.score_seconds_per_1000), memory


def duration(seconds: float | None) -> str:
    """A time for people: `0.043 s`, `31 s`, `12 min 5 s`, `3 h 12 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shorten(name: str, width: int = SET_WIDTH) -> str:
    """A long name (a path) by its end."""
    return name if len(name) <= width else "…" + name[1 - width :]


def as_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The rows for programs: shares in [0, 1]; `span` says what low and high are."""
    lines = []
    for row in rows(records):
        together: dict[str, Any] = {
            name: {"value": value.value, "low": value.low, "high": value.high} for name, value in row.metrics.items()
        }
        seeds = next(iter(row.metrics.values())).seeds
        span = f"{IMAGES_ONLY}; one training" if seeds == 1 else "lowest and highest over seeds"
        about = {"method": row.method, "ood_dataset": row.ood, "seeds": seeds, "span": span}
        lines.append({**about, "n_id": row.n_id, "n_ood": row.n_ood, "metrics": together})
    return lines


def _by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record["method"], []).append(record)
    return found


def _combine(entries: Sequence[dict[str, float]]) -> Figures:
    """The interval of one run; mean and range of the values of several."""
    if len(entries) == 1:
        return Figures(entries[0]["value"], entries[0]["low"], entries[0]["high"], 1)
    values = [entry["value"] for entry in entries]
    return Figures(fmean(values), min(values), max(values), len(values))


def _largest(values: Sequence[Any]) -> Any:
    present = [value for value in values if value is not None]
    return max(present) if present else None


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
