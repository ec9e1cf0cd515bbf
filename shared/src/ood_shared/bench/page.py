"""The report of a bench run: first the answer, then curves and histograms, then everything else and how it was run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ood_shared import metrics, plots
from ood_shared.bench.fields import Record, ScoreArrays, split_scores
from ood_shared.bench.leaderboard import Entry, Share
from ood_shared.bench.summary import MAIN, SETTLED, Figures, Row, costs, means, method_rows, rows, span_words
from ood_shared.report import Figure, Section, Table, Text

OTHERS = {
    "fpr95_id_positive": "FPR95, ID positive ↓",
    "fpr80": "FPR80 ↓",
    "fpr80_id_positive": "FPR80, ID positive ↓",
    "detection_error": "detection error ↓",
    "aupr_in_trapezoid": "AUPR in, trapezoid ↑",
    "aupr_out_trapezoid": "AUPR out, trapezoid ↑",
}
SMOKE = (
    "Budget smoke trains for seconds. It shows that everything runs; its numbers say little about the methods. "
    "Compare methods with --budget quick or full."
)
Result = tuple[Record, ScoreArrays]


def sections(
    results: Sequence[Result],
    failures: Mapping[str, Sequence[str]],
    command_line: str,
    settings: Mapping[str, Any],
    places: Sequence[Entry] = (),
) -> list[Section]:
    """The sections of the report.

    Args:
        results: record and scores of every finished run.
        failures: for each failed run, named, its reason and the last lines of its log.
        command_line: the command that ran them.
        settings: its flags.
        places: the leaderboard, for a comparison of several methods.
    """
    records = [record for record, _ in results]
    table = rows(records)
    first = _first_seed(results)
    found: list[Section] = [Text("", _headline(records, table, failures, settings))]
    if records:
        found += [*_leaderboard(places), _summary(records, table), *_at_a_glance(table), _methods(records)]
        found += [*_roc_curves(first), *_histograms(first), _other_metrics(records, table)]
    found += [Text(f"Failed: {name}", list(lines), code=True) for name, lines in failures.items()]
    found.append(Text("How it was run", [f"$ {command_line}", *(f"{k} = {v}" for k, v in settings.items())], code=True))
    if records:
        found.append(_circumstances(records))
        found += [_settings_of(record) for record, _ in first]
    return found


def _headline(
    records: Sequence[Record], table: Sequence[Row], failures: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    done, all_runs = len(records), len(records) + len(failures)
    said = [f"{done} of {all_runs} runs finished." + (f" Failed: {', '.join(failures)}." if failures else "")]
    if records:
        sets = list(dict.fromkeys(row.ood for row in table))
        average = means(table)
        best = max(average, key=lambda method: average[method])
        hardest = min(sets, key=lambda ood: max(row.metrics["auroc"].value for row in table if row.ood == ood))
        said.append(
            f"In-distribution: {records[0]['id_dataset']}, {table[0].n_id} test inputs. "
            f"Out-of-distribution: {', '.join(sets)}."
        )
        lead = "Highest mean AUROC" if len(average) > 1 else "Mean AUROC"
        over = f" over {len(sets)} OOD sets" if len(sets) > 1 else ""
        said.append(f"{lead}{over}: {best}, {100 * average[best]:.1f} %." + _hardest(hardest, table, len(sets)))
    if settings.get("budget") == "smoke":
        said.append(SMOKE)
    return said


def _hardest(ood: str, table: Sequence[Row], sets: int) -> str:
    value = max(row.metrics["auroc"].value for row in table if row.ood == ood)
    return f" Hardest set: {ood}, where the best AUROC is {100 * value:.1f} %." if sets > 1 else ""


def _leaderboard(places: Sequence[Entry]) -> list[Section]:
    """The methods in order; near and far OOD sets apart, when there are both."""
    if len(places) < 2:
        return []
    groups = [group for group in ("near", "far") if any(group in entry.means for entry in places)]
    means = [(group, "auroc") for group in (*groups, "all")] + [("all", name) for name in MAIN if name != "auroc"]
    means.append(("all", "fpr95_id_positive"))
    head = [f"{group} {MAIN.get(name) or OTHERS[name]}".removeprefix("all ") for group, name in means]
    rows = []
    for place, entry in enumerate(places, 1):
        cells = [_share(entry.means[group][name]) if group in entry.means else "–" for group, name in means]
        behind = "–" if entry.behind is None else _share(entry.behind)
        rows.append([str(place), entry.method, *cells, behind, "–" if entry.p is None else f"{entry.p:.3f}"])
    apart = "near: the novel classes, kept out of training; far: all others; no word: all" if groups else "all"
    note = (
        f"In %, means over the OOD sets ({apart}); small: 95 % interval over resampled test "
        "images and seeds. Behind first: difference in mean AUROC to the first row on the same resamples; p: two-sided "
        "bootstrap probability of no difference, not corrected for the number of methods. A click on a head sorts."
    )
    return [Table("Leaderboard", ["#", "method", *head, "behind first", "p"], rows, note=note, sortable=True)]


def _share(share: Share) -> str:
    return f"{100 * share.value:.1f}\n[{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _summary(records: Sequence[Record], table: Sequence[Row]) -> Table:
    return Table(
        "Summary",
        ["method", "OOD set", *MAIN.values()],
        [[row.method, f"{row.ood}\nn = {row.n_ood}", *(_cell(row.metrics[name]) for name in MAIN)] for row in table],
        note=f"In %, small: {span_words(records)}. {SETTLED}",
        grouped=True,
    )


def _at_a_glance(table: Sequence[Row]) -> list[Section]:
    """AUROC of the methods side by side, when there are several."""
    methods = list(dict.fromkeys(row.method for row in table))
    if len(methods) < 2:
        return []
    values = {(row.ood, row.method): row.metrics["auroc"].main() for row in table}
    sets = dict.fromkeys(row.ood for row in table)
    side_by_side = [[ood, *(values.get((ood, method), "–") for method in methods)] for ood in sets]
    average = means(table)
    side_by_side.append(["mean", *(f"{100 * average[method]:.1f}" for method in methods)])
    note = "In %. Differences within the intervals of the summary are not differences between methods."
    return [Table("AUROC side by side", ["OOD set", *methods], side_by_side, note=note)]


def _methods(records: Sequence[Record]) -> Table:
    return Table(
        "Accuracy and cost",
        ["method", "ID accuracy", "training", "scoring of 1000", "peak memory", "paper"],
        [
            [row.method, _cell(row.id_accuracy) if row.id_accuracy else "–", *costs(row), row.paper]
            for row in method_rows(records)
        ],
        note="ID accuracy in %: share of ID test inputs whose class is predicted rightly; – where none is predicted.",
    )


def _roc_curves(results: Sequence[Result]) -> list[Section]:
    """One figure per OOD set with every method; for a single method one figure with every OOD set."""
    caption = "OOD is the positive class. Up and to the left is better."
    found: list[Section] = []
    if len(results) == 1:
        record, scores = results[0]
        curves = {ood: _pair(scores, ood) for ood in record["ood_datasets"]}
        method = record["method"]
        return [Figure(f"ROC: {method}", plots.roc(curves), caption, _spoken(f"ROC curves of {method}", curves))]
    for ood in dict.fromkeys(name for record, _ in results for name in record["ood_datasets"]):
        curves = {record["method"]: _pair(scores, ood) for record, scores in results if ood in record["ood_datasets"]}
        found.append(Figure(f"ROC: {ood}", plots.roc(curves), caption, _spoken(f"ROC curves against {ood}", curves)))
    return found


def _histograms(results: Sequence[Result]) -> list[Section]:
    """One figure per method with every OOD set."""
    found: list[Section] = []
    for record, scores in results:
        id_scores, *ood_scores = split_scores(scores)
        figure = plots.histograms(id_scores, dict(zip(record["ood_datasets"], ood_scores, strict=True)))
        caption = f"{record['method']}, seed {record['seed']}. Higher score = more OOD; less overlap is better."
        found.append(Figure(f"Scores: {record['method']}", figure, caption))
    return found


def _other_metrics(records: Sequence[Record], table: Sequence[Row]) -> Table:
    return Table(
        "Other metrics",
        ["method", "OOD set", *OTHERS.values()],
        [[row.method, row.ood, *(_cell(row.metrics[name]) for name in OTHERS)] for row in table],
        note=(
            f"In %, small: {span_words(records)}. ID positive: share of OOD accepted at the threshold that keeps "
            "95 % (80 %) of ID. Detection error: least mean of both error rates. Trapezoid: area under the "
            "precision-recall curve by the trapezoidal rule; elsewhere AUPR is average precision."
        ),
        grouped=True,
    )


def _circumstances(records: Sequence[Record]) -> Table:
    """Versions and hardware, one column for all methods where they agree."""
    entries: dict[str, dict[str, str]] = {}
    for record in records:
        about = {**record["hardware"], **record["versions"], "commit": record["commit"]}
        for name, value in about.items():
            entries.setdefault(name, {})[record["method"]] = "–" if value is None else str(value)
    found = []
    for name, by_method in entries.items():
        different = set(by_method.values())
        listed = "\n".join(f"{method}: {value}" for method, value in by_method.items())
        found.append([name, next(iter(different)) if len(different) == 1 else f"differs\n{listed}"])
    return Table("Hardware and versions", ["what", "found"], found)


def _settings_of(record: Record) -> Text:
    about = {"config": record["config"], "checkpoint_sha256": record["checkpoint_sha256"]}
    text = json.dumps(about, indent=2, ensure_ascii=False)
    return Text(f"Settings: {record['method']}, seed {record['seed']}", text.splitlines(), code=True)


def _first_seed(results: Sequence[Result]) -> list[Result]:
    """The first run of each method: figures and settings show one seed."""
    found: dict[str, Result] = {}
    for result in results:
        found.setdefault(result[0]["method"], result)
    return list(found.values())


def _pair(scores: ScoreArrays, ood: str) -> tuple[Any, Any]:
    id_scores, *ood_scores = split_scores(scores)
    return id_scores, ood_scores[scores["names"].tolist()[1:].index(ood)]


def _spoken(what: str, curves: Mapping[str, tuple[Any, Any]]) -> str:
    areas = {name: metrics.evaluate(*pair)["auroc"] for name, pair in curves.items()}
    return f"{what}. AUROC: " + ", ".join(f"{name} {area:.3f}" for name, area in areas.items()) + "."


def _cell(figures: Figures) -> str:
    return f"{figures.main()}\n{figures.span()}"
