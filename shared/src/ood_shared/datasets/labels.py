"""Labels as files have them, made class numbers from 0 on without gaps; what was done is said in notes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_shared.errors import InputError

MAX_CLASSES = 100_000  # a label beyond that is not a class
NONE, ANY = "none", "any"  # classes of several findings for each image


class Labelled(NamedTuple):
    """Labels of each split, and the names of their classes."""

    labels: dict[str, npt.NDArray[np.int64]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_labels(
    where: object, splits: Mapping[str, npt.NDArray[Any]], classes: Sequence[str] | None = None
) -> Labelled:
    """Class numbers of all splits of a set together, so that a class has the same number in each.

    * whole numbers (n,) or (n, 1), also as floats or bool: themselves; where numbers are left out, as in 1 to K, the
      numbers that occur are the classes;
    * (n, k) with exactly one 1 in every row of every split: the column of the 1;
    * (n, k) of other 0 and 1: `none` where no column is set, `any` where one is.

    Args:
        where: of the file, for messages.
        splits: labels by split.
        classes: names, of a set that is known; labels are then 0 to their number and nothing is renumbered, and labels
            of several columns are `none` and `any`.

    Raises:
        InputError: numbers that are not whole, not from 0 on or too large; columns of other than 0 and 1.
    """
    whole = {split: _whole(f"{where}: `{split}_labels`", labels) for split, labels in splits.items()}
    columns = {split: labels.shape[1] if labels.ndim == 2 else 1 for split, labels in whole.items()}
    if set(columns.values()) == {1}:
        flat = {split: labels.reshape(len(labels)) for split, labels in whole.items()}
        return _numbered(where, flat, classes)
    if len(set(columns.values())) > 1:
        listed = ", ".join(f"{split} {count}" for split, count in columns.items())
        raise InputError(f"{where}: labels have different numbers of columns ({listed}); expected one number.")
    for split, labels in whole.items():
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{where}: `{split}_labels` has {labels.shape[1]} columns; expected only 0 and 1 in them.")
    count = next(iter(columns.values()))
    if classes is None and all((labels.sum(axis=1) == 1).all() for labels in whole.values()):
        found = {split: labels.argmax(axis=1).astype(np.int64) for split, labels in whole.items()}
        note = f"labels are one-hot in {count} columns; the column of the 1 is the class"
        return _numbered(where, found, None, (note,))
    found = {split: (labels != 0).any(axis=1).astype(np.int64) for split, labels in whole.items()}
    note = (
        f"labels have {count} columns of 0 and 1, not one 1 in each row: class `{ANY}` where one is set, else `{NONE}`"
    )
    return Labelled(found, (NONE, ANY), () if classes else (note,))


def _numbered(
    where: object,
    labels: dict[str, npt.NDArray[np.int64]],
    classes: Sequence[str] | None,
    notes: tuple[str, ...] = (),
) -> Labelled:
    smallest = min(int(column.min(initial=0)) for column in labels.values())
    largest = max(int(column.max(initial=0)) for column in labels.values())
    if smallest < 0 or largest >= (len(classes) if classes else MAX_CLASSES):
        allowed = f"0 to {len(classes) - 1}" if classes else f"numbers from 0 to {MAX_CLASSES - 1}"
        raise InputError(f"{where} holds labels from {smallest} to {largest}; expected {allowed}.")
    if classes:
        return Labelled(labels, tuple(classes), notes)
    numbers = np.unique(np.concatenate(list(labels.values())))
    names = tuple(str(number) for number in numbers)
    if len(numbers) == largest + 1:
        return Labelled(labels, names, notes)
    renumbered = {split: np.searchsorted(numbers, column).astype(np.int64) for split, column in labels.items()}
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    note = f"labels are {listed}, with numbers left out; the {len(names)} that occur are the classes"
    return Labelled(renumbered, names, (*notes, note))


def _whole(where: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Whole numbers of any kind as int64; (n,) or (n, columns)."""
    if labels.dtype.kind not in "iubf" or labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise InputError(f"{where} is {labels.dtype} {labels.shape}; expected whole numbers (n,), (n, 1), or one-hot.")
    if labels.dtype.kind == "f":
        odd = ~(np.isfinite(labels) & (labels == np.floor(labels)))
        if odd.any():
            raise InputError(f"{where} holds {labels[odd].flat[0]:.6g}; expected whole numbers from 0 on.")
    if labels.size and not -1 <= float(labels.min()) <= float(labels.max()) < 2**31:
        raise InputError(
            f"{where} holds labels from {labels.min()} to {labels.max()}; expected numbers from 0 to {MAX_CLASSES - 1}."
        )
    return labels.astype(np.int64)
