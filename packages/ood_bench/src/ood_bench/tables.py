"""The tables of the report: methods in order, every OOD set, accuracy and cost, the rarer metrics.

Near OOD sets stand before far ones and are named so. Values are in percent, with the interval small below.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ood_shared.report import Cell, Table
from ood_shared.results.schema import Record

from ood_bench.leaderboard import METRICS, Entry, Share
from ood_bench.summary import MAIN, SETTLED, Figures, MethodRow, Row, costs, method_rows, span_words

NAMES = MAIN | {"fpr95_id_positive": "FPR95, ID positive ↓"}  # of METRICS
OTHERS = {
    "fpr80": "FPR80 ↓",
    "fpr80_id_positive": "FPR80, ID positive ↓",
    "detection_error": "detection error ↓",
    "aupr_in_trapezoid": "AUPR in, trapezoid ↑",
    "aupr_out_trapezoid": "AUPR out, trapezoid ↑",
}
AnyRow = TypeVar("AnyRow", Row, MethodRow)
INTERVAL = "95 % interval over resampled test images and seeds"
ID_POSITIVE = "ID positive: share of OOD accepted at the threshold that keeps 95 % of ID."


def ordered(sets: Collection[str], near: Collection[str]) -> list[str]:
    """The names, near ones first."""
    return [name for name in sets if name in near] + [name for name in sets if name not in near]


def labelled(ood: str, sets: Collection[str], near: Collection[str]) -> str:
    """The name, with `near` or `far` where there are near sets."""
    return f"{ood} ({'near' if ood in near else 'far'})" if set(near) & set(sets) else ood


def leaderboard(places: Sequence[Entry]) -> Table:
    """The methods in order, by means over the OOD sets; near and far apart, when there are both."""
    groups = [group for group in ("near", "far") if any(group in entry.means for entry in places)]
    columns = [(group, "auroc") for group in (*groups, "all")] + [("all", name) for name in METRICS[1:]]
    head = [NAMES[name] if group == "all" else f"{group} {NAMES[name]}" for group, name in columns]
    rows: list[list[str | Cell]] = []
    for place, entry in enumerate(places, 1):
        cells: list[str | Cell] = [_share(entry.means.get(group, {}).get(name)) for group, name in columns]
        tested: list[str | Cell] = [_share(entry.behind), "–" if entry.p is None else f"{entry.p:.3f}"]
        rows.append([entry.method, str(place), *cells, *tested])
    apart = "near: the novel classes, kept out of training; far: the others; no word: all" if groups else "all"
    note = (
        f"In %, means over the OOD sets ({apart}); small: {INTERVAL}. {SETTLED} {ID_POSITIVE} Behind first: difference "
        "in mean AUROC to the first row on the same resamples; p: two-sided bootstrap probability of no difference, "
        f"not corrected for the number of methods; – for a method that saw other test images."
    )
    return Table("Leaderboard", ["method", "place ↓", *head, "behind first ↓", "p ↑"], rows, note=note, sortable=True)


def side_by_side(places: Sequence[Entry], near: Collection[str]) -> Table:
    """AUROC: a row for each method, a column for each OOD set."""
    sets = ordered(_sets_of(places), near)
    rows: list[list[str | Cell]] = [
        [entry.method, *(_share(entry.sets.get(ood, {}).get("auroc")) for ood in sets)] for entry in places
    ]
    head = [labelled(ood, sets, near) for ood in sets]
    note = f"AUROC in %, small: {INTERVAL}."
    return Table("AUROC side by side", ["method", *head], rows, note=note, sortable=True)


def every_set(places: Sequence[Entry], table: Sequence[Row], near: Collection[str]) -> Table:
    """Every metric on every OOD set, and the mean over the far ones; for one method without headings."""
    names = _sets_of(places)
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
        [heading, *([method] if several else []), *map(_share, _main(cells))] for heading, method, cells in cells_by_set
    ]
    return Table(
        "Every OOD set",
        ["OOD set", *(["method"] if several else []), *NAMES.values()],
        rows,
        note=f"In %, small: {INTERVAL}. {SETTLED} {ID_POSITIVE}",
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


def _sets_of(places: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(ood for entry in places for ood in entry.sets))


def _counts(rows: Sequence[Row]) -> str:
    """How many images the metrics rest on; methods may have scored different numbers."""
    spans = [sorted({row.n_ood for row in rows}), sorted({row.n_id for row in rows})]
    ood, of_id = (f"{span[0]}" if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans)
    return f"{ood} images against {of_id} of ID"


def _main(shares: Mapping[str, Share]) -> list[Share]:
    return [shares[name] for name in NAMES]


def _share(share: Share | None) -> Cell:
    if share is None:
        return Cell("–", None)
    return Cell(f"{100 * share.value:.1f}\n[{100 * share.low:.1f}, {100 * share.high:.1f}]", share.value)


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
