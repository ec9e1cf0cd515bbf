"""The tables of the report: methods in order, every OOD set, accuracy and cost, the rarer metrics.

Near OOD sets stand before far ones and are named so. Values are in percent, with the interval small below. A method
that was trained once has no interval but in "Every OOD set", which says that it is over images only. AUROC is tinted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ood_shared.results.schema import Record
from ood_shared.sections import Cell, Table

from ood_bench.leaderboard import METRICS, Entry, Share
from ood_bench.summary import MAIN, ONE_TRAINING, SETTLED, Figures, MethodRow, Row, costs, method_rows, span_words

NAMES = MAIN | {"fpr95_id_positive": "FPR95, ID positive ↓"}  # of METRICS
OTHERS = {
    "fpr80": "FPR80 ↓",
    "fpr80_id_positive": "FPR80, ID positive ↓",
    "detection_error": "detection error ↓",
    "aupr_in_trapezoid": "AUPR in, trapezoid ↑",
    "aupr_out_trapezoid": "AUPR out, trapezoid ↑",
}
AnyRow = TypeVar("AnyRow", Row, MethodRow)
INTERVAL = "95 % interval over resampled test images and over trainings (Student's t)"
IMAGES_ONLY = "95 % interval over resampled test images only"
TINT = "Colour: the deeper, the nearer AUROC is to 100 (logarithm of what is missing, from 50 to 0.1)."
ID_POSITIVE = "ID positive: share of OOD accepted at the threshold that keeps 95 % of ID."


def ordered(sets: Collection[str], near: Collection[str]) -> list[str]:
    """The names, near ones first."""
    return [name for name in sets if name in near] + [name for name in sets if name not in near]


def sets_of(places: Sequence[Entry]) -> list[str]:
    """Every OOD set that a method was tested on."""
    return list(dict.fromkeys(ood for entry in places for ood in entry.sets))


def labelled(ood: str, sets: Collection[str], near: Collection[str]) -> str:
    """The name, with `near` or `far` where there are near sets."""
    return f"{ood} ({'near' if ood in near else 'far'})" if set(near) & set(sets) else ood


def leaderboard(places: Sequence[Entry]) -> Table:
    """The methods in order, by means over the OOD sets; near and far apart, when there are both."""
    groups = [group for group in ("near", "far") if any(group in entry.means for entry in places)]
    columns = [(group, "auroc") for group in (*groups, "all")] + [("all", name) for name in METRICS[1:]]
    head = [NAMES[name] if group == "all" else f"{group} {NAMES[name]}" for group, name in columns]
    tested = any(entry.p is not None for entry in places)
    rows: list[list[str | Cell]] = []
    for place, entry in enumerate(places, 1):
        cells: list[str | Cell] = [_mean(entry, entry.means.get(group, {}).get(name), name) for group, name in columns]
        cells.append(_mean(entry, entry.behind))
        if tested:
            cells.append("–" if entry.p is None else f"{entry.p:.3f}")
        rows.append([entry.method, str(place), *cells])
    apart = "near: the novel classes, kept out of training; far: the others; no word: all" if groups else "all"
    note = [f"In %, means over the OOD sets ({apart}); {_small(places)}", SETTLED, ID_POSITIVE, TINT]
    note.append("Behind first: difference in mean AUROC to the first row; – for a method that saw other test images.")
    if tested:
        note.append(
            "p: two-sided, of no difference, over the same resampled images and over trainings, not corrected for the "
            "number of methods; – too for a method that was trained once."
        )
    head += ["behind first ↓", *(["p ↑"] if tested else [])]
    return Table("Leaderboard", ["method", "place ↓", *head], rows, note=" ".join(note), sortable=True)


def side_by_side(places: Sequence[Entry], near: Collection[str]) -> Table:
    """AUROC: a row for each method, a column for each OOD set."""
    sets = ordered(sets_of(places), near)
    rows: list[list[str | Cell]] = [
        [entry.method, *(_mean(entry, entry.sets.get(ood, {}).get("auroc"), "auroc") for ood in sets)]
        for entry in places
    ]
    head = [labelled(ood, sets, near) for ood in sets]
    note = f"AUROC in %; {_small(places)} {TINT}"
    return Table("AUROC side by side", ["method", *head], rows, note=note, sortable=True)


def every_set(places: Sequence[Entry], table: Sequence[Row], near: Collection[str]) -> Table:
    """Every metric on every OOD set, and the mean over the far ones; for one method without headings."""
    names = sets_of(places)
    sets = ordered(names, near)
    cells_by_set = []
    for ood in sets:
        heading = f"{labelled(ood, names, near)}\n{_counts([row for row in table if row.ood == ood])}"
        cells_by_set += [(heading, entry.method, entry.sets[ood]) for entry in places if ood in entry.sets]
    for group in ("near", "far", "all"):
        own = {"near": len(set(sets) & set(near)), "far": len(set(sets) - set(near)), "all": len(sets)}[group]
        means = [entry for entry in places if group in entry.means] if own > 1 else []
        heading = f"mean of {'all ' if group == 'all' else ''}{own} {'' if group == 'all' else group + ' '}sets"
        cells_by_set += [(heading, entry.method, entry.means[group]) for entry in means]
    several = len(places) > 1
    rows: list[list[str | Cell]] = [
        [heading, *([method] if several else []), *(_share(cells[name], name) for name in NAMES)]
        for heading, method, cells in cells_by_set
    ]
    return Table(
        "Every OOD set",
        ["OOD set", *(["method"] if several else []), *NAMES.values()],
        rows,
        note=f"In %, small: {_interval(places)} {SETTLED} {ID_POSITIVE} {TINT}",
        grouped=several,
        sortable=True,
    )


def accuracy_and_cost(records: Sequence[Record], places: Sequence[Entry]) -> Table:
    """ID accuracy, time and memory, and what each method used; what a method does not tell is `–`."""
    settings: dict[str, Mapping[str, Any]] = {}
    for record in records:
        settings.setdefault(record["method"], record["config"])
    rows: list[list[str | Cell]] = []
    for row in _in_order(method_rows(records), places):
        training, scoring, memory = costs(row)
        config = settings[row.method]
        accuracy = _figures(row.id_accuracy) if row.id_accuracy else "–"
        rows.append(
            [
                row.method,
                accuracy,
                Cell(training, row.train_seconds),
                Cell(scoring, row.score_seconds_per_1000),
                Cell(memory, row.peak_memory_bytes),
                _words(config, "backbone"),
                _amount(config.get("parameters")),
                _amount(config.get("epochs")),
                _words(config, "extra_data"),
            ]
        )
    head = ["ID accuracy ↑", "training ↓", "scoring of 1000 ↓", "peak memory ↓", "backbone", "parameters", "epochs"]
    note = (
        f"ID accuracy in %, small: {span_words(records)}; – where no class is predicted. Times and memory: the largest "
        "over the seeds. Extra data: what was trained on beside the ID training images and what is made of them."
    )
    return Table("Accuracy and cost", ["method", *head, "extra data"], rows, note=note, sortable=True)


def papers(records: Sequence[Record], places: Sequence[Entry]) -> Table:
    """Where each method is from."""
    rows = [[row.method, row.paper] for row in _in_order(method_rows(records), places)]
    return Table("Papers", ["method", "paper"], rows)


def other_metrics(
    records: Sequence[Record], table: Sequence[Row], places: Sequence[Entry], near: Collection[str]
) -> Table:
    """The metrics that are asked for more rarely, by OOD set."""
    sets = list(dict.fromkeys(row.ood for row in table))
    return Table(
        "Other metrics",
        ["OOD set", "method", *OTHERS.values()],
        [
            [labelled(ood, sets, near), row.method, *(_figures(row.metrics[name]) for name in OTHERS)]
            for ood in ordered(sets, near)
            for row in _in_order([row for row in table if row.ood == ood], places)
        ],
        note=(
            f"In %, small: {span_words(records)}. FPR80: as FPR95, at 80 %. Detection error: least mean of both error "
            "rates. Trapezoid: area under the precision-recall curve by the trapezoidal rule; elsewhere AUPR is "
            f"average precision."
        ),
        grouped=True,
        sortable=True,
    )


def _in_order(rows: Sequence[AnyRow], places: Sequence[Entry]) -> list[AnyRow]:
    """The rows in the order of the leaderboard."""
    order = [entry.method for entry in places]
    return sorted(rows, key=lambda row: order.index(row.method))


def _counts(rows: Sequence[Row]) -> str:
    """How many images the metrics rest on; methods may have scored different numbers."""
    spans = [sorted({row.n_ood for row in rows}), sorted({row.n_id for row in rows})]
    ood, of_id = (f"{span[0]}" if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans)
    return f"{ood} images against {of_id} of ID"


def _small(places: Sequence[Entry]) -> str:
    """What stands small below a mean: nothing, where each method was trained once."""
    if all(entry.seeds == 1 for entry in places):
        return ONE_TRAINING[0].lower() + ONE_TRAINING[1:]
    once = " None for a method that was trained once." if any(entry.seeds == 1 for entry in places) else ""
    return f"small: {INTERVAL}.{once}"


def _interval(places: Sequence[Entry]) -> str:
    once = [entry.method for entry in places if entry.seeds == 1]
    if len(once) == len(places):
        return f"{IMAGES_ONLY}. {ONE_TRAINING}"
    but = f" Of {', '.join(once)}, trained once, over images only." if once else ""
    return f"{INTERVAL}.{but}"


def _mean(entry: Entry, share: Share | None, metric: str = "") -> Cell:
    """A mean over sets or seeds, with an interval where trainings are in it."""
    return _share(share, metric, interval=entry.seeds > 1)


def _share(share: Share | None, metric: str = "", interval: bool = True) -> Cell:
    if share is None:
        return Cell("–", None)
    small = f"\n[{100 * share.low:.1f}, {100 * share.high:.1f}]" if interval else ""
    return Cell(f"{100 * share.value:.1f}{small}", share.value, _tint(share.value) if metric == "auroc" else None)


def _tint(auroc: float) -> float:
    """0 at chance and below, 1 from 99.9 % on; every halving of what is missing adds the same."""
    return min(1.0, max(0.0, math.log(0.5 / max(1 - auroc, 1e-9)) / math.log(0.5 / 0.001)))


def _figures(figures: Figures) -> Cell:
    return Cell(f"{figures.main()}\n{figures.span()}", figures.value)


def _words(config: Mapping[str, Any], name: str) -> str:
    """A setting as text: `–` where it is not told, `none` where it is None."""
    if name not in config:
        return "–"
    return "none" if config[name] is None else str(config[name])


def _amount(value: Any) -> Cell:
    """A number for people: `271 k`, `4.2 M`, `13.5`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return Cell("–", None)
    for unit, word in ((1_000_000, " M"), (1000, " k")):
        if value >= unit:
            return Cell(f"{value / unit:.3g}{word}", value)
    return Cell(f"{value:g}", value)
