"""scripts/eval_ood.py: every run of a root folder, scored by one or several post-hoc scores."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_shared import distributed, files
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError, nearest

from ascood.build import identity_of, open_run
from ascood.data.suites import make_suite
from ascood.evaluator import Evaluator, Row
from ascood.figures import evaluation_report
from ascood.run_files import BEST
from ascood.scores.catalogue import AnyScore, make_score
from ascood.scores.names import SCORES
from ascood.tables import as_csv, as_text, cells, write_run_result

_RUNS = f"a folder with runs s0, s1, …, each with {BEST}"
_SOURCES = (
    "A training with main.py writes one; `ascood download --checkpoints all` says where published ones "
    "come from, also the plain networks of the i-ODIN scripts."
)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation is asked for.

    Attributes:
        names: of the scores; with `all` those that do not fit a network are left out.
        lenient: whether it was `all`.
        wrapper: name of the head around the backbone; None for none.
        fsood: whether covariate-shifted sets count as ID.
        aps: whether hyper-parameters are searched.
        save_csv, save_score: what is written.
    """

    names: tuple[str, ...]
    lenient: bool
    wrapper: str | None
    fsood: bool
    aps: bool
    save_csv: bool
    save_score: bool

    @classmethod
    def of(cls, options: argparse.Namespace, wrapper: str | None) -> "Evaluation":
        """Of the flags.

        Raises:
            InputError: a misspelt name or a broken yml file, which so shows before any work.
        """
        names = tuple(score_names(options.postprocessor, wrapper))
        for name in names:
            make_score(name)
        lenient = options.postprocessor == "all"
        return cls(names, lenient, wrapper, options.fsood, options.aps, options.save_csv, options.save_score)

    @property
    def part(self) -> str:
        """Name of the folder of the tables."""
        return "fsood" if self.fsood else "ood"


def eval_ood(options: argparse.Namespace) -> int:
    """The program: flags in, tables out."""
    asked = Evaluation.of(options, options.wrapper_net)
    with distributed.setup(resolve_device(options.device)) as device:
        folders = run_folders(Path(options.root))
        suite = make_suite(options.id_data, options.data_dir, tuple(options.drop))
        if asked.fsood and not suite.csid and distributed.is_main():
            print(f"note: --fsood adds nothing: {options.id_data} has no covariate-shifted sets.")
        tables: dict[str, list[list[Row]]] = {name: [] for name in asked.names}
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
            for name in asked.names:
                rows = score_run(evaluator, make_score(name), asked, folder)
                if rows:
                    tables[name].append(rows)
        tables = {name: runs for name, runs in tables.items() if runs}
        if not tables:
            raise InputError("No score could be computed: no set is left, or see the lines above.")
        if distributed.is_main():
            show(tables, Path(options.root) / asked.part, asked)
    return 0


def score_run(evaluator: Evaluator, score: AnyScore, asked: Evaluation, folder: Path) -> list[Row]:
    """The table of one score on one run. With several scores, one that does not fit is told and left out."""
    try:
        arrays, trials = evaluator.score_all(score, asked.fsood, asked.aps)
    except InputError as error:
        if not asked.lenient:
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
        if asked.save_score or asked.save_csv:
            write_run_result(folder, evaluator, score, arrays, asked.wrapper, asked.aps, asked.fsood)
    return evaluator.table(arrays, asked.fsood)


def score_names(text: str, wrapper: str | None) -> list[str]:
    """The scores that `--postprocessor` names: one, several separated by commas, or `all` that the network allows.

    Raises:
        InputError: none, or `all` among others.
    """
    if text == "all":
        return [name for name in SCORES if name != "t2fnorm" or wrapper == "T2FNormNet"]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or "all" in names:
        raise InputError(f"--postprocessor is `{text}`; expected names of scores separated by commas, or all alone.")
    return names


def run_folders(root: Path) -> list[Path]:
    """The subfolders s* of a root, sorted.

    Raises:
        MissingFileError: the root, or a run's best.ckpt, is not there.
        InputError: the root has no such subfolder.
    """
    if not root.is_dir():
        near = [path.name for path in root.parent.glob("*") if path.is_dir()] if root.parent.is_dir() else []
        guess = nearest(root.name, near)
        hint = "" if guess is None else f" Did you mean `{root.parent / guess}`?"
        raise MissingFileError(f"--root {root} is missing; expected {_RUNS}.{hint} {_SOURCES}")
    if (root / BEST).is_file():
        raise InputError(f"--root {root} is one run; pass the folder above it, which holds {_RUNS}.")
    runs = sorted(path for path in root.glob("s*") if path.is_dir())
    if not runs:
        raise InputError(f"--root {root} has no subfolder s*; expected {_RUNS}. {_SOURCES}")
    for folder in runs:
        if not (folder / BEST).is_file():
            raise MissingFileError(f"{folder / BEST} is missing. Train the run to the end, or remove the folder.")
    return runs


def show(tables: Mapping[str, list[list[Row]]], folder: Path, asked: Evaluation, spread: bool = True) -> None:
    """Print the tables, or write them with `--save-csv`; with several scores a summary beside them."""
    for name, runs in tables.items():
        rows = cells(runs, spread)
        if asked.save_csv:
            path = folder / f"{name}.csv"
            if path.is_file() and not spread:  # the ImageNet program keeps what is there
                print(f"{path} is kept.")
                continue
            files.write_text(path, as_csv(rows))
            print(f"{path} written")
        if not asked.save_csv or len(tables) == 1:
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
        if asked.save_csv:
            files.write_text(folder / "summary.csv", as_csv(rows))
    if folder.is_dir():
        evaluation_report(folder, {name: cells(runs, spread) for name, runs in tables.items()})
