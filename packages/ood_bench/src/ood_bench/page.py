"""The report of a bench run: first the verdict, then curves and pictures, then every number and how it was run."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ood_shared import plots
from ood_shared.contract import NOVEL, PRETRAINED
from ood_shared.results.page import ROC_CAPTION, SCORES_CAPTION, circumstances, pair, settings_text, spoken
from ood_shared.results.schema import Record, ScoreArrays, split_scores
from ood_shared.results.thumbnails import Picture as Shown
from ood_shared.results.thumbnails import Pictures, png_of
from ood_shared.sections import Figure, Gallery, Picture, Section, Text

from ood_bench import operating, tables
from ood_bench.leaderboard import Entry
from ood_bench.summary import Row, caution, rows
from ood_bench.verdict import Verdict

SMOKE = (
    "Budget smoke trains for seconds. It shows that everything runs; its numbers say little about the methods. "
    "Compare methods with --budget quick or full."
)
SMOKE_PRETRAINED = (
    "Budget smoke takes at most 2,000 images to fit and 1,000 to test, on pretrained features that are not trained. "
    "Take --budget quick or full for more images."
)
SURE = 0.05  # p from which on a difference is called open
OPEN = 3  # methods, from the first, whose figures and pictures stand open
Result = tuple[Record, ScoreArrays]


def sections(
    results: Sequence[Result],
    failures: Mapping[str, Sequence[str]],
    command_line: str,
    settings: Mapping[str, Any],
    places: Sequence[Entry],
    pictures: Mapping[str, Pictures | None],
    verdict: Verdict | None = None,
    near: Collection[str] = (NOVEL,),
) -> list[Section]:
    """The sections of the report.

    Args:
        results: record and scores of every finished run.
        failures: for each failed run, named, its reason and the last lines of its log.
        command_line: the command that ran them.
        settings: its flags.
        places: the leaderboard of the results.
        pictures: by method, of its first result here, where it left any.
        verdict: which detector to take.
        near: OOD sets that are near; all others are far.
    """
    records = [record for record, _ in results]
    table = rows(records)
    found: list[Section] = [Text("Verdict", verdict.paragraphs(), command=verdict.command or "")] if verdict else []
    found.append(Text("", _headline(records, table, failures, settings, places, near)))
    if records:
        several = len(places) > 1
        names = tables.sets_of(places)
        columns = {ood: tables.labelled(ood, names, near) for ood in tables.ordered(names, near)}
        found += [tables.leaderboard(places)] if several else [tables.every_set(places, table, near)]
        found.append(operating.table(results, [entry.method for entry in places], columns))
        found += [tables.side_by_side(places, near)] if several else []
        found.append(tables.accuracy_and_cost(records, places))
        first = _first_seed(results, places)
        found += _roc_curves(first, near)
        for place, result in enumerate(first):
            method = result[0]["method"]
            folded = place >= OPEN and not (verdict and verdict.method == method)
            found.append(_histograms(result, near, folded))
            found += _pictures(result, pictures.get(method), near, folded)
        found += [tables.every_set(places, table, near)] if several else []
        found.append(tables.other_metrics(records, table, places, near))
    found += [Text(f"Failed: {name}", list(lines), code=True) for name, lines in failures.items()]
    found.append(Text("How it was run", [f"$ {command_line}", *(f"{k} = {v}" for k, v in settings.items())], code=True))
    if records:
        found += [tables.papers(records, places), circumstances(records)]
        found += [settings_text(record) for record, _ in first]
    return found


def _headline(
    records: Sequence[Record],
    table: Sequence[Row],
    failures: Mapping[str, Any],
    settings: Mapping[str, Any],
    places: Sequence[Entry],
    near: Collection[str],
) -> list[str]:
    done, all_runs = len(records), len(records) + len(failures)
    said = [f"{done} of {all_runs} runs finished." + (f" Failed: {', '.join(failures)}." if failures else "")]
    if records:
        sets = list(dict.fromkeys(row.ood for row in table))
        listed = ", ".join(tables.labelled(ood, sets, near) for ood in tables.ordered(sets, near))
        said.append(f"In-distribution: {records[0]['id_dataset']}, {_counts(table)}. Out-of-distribution: {listed}.")
        said += _answer(places, table, sets, near)
        said += filter(None, [caution(records)])
    said += [f"Left out: {method}: {reason}." for method, reason in (settings.get("left_out") or {}).items()]
    said += [f"About the images: {note.rstrip('.')}." for note in settings.get("notes") or ()]
    if settings.get("budget") == "smoke":
        said.append(SMOKE_PRETRAINED if settings.get("backbone") == PRETRAINED else SMOKE)
    return said


def _answer(places: Sequence[Entry], table: Sequence[Row], sets: Sequence[str], near: Collection[str]) -> list[str]:
    """Who is first, whose distance to it may be chance, and which set is hardest."""
    first, *others = places
    mean = first.means["all"]["auroc"]
    over = f" over {len(sets)} OOD sets" if len(sets) > 1 else ""
    lead = "Highest mean AUROC" if others else "Mean AUROC"
    interval = f" [{100 * mean.low:.1f}, {100 * mean.high:.1f}]" if first.seeds > 1 else ""
    line = f"{lead}{over}: {first.method}, {100 * mean.value:.1f} %{interval}."
    close = [entry.method for entry in others if entry.p is not None and entry.p >= SURE]
    if close:
        line += f" The distance to it may be chance (p ≥ {SURE}) for {', '.join(close)}."
    said = [line]
    if len(sets) > 1:
        best = {ood: max((row for row in table if row.ood == ood), key=_auroc) for ood in sets}
        hardest = min(sets, key=lambda ood: _auroc(best[ood]))
        top = best[hardest]
        said.append(
            f"Hardest set: {tables.labelled(hardest, sets, near)}, where the best AUROC is {100 * _auroc(top):.1f} % "
            f"({top.method})."
        )
    return said


def _auroc(row: Row) -> float:
    return row.metrics["auroc"].value


def _counts(table: Sequence[Row]) -> str:
    counts = sorted({row.n_id for row in table})
    return f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} test images"


def _roc_curves(results: Sequence[Result], near: Collection[str]) -> list[Section]:
    """One figure per OOD set with every method; for a single method one figure with every OOD set."""
    seeds = sorted({record["seed"] for record, _ in results})
    caption = f"{ROC_CAPTION} Seed {', '.join(map(str, seeds))}."
    found: list[Section] = []
    sets = list(dict.fromkeys(name for record, _ in results for name in record["ood_datasets"]))
    if len(results) == 1:
        record, scores = results[0]
        curves = {tables.labelled(ood, sets, near): pair(scores, ood) for ood in tables.ordered(sets, near)}
        method = record["method"]
        return [Figure(f"ROC: {method}", plots.roc(curves), caption, spoken(f"ROC curves of {method}", curves))]
    for ood in tables.ordered(sets, near):
        curves = {record["method"]: pair(scores, ood) for record, scores in results if ood in record["ood_datasets"]}
        name = tables.labelled(ood, sets, near)
        found.append(Figure(f"ROC: {name}", plots.roc(curves), caption, spoken(f"ROC curves against {name}", curves)))
    return found


def _histograms(result: Result, near: Collection[str], folded: bool) -> Figure:
    """A figure of a method with every OOD set."""
    record, scores = result
    sets = tables.ordered(record["ood_datasets"], near)
    labels = {tables.labelled(ood, sets, near): pair(scores, ood)[1] for ood in sets}
    figure = plots.histograms(split_scores(scores)[0], labels)
    caption = f"{record['method']}, seed {record['seed']}. {SCORES_CAPTION}"
    alternative = f"Histograms of the scores of {record['method']}: ID against each of {', '.join(labels)}."
    return Figure(f"Scores: {record['method']}", figure, caption, alternative, folded)


def _pictures(result: Result, pictures: Pictures | None, near: Collection[str], folded: bool) -> list[Section]:
    """The images that a method gets most wrong: ID first, then near and far OOD."""
    if pictures is None:
        return []
    record, scores = result
    named = pictures.classes
    id_name, counts = record["id_dataset"], [len(part) for part in split_scores(scores)]
    rows_ = [(f"{id_name} (ID)\nhighest scores of {counts[0]}", _strip(id_name, pictures.sets[id_name], named))]
    sets = record["ood_datasets"]
    for ood in tables.ordered(sets, near):
        entries = record["metrics"][ood]
        accepted = f"{100 * entries['fpr95_id_positive']['value']:.1f} % are accepted where 95 % of ID is kept"
        heading = f"{tables.labelled(ood, sets, near)}\nlowest scores of {entries['n_ood']}; {accepted}"
        rows_.append((heading, _strip(ood, pictures.sets[ood], named)))
    note = "Below each picture its score; then the class of an ID image; after the arrow the class it was taken for."
    return [Gallery(f"Where {record['method']} fails", rows_, note, folded)]


def _strip(name: str, shown: Sequence[Shown], classes: Sequence[str]) -> list[Picture]:
    pictures = []
    for number, picture in enumerate(shown, 1):
        own, taken = (_class(position, classes) for position in (picture.label, picture.prediction))
        about = own if taken in ("", own) else f"{own} → {taken}".strip()
        words = [f"class {own}"] if own else []
        words += [f"taken for {taken}"] if taken and taken != own else []
        spoken = ", ".join([f"{name}, image {number}: score {picture.score:.4g}", *words])
        below = "\n".join(filter(None, [f"{picture.score:.4g}", about]))
        pictures.append(Picture(png_of(picture.image), below, spoken))
    return pictures


def _class(position: int, classes: Sequence[str]) -> str:
    """Name of a class, its number where it has none; nothing for none."""
    if position < 0:
        return ""
    return classes[position] if position < len(classes) else str(position)


def _first_seed(results: Sequence[Result], places: Sequence[Entry]) -> list[Result]:
    """The first run of each method, in the order of the leaderboard: figures and settings show one seed."""
    found: dict[str, Result] = {}
    for result in results:
        found.setdefault(result[0]["method"], result)
    return [found[entry.method] for entry in places]
