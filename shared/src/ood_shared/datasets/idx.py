"""IDX files, the format of MNIST and its relatives: reading one, and finding the pairs in a folder.

A file is two zero bytes, a byte for the number type, a byte for the number of dimensions, each dimension as a
big-endian uint32, then the numbers. It may be gzip-packed.
"""

import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.bounded import LARGE, Unpacked, check_inflation, check_memory, open_unpacked
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import reading

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 1 << 34  # a header that asks for more is damaged, or not meant well
SPLIT_WORDS = {"train": "train", "val": "val", "test": "test", "t10k": "test"}
_IMAGES_NAME = re.compile(r"^(?P<prefix>.*?)images[.-]idx3-ubyte(\.gz)?$")
_SPLIT_WORD = re.compile(r"(?<![a-z0-9])(train|t10k|test|val)(?![a-z0-9])")


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in an IDX file, packed with gzip or not, in the machine's byte order.

    Raises:
        MissingFileError: no such file.
        InputError: not an IDX file, damaged, or shorter or longer than its header says.
    """
    with reading(path, "IDX file", "Delete it and fetch it again."), open_unpacked(path) as file:
        return _read(file, path)


def read_pair(images: Path, labels: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, height, width, 1) and labels (n,) of two IDX files. Of labels with columns (QMNIST) the first counts.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file is damaged, or they do not belong together.
    """
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise InputError(
            f"{images} holds {pixels.dtype} {pixels.shape}; expected grey images, uint8 (n, height, width)."
        )
    if classes.ndim not in (1, 2) or classes.dtype.kind not in "iu" or len(classes) != len(pixels):
        raise InputError(
            f"{labels} holds {classes.dtype} {classes.shape}; expected {len(pixels)} whole numbers, one for each image."
        )
    column = classes if classes.ndim == 1 else classes[:, 0]
    return pixels[..., None], column.astype(np.int64)


def read_numbers(labels: Path) -> npt.NDArray[Any]:
    """The labels in an IDX file, (n,), or (n, columns) of 0 and 1; of other columns (QMNIST) the first.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is damaged, or holds something else.
    """
    found = read_idx(labels)
    if found.ndim not in (1, 2) or found.dtype.kind not in "iu":
        raise InputError(f"{labels} holds {found.dtype} {found.shape}; expected whole numbers, one for each image.")
    return found if found.ndim == 1 or np.isin(found, (0, 1)).all() else found[:, 0]


def present(path: Path) -> Path | None:
    """`path` itself, or the same name with `.gz`, whichever is there; unpacked first."""
    packed = path.with_name(path.name + ".gz")
    return next((file for file in (path, packed) if file.is_file()), None)


def find_pairs(path: Path) -> dict[str, tuple[Path, Path]]:
    """Images and labels files for each split of the set that `path` names: a folder, or one of its images files.

    Splits are told by `train`, `val`, `test` or `t10k` in the name; a name without any of them is a test split.

    Raises:
        MissingFileError: images without labels.
        InputError: the folder holds several sets.
    """
    folder = path if path.is_dir() else path.parent
    sets: dict[str, dict[str, Path]] = {}  # by the name without its split word
    for file in sorted(folder.iterdir()):
        if file.is_file() and (parts := _name_parts(file.name)):
            sets.setdefault(parts[0], {}).setdefault(parts[1], file)
    own = _name_parts(path.name) if path.is_file() else None
    if own:
        sets = {own[0]: sets[own[0]] | {own[1]: path}}
    if len(sets) > 1:
        examples = ", ".join(next(iter(files.values())).name for files in sets.values())
        raise InputError(f"{path} holds several IDX sets ({examples}). Name the images file of one of them.")
    return {split: (file, _labels_of(file)) for files in sets.values() for split, file in files.items()}


def is_images_file(name: str) -> bool:
    """Whether a file name is that of IDX images, `…images-idx3-ubyte` with or without `.gz`."""
    return _IMAGES_NAME.match(name) is not None


def _name_parts(name: str) -> tuple[str, str] | None:
    """The name of the set without its split word, and the split; None when it is no images file."""
    match = _IMAGES_NAME.match(name)
    if match is None:
        return None
    word = _SPLIT_WORD.search(match["prefix"])
    if word is None:
        return match["prefix"], "test"
    return match["prefix"][: word.start()] + match["prefix"][word.end() :], SPLIT_WORDS[word[0]]


def _labels_of(images: Path) -> Path:
    stem = images.name.removesuffix(".gz")
    name = re.sub(r"images([.-])idx3-ubyte$", r"labels\1idx1-ubyte", stem)
    labels = present(images.with_name(name))
    if labels is None:
        raise MissingFileError(f"{images.with_name(name)} (or .gz) is missing: the labels of {images.name}.")
    return labels


def _read(file: Unpacked, path: Path) -> npt.NDArray[Any]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 4:
        raise InputError(
            f"{path} is not an IDX file: it starts with {head.hex(' ') or 'nothing'}, expected 00 00 08 0n."
        )
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise InputError(f"{path} ends within its header. Delete it and fetch it again.")
    shape = struct.unpack(f">{head[3]}I", sizes)
    kind = np.dtype(TYPES[head[2]])
    expected = math.prod(shape) * kind.itemsize
    if not expected:
        raise InputError(f"{path} holds {' x '.join(map(str, shape))} numbers, which is none.")
    if expected > MAX_BYTES:
        raise InputError(f"{path} claims {shape} numbers, {expected} bytes; its header is damaged.")
    held = path.stat().st_size
    if expected > max(held, LARGE) and not file.packed:
        raise InputError(
            f"{path} should hold {expected} bytes for {' x '.join(map(str, shape))}, and has {held}. "
            "Delete it and fetch it again."
        )
    check_inflation(path, expected, held)
    check_memory(path, 2 * expected)
    data = file.rest(expected)
    if len(data) < expected or file.read(1):
        length = f"{len(data)}" if len(data) < expected else "more than that"
        raise InputError(
            f"{path} should hold {expected} bytes for {' x '.join(map(str, shape))}, found {length}. "
            "Delete it and fetch it again."
        )
    return np.frombuffer(data, dtype=kind).reshape(shape).astype(kind.newbyteorder("="))
