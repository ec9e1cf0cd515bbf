"""The six-array `.npz` of MedMNIST: `{train,val,test}_images` and `{train,val,test}_labels`.

All headers are checked before anything large is read; pickled objects are refused; only the wanted split is decoded.
"""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from ood_shared.datasets.imageset import SPLITS, ImageSet, missing_split
from ood_shared.errors import InputError, MissingFileError

MAX_CLASSES = 100_000  # a label beyond that is not a class
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


class Header(NamedTuple):
    """What an array of the file will be, known without decoding it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool = False  # Fortran order


def load_npz(
    path: Path,
    split: str,
    name: str,
    licence: str,
    classes: tuple[str, ...] | None = None,
) -> ImageSet:
    """A split of a six-array `.npz`.

    Images are uint8, (n, height, width) or (n, height, width, 1 or 3). Labels are whole numbers, (n,) or (n, 1). Labels
    of several columns (several findings per image, as in ChestMNIST) become one: 0 when no column is set, 1 when any
    is. That serves an OOD set well; as ID classes it is `none` against `any`.

    Args:
        path: the file.
        split: `train`, `val` or `test`.
        name: of the resulting set.
        licence: of the resulting set.
        classes: names of the classes; without them, the numbers 0 to the largest label of any split.

    Raises:
        MissingFileError: no such file.
        InputError: truncated, damaged, pickled objects, arrays missing or not fitting, labels out of range.
    """
    headers = read_headers(path)
    splits = [word for word in SPLITS if f"{word}_images" in headers or f"{word}_labels" in headers]
    if split not in splits:
        hint = f"Expected arrays `{split}_images` and `{split}_labels`; found {', '.join(headers) or 'none'}."
        raise missing_split(str(path), split, splits, hint)
    for word in splits:
        _check_split(path, headers, word)
    images = _read(path, f"{split}_images")
    labels = {word: _single_label(path, word, _read(path, f"{word}_labels")) for word in splits}
    if headers[f"{split}_labels"].shape[1:] not in ((), (1,)):
        classes = ("none", "any")
    largest = max(int(column.max(initial=0)) for column in labels.values())
    smallest = min(int(column.min(initial=0)) for column in labels.values())
    if smallest < 0 or largest >= (len(classes) if classes else MAX_CLASSES):
        allowed = f"0 to {len(classes) - 1} ({name} has {len(classes)} classes)" if classes else "numbers from 0 on"
        raise InputError(f"{path} holds labels from {smallest} to {largest}; expected {allowed}.")
    pixels = images[..., None] if images.ndim == 3 else images
    names = classes or tuple(str(number) for number in range(largest + 1))
    return ImageSet(np.ascontiguousarray(pixels), labels[split], names, licence, name)


def read_headers(path: Path) -> dict[str, Header]:
    """Names, shapes and dtypes of the arrays of an `.npz`.

    Raises:
        MissingFileError: no such file.
        InputError: not an npz, truncated, or with pickled objects.
    """
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    version = npy.read_magic(file)
                    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    shape, by_columns, dtype = read(file)
                    stored = member.file_size - file.tell()
                array = member.filename.removesuffix(".npy")
                if dtype.hasobject:
                    raise InputError(
                        f"{path} holds pickled Python objects in `{array}`, which could run code and are not read. "
                        "Save plain number arrays."
                    )
                if math.prod(shape) * dtype.itemsize != stored:
                    raise InputError(f"{path} is damaged: `{array}` should be {dtype} {shape}, found {stored} bytes.")
                headers[array] = Header(shape, dtype, by_columns)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing; expected a six-array .npz.") from None
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path} is truncated, damaged or no .npz ({_one_line(error)}). Write or fetch it again."
        ) from error
    return headers


def _check_split(path: Path, headers: dict[str, Header], split: str) -> None:
    images, labels = headers.get(f"{split}_images"), headers.get(f"{split}_labels")
    if images is None or labels is None:
        absent = "images" if images is None else "labels"
        raise InputError(f"{path} has no `{split}_{absent}`; found {', '.join(headers)}. Each split needs both.")
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise InputError(
            f"{path}: `{split}_images` is {images.dtype} {shape}; expected uint8 (n, height, width[, 1 or 3])."
        )
    if labels.dtype.kind not in "iub" or len(labels.shape) not in (1, 2) or labels.shape[:1] != shape[:1]:
        raise InputError(
            f"{path}: `{split}_labels` is {labels.dtype} {labels.shape}; expected whole numbers ({shape[0]},) or "
            f"({shape[0]}, 1), one for each image."
        )
    if 0 in shape:
        raise InputError(f"{path}: `{split}_images` is empty, {shape}.")


def _read(path: Path, array: str) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[array])
    except (*UNREADABLE, KeyError) as error:
        raise InputError(f"{path}: `{array}` is damaged ({_one_line(error)}). Write or fetch it again.") from error


def _single_label(path: Path, split: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if labels.ndim == 1 or labels.shape[1] == 1:
        return labels.reshape(len(labels)).astype(np.int64)
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"{path}: `{split}_labels` has {labels.shape[1]} columns; expected only 0 and 1 in them.")
    any_set: npt.NDArray[np.int64] = np.any(labels != 0, axis=1).astype(np.int64)
    return any_set


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
