"""2D slices of volumes on disk.

Two layouts hold the same slices under the same names. The published one is a file per slice, `<volume>_<index>.npy`.
The packed one has a file per volume, `<volume>.stack.npy` (slices, h, w), which is memory-mapped, with the indices in
`<volume>.index.npy`; it spares opening hundreds of thousands of small files.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mood_dpa.data.preprocessing import area_resize
from mood_dpa.standalone import InputError, MissingFileError, check_name, reading, regular

STACK, INDEX = ".stack.npy", ".index.npy"
ADVICE = "Run save_2D.py again."


def cut_slices(
    data: npt.NDArray[Any], axis: int, least_pixels: int | None, size: int | None, dtype: str = "float16"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """The slices of a volume along an axis.

    Values are cut to float16 first, as published; resized slices are the means of areas, in float32.

    Args:
        data: (n0, n1, n2).
        axis: 0, 1 or 2.
        least_pixels: leave out slices with fewer positive pixels, counted after resizing; None keeps all.
        size: (size, size) to reach.
        dtype: of the values; `float32` keeps them whole.

    Returns:
        Indices (k,) in the volume and slices (k, h, w).

    Raises:
        InputError: a value is beyond the greatest number of `dtype`.
    """
    most, greatest = float(np.finfo(dtype).max), float(np.abs(data).max())
    if greatest > most:
        raise InputError(
            f"has the value {greatest:g}; {dtype} ends at {most:g}. Pass --rescale, or --dtype float32 to keep it."
        )
    stack = np.moveaxis(data.astype(dtype), axis, 0)
    if size is not None:
        parts = [torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in _chunks(stack, 64)]
        stack = torch.cat([area_resize(part[:, None], (size, size))[:, 0] for part in parts]).numpy()
    index = np.arange(len(stack))
    if least_pixels is not None:
        index = np.flatnonzero((stack > 0).sum(axis=(1, 2)) >= least_pixels)
    return index, np.ascontiguousarray(stack[index])  # NIfTI data come column by column


def _chunks(stack: npt.NDArray[Any], length: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(stack), length):
        yield stack[start : start + length]


class SliceFolder:
    """The slices of a folder in either layout, by name.

    Attributes:
        names: sorted.

    Raises:
        MissingFileError: the folder or the file of a stack is not there.
        InputError: an index that is none of its stack, or a name that is no UTF-8.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise MissingFileError(f"image_root {root} is missing; save_2D.py writes one.")
        self.root = root
        self._packed: dict[str, tuple[str, int]] = {}
        names = sorted(path.name for path in root.iterdir() if path.name.endswith(".npy") and path.name[0] != ".")
        for name in names:
            check_name(name, root)
            if name.endswith(STACK):
                base = name.removesuffix(STACK)
                for row, index in enumerate(_index(root, base)):
                    self._packed[f"{base}_{index}.npy"] = (base, row)
        single = [name for name in names if not name.endswith((STACK, INDEX))]
        self.names = sorted([*self._packed, *single])

    def read(self, name: str) -> npt.NDArray[np.floating]:
        """One slice (h, w).

        Raises:
            InputError: the file is damaged, or holds something else.
        """
        path = self.root / name
        if name in self._packed:
            base, row = self._packed[name]
            path = self.root / f"{base}{STACK}"
            with reading(path, "stack of slices", ADVICE):
                return np.asarray(_mapped(path)[row])
        regular(path, what="a slice")
        with reading(path, "slice", ADVICE):
            found = np.ascontiguousarray(np.load(path, allow_pickle=False))
        if found.ndim != 2 or found.dtype.kind not in "fiub" or not found.size:
            raise InputError(f"{path} holds {found.dtype} {found.shape}; expected real numbers (h, w). {ADVICE}")
        return found


def _index(root: Path, base: str) -> list[int]:
    """The places in the volume of a stack's slices."""
    path, stack = root / f"{base}{INDEX}", root / f"{base}{STACK}"
    with reading(path, "index of slices", ADVICE):
        regular(path, what="the index of a stack of slices")
        found = np.load(path, allow_pickle=False)
    with reading(stack, "stack of slices", ADVICE):
        slices = _mapped(stack)
    if slices.ndim != 3 or slices.dtype.kind not in "fiub":
        raise InputError(f"{stack} holds {slices.dtype} {slices.shape}; expected real numbers (n, h, w). {ADVICE}")
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) != len(slices):
        raise InputError(
            f"{path} holds {found.dtype} {found.shape}; expected {len(slices)} whole numbers, one for each slice of "
            f"{stack.name}. {ADVICE}"
        )
    index: list[int] = found.tolist()
    if len(set(index)) < len(index) or (index and min(index) < 0):
        raise InputError(f"{path} names a slice twice, or one before 0. {ADVICE}")
    return index


def _mapped(path: Path) -> npt.NDArray[Any]:
    status = regular(path, what="a stack of slices")
    return _mapped_once(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2048)
def _mapped_once(path: Path, *_: int) -> npt.NDArray[Any]:
    stack: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return stack
