"""scripts/eval_ood.py: every run of a root folder, scored by one or several post-hoc scores."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ood_shared import distributed, files
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError

from ascood.build import identity_of, open_run
from ascood.data.suites import make_suite
from ascood.evaluator import Evaluator, Row
from ascood.report import results_table
from ascood.run_files import BEST
from ascood.scores.catalogue import AnyScore, make_score
from ascood.scores.names import SCORES
from ascood.tables import as_csv, as_text, cells, write_run_result

_RUNS = f"a folder with runs s0, s1, …, each with {BEST}"
_SOURCES = (
    "A training with main.py writes one; published ones come with bash scripts/download/download_ascood.sh, and the "
    "plain networks of the i-ODIN scripts with bash scripts/download/download.sh (--checkpoints ood_v1.5)."
)


def eval_ood(options: argparse.Namespace) -> int:
    """The program: flags in, tables out."""
    names = score_names(options.postprocessor, options.wrapper_net)
    for name in names:
        make_score(name)  # a misspelt name or a broken yml file shows before any work
    with distributed.setup(resolve_device(options.device)) as device:
        folders = run_folders(Path(options.root))
        suite = make_suite(options.id_data, options.data_dir, tuple(options.drop))
        tables: dict[str, list[list[Row]]] = {name: [] for name in names}
        for folder in folders:
            network = open_run(folder / BEST, options.network, options.wrapper_net, suite, device)
            evaluator = Evaluator(
                network,
                suite,
                folder if options.cache else None,
                device,
                identity_of(folder / BEST, network, options.wrapper_net),
                options.batch_size,
                options.num_workers,
                options.precision,
                options.fresh,
            )
            for name in names:
                rows = score_run(evaluator, make_score(name), options, folder)
                if rows:
                    tables[name].append(rows)
        tables = {name: runs for name, runs in tables.items() if runs}
        if not tables:
            raise InputError("No score could be computed; see the lines above.")
        if distributed.is_main():
            show(tables, Path(options.root) / ("fsood" if options.fsood else "ood"), options)
    return 0


def score_run(evaluator: Evaluator, score: AnyScore, options: argparse.Namespace, folder: Path) -> list[Row]:
    """The table of one score on one run. With several scores, one that does not fit is told and left out."""
    try:
        arrays, trials = evaluator.score_all(score, options.fsood, options.aps)
    except InputError as error:
        if options.postprocessor != "all":
            raise
        if distributed.is_main():
            print(f"warning: {score.name} is left out: {error}", file=sys.stderr)
        return []
    if distributed.is_main():
        if trials:
            files.write_json(
                folder / "postprocessors" / f"{score.name}.json",
                {"chosen": score.args, "trials": trials, "weights": evaluator.identity["weights"]},
            )
        if options.save_score or options.save_csv:
            write_run_result(folder, evaluator, score, arrays, options)
    return evaluator.table(arrays, options.fsood)


def score_names(text: str, wrapper: str | None) -> list[str]:
    """The scores that `--postprocessor` names: one, several separated by commas, or `all` that the network allows."""
    if text == "all":
        return [name for name in SCORES if name != "t2fnorm" or wrapper == "T2FNormNet"]
    return [name for name in text.split(",") if name]


def run_folders(root: Path) -> list[Path]:
    """The subfolders s* of a root, sorted.

    Raises:
        MissingFileError: the root, or a run's best.ckpt, is not there.
        InputError: the root has no such subfolder.
    """
    if not root.is_dir():
        near = [path.name for path in root.parent.glob("*") if path.is_dir()] if root.parent.is_dir() else []
        hint = f" {root.parent} holds: {', '.join(sorted(near)[:6])}." if near else ""
        raise MissingFileError(f"--root {root} is missing; expected {_RUNS}.{hint} {_SOURCES}")
    found = sorted(path for path in root.glob("s*") if path.is_dir())
    if not found:
        raise InputError(f"--root {root} has no subfolder s*; expected {_RUNS}. {_SOURCES}")
    for folder in found:
        if not (folder / BEST).is_file():
            raise MissingFileError(f"{folder / BEST} is missing. Train the run to the end, or remove the folder.")
    return found


def show(tables: Mapping[str, list[list[Row]]], place: Path, options: argparse.Namespace, spread: bool = True) -> None:
    """Print the tables, or write them with `--save-csv`; with several scores a summary beside them."""
    for name, runs in tables.items():
        rows = cells(runs, spread)
        if options.save_csv:
            path = place / f"{name}.csv"
            if path.is_file() and not spread:  # the ImageNet program keeps what is there
                print(f"{path} is kept.")
                continue
            files.write_text(path, as_csv(rows))
            print(f"{path} written")
        if not options.save_csv or len(tables) == 1:
            print(as_text(rows, f"{name}, {len(runs)} run(s), percent"), flush=True)
    if len(tables) > 1:
        summary = [
            [name, *row[1:]]
            for name, runs in tables.items()
            for row in cells(runs, spread)
            if row[0] in ("nearood", "farood")
        ]
        labels = [row[0] for runs in tables.values() for row in cells(runs, spread) if row[0] in ("nearood", "farood")]
        rows = [[f"{name} {label}", *rest] for (name, *rest), label in zip(summary, labels, strict=True)]
        print(as_text(rows, "all scores, percent"), flush=True)
        if options.save_csv:
            files.write_text(place / "summary.csv", as_csv(rows))
    _write_page(tables, place, spread)


def _write_page(tables: Mapping[str, list[list[Row]]], place: Path, spread: bool) -> None:
    from ood_shared.report import write_report

    from ascood.metrics import COLUMNS

    if place.is_dir():
        header = ["set", *COLUMNS]
        note = "Percent; FPR@95 is the share of ID flagged where 95 % of OOD are caught."
        sections = [results_table(name, header, cells(runs, spread), note) for name, runs in tables.items()]
        write_report(place / "report.html", f"OOD detection, {place.parent.name}", sections)
