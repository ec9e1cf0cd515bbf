"""Cross-validation folds: a CSV with `filename,test_fold`, and which cases a split of it holds."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ood_shared.files import csv_cell, read_text, reading

from mood_dpa.data.names import case_id
from mood_dpa.shipped import with_shipped
from mood_dpa.standalone import InputError, MissingFileError

SPLITS = ("train", "val", "all")


def make_folds(names: Sequence[str], n_folds: int, draws: np.random.RandomState) -> list[tuple[str, int]]:
    """Names in a shuffled order, cut into folds of as equal size as can be, the first ones longer.

    Raises:
        InputError: fewer than 2 folds, or fewer names than folds.
    """
    if len(names) < 2:
        raise InputError(
            f"There are {len(names)} volumes (.nii.gz); folds need at least 2. Name the folder that holds them."
        )
    if n_folds < 2 or n_folds > len(names):
        raise InputError(f"{len(names)} volumes cannot be cut into {n_folds} folds; from 2 to {len(names)} can.")
    shuffled = list(names)
    draws.shuffle(shuffled)
    folds = np.array_split(np.arange(len(shuffled)), n_folds)
    return [(shuffled[i], fold) for fold, members in enumerate(folds) for i in members]


def folds_text(rows: Sequence[tuple[str, int]]) -> str:
    """The CSV file's content; a name that a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("filename", "test_fold"), *((csv_cell(name), fold) for name, fold in rows)])
    return out.getvalue()


def read_folds(path: Path) -> list[tuple[str, int]]:
    """Rows of a folds file, of a shipped one where there is none at the path.

    Raises:
        MissingFileError: it is in neither place.
        InputError: it has other columns, a fold that is no number, or a case in two folds.
    """
    path = with_shipped(path)
    if not path.exists():
        raise MissingFileError(f"Folds file {path} is missing; create_folds.py makes one.")
    wanted = f"{path} is no folds file: expected the columns filename and test_fold (a number)."
    with reading(path, "folds file", "Make it by create_folds.py."):
        table = list(csv.DictReader(io.StringIO(read_text(path, "a folds file"))))
        rows = []
        for row in table:
            name, fold = row.get("filename"), row.get("test_fold")
            if not name or fold is None or not fold.strip().isdecimal() or len(fold) > 9:
                raise InputError(wanted)
            rows.append((name[1:] if name[0] == "'" and csv_cell(name[1:]) == name else name, int(fold)))
    if not rows:
        raise InputError(wanted)
    _refuse_case_in_two_folds(path, rows)
    return rows


def cases_of(rows: Sequence[tuple[str, int]], split: str, fold: int) -> set[str]:
    """Case ids of a split: `val` is the fold, `train` the others, `all` everything.

    Raises:
        InputError: another split, or a fold that is not there.
    """
    if split not in SPLITS:
        raise InputError(f"split `{split}` is not known. Known: {', '.join(SPLITS)}.")
    known = sorted({number for _, number in rows})
    if split != "all" and fold not in known:
        raise InputError(f"fold {fold} is not in the folds file; it has {', '.join(map(str, known[:9]))}.")
    wanted = {"train": lambda f: f != fold, "val": lambda f: f == fold, "all": lambda f: True}[split]
    return {case_id(name) for name, number in rows if wanted(number)}


def _refuse_case_in_two_folds(path: Path, rows: Sequence[tuple[str, int]]) -> None:
    """A case in training and validation at once would make every number too good."""
    seen: dict[str, tuple[str, int]] = {}
    for name, fold in rows:
        before, number = seen.setdefault(case_id(name), (name, fold))
        if number != fold:
            raise InputError(
                f"{path}: {before} is in fold {number} and {name} in fold {fold}, but they are one case, "
                f"`{case_id(name)}` (the name up to the first `_` or dot). Rename the volumes and make the folds anew."
            )
