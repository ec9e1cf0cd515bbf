"""Images in arrays, one after another: `set.npz/test_images#17`, `t10k-images-idx3-ubyte#17`, counted from 0."""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ood_shared.datasets.decode import Encoded
from ood_shared.datasets.idx import read_idx
from ood_shared.datasets.npz import ADVICE, Header, read_headers
from ood_shared.errors import InputError
from ood_shared.files import reading

IMAGES = "images"  # name of an array, or the end of it
FORM = "uint8 (n, height, width) or (n, height, width, 1 or 3)"


def npz_images(path: Path) -> Iterator[Encoded]:
    """The images of all arrays `images` and `…_images` of an `.npz`, or of the only array that can be images.

    They are unpacked one by one, also where the file is compressed.

    Raises:
        MissingFileError: no such file.
        InputError: damaged, no array of images, or one of another form.
    """
    headers = read_headers(path)
    arrays = [name for name in headers if name == IMAGES or name.endswith(f"_{IMAGES}")]
    if not arrays:
        could_be = [name for name, header in headers.items() if _fits(header)]
        # (h, w, 3) could be one colour image or h narrow grey ones
        arrays = [name for name in could_be if len(headers[name].shape) == 4 or headers[name].shape[2] not in (1, 3, 4)]
        if len(arrays) != 1:
            raise InputError(
                f"{path} holds {', '.join(headers) or 'no array'}; expected `{IMAGES}`, `test_{IMAGES}` or one array, "
                f"{FORM}."
            )
    for name in arrays:
        yield from _rows(path, name, headers[name])


def idx_images(path: Path) -> Iterator[Encoded]:
    """The images of an IDX file, which is in memory as a whole.

    Raises:
        MissingFileError: no such file.
        InputError: damaged, or no grey images.
    """
    pixels = read_idx(path)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise InputError(f"{path} holds {pixels.dtype} {pixels.shape}; expected uint8 (n, height, width).")
    for number, image in enumerate(pixels):
        yield Encoded(number, f"{path}#{number}", image[:, :, None])


def _fits(header: Header) -> bool:
    shape = header.shape
    if header.dtype != np.uint8 or 0 in shape or header.by_columns:
        return False
    return len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))


def _rows(path: Path, name: str, header: Header) -> Iterator[Encoded]:
    if not _fits(header):
        order = " in Fortran order" if header.by_columns else ""
        raise InputError(f"{path}: `{name}` is {header.dtype} {header.shape}{order}; expected {FORM} in C order.")
    shape = (*header.shape[1:3], header.shape[3] if len(header.shape) == 4 else 1)
    size = math.prod(shape)
    where = f"{path}: `{name}`"
    with reading(where, "array", ADVICE), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        version = npy.read_magic(file)
        (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
        for number in range(header.shape[0]):
            row = file.read(size)
            if len(row) < size:
                raise EOFError(f"it ends at image {number}")
            yield Encoded(number, f"{path}/{name}#{number}", np.frombuffer(row, np.uint8).reshape(shape))
        file.read()  # the checksum is looked at behind the last byte
