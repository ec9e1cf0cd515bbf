"""What a person reads of a result: `report.html`, `roc.png`, `histograms.png`, for the test commands of the packages.

`ood-bench` shows several results on one page of its own, and takes the parts about a single one from here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ood_shared import metrics, plots
from ood_shared.report import write_report
from ood_shared.results.schema import Record, ScoreArrays, split_scores
from ood_shared.sections import Figure, Section, Table, Text

ROC, HISTOGRAMS, REPORT = "roc.png", "histograms.png", "report.html"
COLUMNS = {
    "auroc": "AUROC ↑",
    "aupr_in": "AUPR in ↑",
    "aupr_out": "AUPR out ↑",
    "fpr95": "FPR95 ↓",
    "fpr95_id_positive": "FPR95, ID positive ↓",
}  # metrics of `result.json` and their headings
ROC_CAPTION = "OOD is the positive class. False alarms on a logarithmic axis; up and to the left is better."
SCORES_CAPTION = (
    "Higher score = more OOD; less overlap is better. The axis is the quantile of the ID scores, so that no far set "
    "squeezes the others: ID is flat, and the last of 20 bars is the share caught at about 5 % false alarms."
)


def write_page(
    folder: Path,
    record: Record,
    scores: ScoreArrays,
    title: str,
    command: str,
    first: Sequence[Section] = (),
) -> None:
    """Write the two pictures and the report of a result into its folder.

    Args:
        folder: of `result.json`; it exists.
        record: its entries.
        scores: arrays of `scores.npz`.
        title: of the report.
        command: the command line that made the result.
        first: sections that stand before the others: what the paper's own table shows.
    """
    reference, curves = id_scores(scores), curves_of(record, scores)
    plots.save(plots.roc(curves), folder / ROC)
    plots.save(plots.histograms(reference, {name: ood for name, (_, ood) in curves.items()}), folder / HISTOGRAMS)
    sections = [
        Text("", _headline(record)),
        *first,
        sets_table(record),
        Figure("ROC curves", (folder / ROC).read_bytes(), ROC_CAPTION, spoken("ROC curves", curves)),
        Figure("Scores", (folder / HISTOGRAMS).read_bytes(), SCORES_CAPTION, f"Histograms: ID, {', '.join(curves)}."),
        Text("How it was run", [f"$ {command}"], code=True),
        circumstances([record]),
        settings_text(record),
    ]
    write_report(folder / REPORT, title, sections)


def sets_table(record: Record) -> Table:
    """Every OOD set of a result with its main metrics in percent, and their 95 % intervals over images."""
    rows = []
    for name, cells in record["metrics"].items():
        shares = [percent(cells[key]) for key in COLUMNS]
        rows.append([f"{name}\n{cells['n_id']} ID, {cells['n_ood']} OOD", *shares])
    note = (
        "In %; small: 95 % interval over resampled test images only; how much a training varies is not in it. FPR95: "
        "share of ID flagged where 95 % of OOD are caught; ID positive: share of OOD accepted at the threshold that "
        "keeps 95 % of ID."
    )
    return Table("Every OOD set", ["OOD set", *COLUMNS.values()], rows, note=note, sortable=True)


def circumstances(records: Sequence[Record]) -> Table:
    """Versions and hardware, one column for all methods where they agree."""
    entries: dict[str, dict[str, str]] = {}
    for record in records:
        about = {**record["hardware"], **record["versions"], "commit": record["commit"]}
        for name, value in about.items():
            entries.setdefault(name, {})[record["method"]] = "–" if value is None else str(value)
    rows = []
    for name, by_method in entries.items():
        different = set(by_method.values())
        listed = "\n".join(f"{method}: {value}" for method, value in by_method.items())
        rows.append([name, next(iter(different)) if len(different) == 1 else f"differs\n{listed}"])
    return Table("Hardware and versions", ["what", "found"], rows)


def settings_text(record: Record) -> Text:
    """The settings of a result, folded."""
    about = {"config": record["config"], "checkpoint_sha256": record["checkpoint_sha256"]}
    text = json.dumps(about, indent=2, ensure_ascii=False)
    return Text(f"Settings: {record['method']}, seed {record['seed']}", text.splitlines(), True, True)


def percent(entry: Mapping[str, float]) -> str:
    """A share and its interval, in percent, on two lines."""
    return f"{100 * entry['value']:.1f}\n{100 * entry['low']:.1f} to {100 * entry['high']:.1f}"


def id_scores(scores: ScoreArrays) -> np.ndarray:
    """Scores (n,) of the ID test images."""
    return split_scores(scores)[0]


def pair(scores: ScoreArrays, ood: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the ID test images and of an OOD set."""
    reference, *others = split_scores(scores)
    return reference, others[scores["names"].tolist()[1:].index(ood)]


def curves_of(record: Record, scores: ScoreArrays) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`pair` for every OOD set, by name."""
    return {name: pair(scores, name) for name in record["ood_datasets"]}


def spoken(what: str, curves: Mapping[str, tuple[Any, Any]]) -> str:
    """What a figure of ROC curves shows, for those who do not see it."""
    areas = {name: metrics.evaluate(*both)["auroc"] for name, both in curves.items()}
    return f"{what}. AUROC: " + ", ".join(f"{name} {area:.3f}" for name, area in areas.items()) + "."


def _headline(record: Record) -> list[str]:
    areas = {name: 100 * cells["auroc"]["value"] for name, cells in record["metrics"].items()}
    accuracy, hardest = record["id_accuracy"], min(areas, key=lambda name: areas[name])
    n_id = record["metrics"][hardest]["n_id"]
    lines = [
        f"In-distribution: {record['id_dataset']}, {n_id} test images"
        + ("." if accuracy is None else f", accuracy {100 * accuracy['value']:.1f} %."),
        f"Mean AUROC over {len(areas)} OOD sets: {sum(areas.values()) / len(areas):.1f} %."
        if len(areas) > 1
        else f"AUROC against {hardest}: {areas[hardest]:.1f} %.",
    ]
    if len(areas) > 1:
        lines.append(f"Hardest set: {hardest}, AUROC {areas[hardest]:.1f} %.")
    return lines
