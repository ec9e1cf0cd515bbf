"""Images that belong together, such as a patient's: kept on one side of every split, drawn together for intervals."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.formats import scan_of
from ood_shared.datasets.imageset import ImageSet
from ood_shared.errors import InputError, MissingFileError, one_line
from ood_shared.files import path_of, read_text, reading, regular


def of_scans(images: ImageSet) -> tuple[str, ...] | None:
    """The scan of each image, where some are slices `scan.nii.gz#17`: neighbours must not be told apart by a split."""
    if images.names is None:
        return None
    scans = tuple(map(scan_of, images.names))
    return None if scans == tuple(images.names) else scans


def groups_of(images: ImageSet, group: str) -> tuple[str, ...]:
    """The group of each image of a set; see `group_names`."""
    return group_names(images.names, images.name, group)


def group_names(names: Sequence[str] | None, of: str, group: str) -> tuple[str, ...]:
    """The group of each image.

    Args:
        names: of the images, such as their paths below the set's folder; None where they have none.
        of: name of the set, for messages.
        group: a number, the folder at that depth of their path (1 is the first below the set's); or a CSV with the
            columns `file` and another one.

    Raises:
        InputError: the images have no names, a path is too short, or the CSV lacks images.
    """
    if names is None:
        raise InputError(f"--group {one_line(group, 60)}: {of} has no file names; give a folder or an archive.")
    if group.isdecimal():
        return _by_depth(names, group)
    table = read_table(group)
    missing = [name for name in names if _entry(table, name) is None]
    if missing:
        first = one_line(missing[0], 120)
        raise InputError(f"--group {group} has no group for {len(missing)} of {len(names)} images: {first}.")
    return tuple(str(_entry(table, name)) for name in names)


def groups_where_known(images: ImageSet, group: str | None) -> tuple[str, ...] | None:
    """The groups of a set that need not have any, such as outliers: by a CSV that has all of them, or by scans."""
    if group is not None and not group.isdecimal() and images.names is not None:
        table = read_table(group)
        found = [_entry(table, name) for name in images.names]
        if None not in found:
            return tuple(map(str, found))
    return of_scans(images)


def read_table(group: str) -> dict[str, str]:
    """File and group of each line of a CSV.

    Raises:
        MissingFileError: no such file.
        InputError: no CSV of two columns of which the first is `file`, or a file in two groups or in none.
    """
    path = path_of(group)
    if not path.exists():
        raise MissingFileError(f"--group {path} is missing; expected the number of a folder level, or a CSV.")
    regular(path, what="a CSV of `file` and group")
    with reading(f"--group {path}", "CSV", "Write it again."):
        rows = list(csv.reader(io.StringIO(read_text(path, "a CSV of `file` and group"), newline="")))
    if not rows or len(rows[0]) != 2 or rows[0][0] != "file":
        found = one_line(rows[0], 120) if rows else "no line"
        raise InputError(f"--group {path} begins with {found}; expected the columns `file` and one of groups.")
    table: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2:
            raise InputError(f"--group {path}, line {number}: found {len(row)} columns, expected `file` and a group.")
        group_of = row[1].strip()  # a blank behind a name makes no other patient
        if not group_of:
            raise InputError(f"--group {path}, line {number}: {one_line(row[0], 120)} has no group. Give it one.")
        if table.setdefault(row[0], group_of) != group_of:
            found = f"the groups `{one_line(table[row[0]], 60)}` and `{one_line(group_of, 60)}`"
            raise InputError(f"--group {path}, line {number}: {one_line(row[0], 120)} has {found}; expected one.")
    return table


def numbered_groups(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Groups as numbers (n,), from 0 on."""
    return np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


def _by_depth(names: Sequence[str], group: str) -> tuple[str, ...]:
    depth, groups = int(group[:9]), []
    for name in names:
        parts = Path(name).parts[:-1]
        if not 1 <= depth <= len(parts):
            said = (
                f"{len(parts)} folder(s) below the set; expected a level from 1 to {len(parts)}"
                if parts
                else "no folder"
            )
            raise InputError(f"--group {group[:9]}: {name} lies in {said}.")
        groups.append(parts[depth - 1])  # a patient in the folders of two classes stays one
    return tuple(groups)


def _entry(table: dict[str, str], name: str) -> str | None:
    """The group of a file, by its path below the set or by its name alone; a slice has that of its scan."""
    scan = scan_of(name)
    return next((table[word] for word in (name, scan, Path(name).name, Path(scan).name) if word in table), None)
