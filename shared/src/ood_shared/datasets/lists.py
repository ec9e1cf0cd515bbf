"""OpenOOD's image lists: `relative/path label` on each line, one list for each split.

Lists of Windows are read too: a byte order mark, its line ends, and backslashes in paths where no file has such a name.
"""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.imageset import missing_split
from ood_shared.datasets.labels import read_labels
from ood_shared.errors import InputError, one_line
from ood_shared.files import check_name, read_text

_SPLIT_WORD = re.compile(r"(?<![a-z0-9])(train|val|test)(?![a-z0-9])")


class ImageList(NamedTuple):
    """What an image list says: for each image its name for messages, its file and its class; and of the whole."""

    files: list[tuple[str, Path]]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_list(path: Path, split: str, root: Path) -> ImageList:
    """An OpenOOD image list: `relative/path label` on each line. A list whose labels are all -1 is one class.

    Classes are counted over the lists of all splits, so that they have the same numbers in each.

    Args:
        path: of the list, or of another split's beside it.
        split: that is wanted.
        root: folder from which the paths start.

    Raises:
        MissingFileError: no such list.
        InputError: a line of another form, no lines, or -1 beside classes.
    """
    lists = _lists_beside(path, split)
    entries = {word: _entries(file, root) for word, file in lists.items()}
    own = np.array([label for _, _, label in entries[split]], dtype=np.int64)
    files = [(shown, file) for shown, file, _ in entries[split]]
    if own.max() < 0:
        return ImageList(files, np.zeros_like(own), ("unlabelled",), ())
    labels = {word: np.array([label for _, _, label in found]) for word, found in entries.items()}
    labelled = read_labels(lists[split], {word: found for word, found in labels.items() if found.max() >= 0})
    return ImageList(files, labelled.labels[split], labelled.classes, labelled.notes)


def _entries(path: Path, root: Path) -> list[tuple[str, Path, int]]:
    """Name for messages, file and label of each line of a list."""
    found = []
    for number, line in enumerate(read_text(path, "an image list").split("\n"), start=1):
        entry = parse_line(line, f"{path}, line {number}", root)
        if entry is not None:
            found.append((f"{path.name}, line {number}: {root / entry[0]}", root / entry[0], entry[1]))
    if not found:
        raise InputError(f"{path} lists no images; expected lines of `relative/path label`.")
    labels = [label for _, _, label in found]
    if min(labels) < 0 < max(labels) + 1:
        raise InputError(f"{path} mixes the label -1 (no class) with classes; expected either.")
    return found


def parse_line(line: str, where: str, root: Path) -> tuple[PurePosixPath, int] | None:
    """Path and label of a line of an image list; None for an empty one.

    Args:
        line: `relative/path label`.
        where: for messages.
        root: folder from which the path starts.

    Raises:
        InputError: another form, or a path that leads out of the folder.
    """
    words = line.rsplit(maxsplit=1)
    if not words:
        return None
    if len(words) != 2 or not re.fullmatch(r"-1|\d{1,6}", words[1]):
        raise InputError(f"{where}: `{one_line(line, 80)}`; expected `relative/path label`, label -1 or more.")
    written = words[0].strip()
    check_name(written, where)
    relative = PurePosixPath(written)
    if "\\" in written and not os.path.lexists(root / relative):  # written on Windows
        relative = PurePosixPath(written.replace("\\", "/"))
    if relative.is_absolute() or PureWindowsPath(written).drive or ".." in relative.parts:
        raise InputError(f"{where}: `{one_line(written, 120)}` leads out of {root}; expected a path below it.")
    return relative, int(words[1])


def _lists_beside(path: Path, split: str) -> dict[str, Path]:
    """The lists of all splits: `test_x.txt` leads to `train_x.txt` beside it. No split in the name: a test list."""
    word = _SPLIT_WORD.search(path.name)
    if word is None:
        if split != "test":
            raise missing_split(str(path), split, ["test"], f"Name the lists `{split}_….txt` and `test_….txt`.")
        return {"test": path}
    beside = {
        s: path.with_name(path.name[: word.start()] + s + path.name[word.end() :]) for s in ("train", "val", "test")
    }
    present = {s: file for s, file in beside.items() if file.is_file()}
    if split not in present:
        raise missing_split(str(path), split, list(present), f"Expected {beside[split].name} beside it.")
    return present
