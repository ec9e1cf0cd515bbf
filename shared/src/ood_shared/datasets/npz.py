"""The six-array `.npz` of MedMNIST: `{train,val,test}_images` and `{train,val,test}_labels`.

All headers are checked before anything large is read; pickled objects are refused; only the wanted split is decoded.
Labels of all splits are read together (`labels`).
"""

import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from ood_shared.datasets.bounded import check_inflation, check_memory
from ood_shared.datasets.imageset import SPLITS, ImageSet, missing_split
from ood_shared.datasets.labels import Labelled, read_labels
from ood_shared.errors import InputError, one_line
from ood_shared.files import check_name, reading, regular

ADVICE = "Write or fetch it again."


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

    Images are uint8, (n, height, width) or (n, height, width, 1 or 3). `labels.read_labels` says what labels may be and
    become; several findings for each image, as in ChestMNIST, serve an OOD set well; as ID they are `none` and `any`.

    Args:
        path: the file.
        split: `train`, `val` or `test`.
        name: of the resulting set.
        licence: of the resulting set.
        classes: names of the classes; without them, the numbers that occur in any split.

    Raises:
        MissingFileError: no such file.
        InputError: truncated, damaged, pickled objects, arrays missing or not fitting, labels out of range.
    """
    headers = read_headers(path)
    splits = _splits(path, split, headers)
    labelled = _labels(path, splits, classes)
    images = _read(path, f"{split}_images")
    pixels = images[..., None] if images.ndim == 3 else images
    found = labelled.labels[split]
    return ImageSet(np.ascontiguousarray(pixels), found, labelled.classes, licence, name, notes=labelled.notes)


def survey_npz(path: Path, split: str) -> Labelled:
    """Labels and classes of an `.npz` whose images are not read; errors as `load_npz` has them for its headers."""
    return _labels(path, _splits(path, split, read_headers(path)), None)


def _splits(path: Path, split: str, headers: dict[str, "Header"]) -> list[str]:
    """The splits of the file, checked."""
    splits = [word for word in SPLITS if f"{word}_images" in headers or f"{word}_labels" in headers]
    if split not in splits:
        hint = f"Expected arrays `{split}_images` and `{split}_labels`; found {', '.join(headers) or 'none'}."
        raise missing_split(str(path), split, splits, hint)
    for word in splits:
        _check_split(path, headers, word)
    check_memory(path, math.prod(headers[f"{split}_images"].shape))
    return splits


def _labels(path: Path, splits: list[str], classes: tuple[str, ...] | None) -> Labelled:
    return read_labels(path, {word: _read(path, f"{word}_labels") for word in splits}, classes)


def read_headers(path: Path) -> dict[str, Header]:
    """Names, shapes and dtypes of the arrays of an `.npz`.

    Raises:
        MissingFileError: no such file.
        InputError: not an npz, truncated, or with pickled objects.
    """
    headers = {}
    regular(path, what="an .npz of arrays")
    with reading(path, ".npz", ADVICE), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            check_inflation(f"{path}, `{one_line(member.filename, 80)}`", member.file_size, member.compress_size)
            with archive.open(member) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, by_columns, dtype = read(file)
                stored = member.file_size - file.tell()
            array = member.filename.removesuffix(".npy")
            check_name(array, path)
            if dtype.hasobject:
                raise InputError(
                    f"{path} holds pickled Python objects in `{array}`, which could run code and are not read. "
                    "Save plain number arrays."
                )
            if math.prod(shape) * dtype.itemsize != stored:
                raise InputError(f"{path} is damaged: `{array}` should be {dtype} {shape}, found {stored} bytes.")
            headers[array] = Header(shape, dtype, by_columns)
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
    if labels.dtype.kind not in "iubf" or len(labels.shape) not in (1, 2) or labels.shape[:1] != shape[:1]:
        raise InputError(
            f"{path}: `{split}_labels` is {labels.dtype} {labels.shape}; expected whole numbers ({shape[0]},) or "
            f"({shape[0]}, 1), one for each image."
        )
    if 0 in shape:
        raise InputError(f"{path}: `{split}_images` is empty, {shape}.")


def _read(path: Path, array: str) -> npt.NDArray[Any]:
    with reading(f"{path}: `{array}`", "array", ADVICE), np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays[array])
