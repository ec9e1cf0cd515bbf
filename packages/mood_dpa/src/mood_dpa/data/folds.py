"""Cross-validation folds: a CSV with `filename,test_fold`, and which cases a split of it holds."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mood_dpa.data.volumes import case_id
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
    """The CSV file's content."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("filename", "test_fold"), *rows])
    return out.getvalue()


def read_folds(path: Path) -> list[tuple[str, int]]:
    """Rows of a folds file.

    Raises:
        MissingFileError: it is not there.
        InputError: it has other columns, or a fold that is no number.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        raise MissingFileError(f"Folds file {path} is missing; create_folds.py makes one.") from None
    try:
        return [(row["filename"], int(row["test_fold"])) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} is no folds file: expected the columns filename and test_fold (a number).") from None


def cases_of(rows: Sequence[tuple[str, int]], split: str, fold: int) -> set[str]:
    """Case ids of a split: `val` is the fold, `train` the others, `all` everything."""
    if split not in SPLITS:
        raise InputError(f"split `{split}` is not known. Known: {', '.join(SPLITS)}.")
    wanted = {"train": lambda f: f != fold, "val": lambda f: f == fold, "all": lambda f: True}[split]
    return {case_id(name) for name, number in rows if wanted(number)}
