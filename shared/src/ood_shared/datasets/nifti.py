"""Slices of NIfTI volumes as images of 8 bits.

A slice is taken at each index of the last axis of the file (for most scanners: feet to head), as it is stored: axis 0
runs down the image, axis 1 to the right. The 0.5 % and the 99.5 % quantile of all voxels of the volume become 0 and
255, so that slices of a volume keep their brightness among each other and a few bright voxels do not darken the rest;
where both are equal, as in a mask, the smallest and the largest value. A range that is asked for (`--value-range`)
takes the place of both.

Needs nibabel, from the extra `medical`.
"""

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.pixels import Depth, Range
from ood_shared.errors import InputError, not_installed
from ood_shared.files import reading, regular

SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"  # told by the first bytes: names of packed and unpacked files are mixed up
LOW, HIGH = 0.005, 0.995  # quantiles that become 0 and 255
MOST_VOXELS = 1 << 28  # of a volume: 512 x 512 x 1024, 2 GiB while its quantiles are taken
MOST_OFFSET = 1 << 24  # bytes of header before the voxels
ADVICE = "Replace or remove it."
SCALES = {348: ("f4", 112), 540: ("f8", 176)}  # of NIfTI-1 and -2, by sizeof_hdr: kind and place of slope and intercept


class Volume:
    """A volume of which slices are read; the voxels come into memory with the first one, and stay as bytes.

    Attributes:
        name: for messages.
        count: slices.
        held: bytes that are kept, at most: the file's, where it came as bytes, and one for each voxel.

    Raises:
        MissingFileError: no such file.
        InputError: no NIfTI file, not three axes, colours, or too large; voxels are looked at only by `slice`.
    """

    def __init__(self, name: str, source: bytes | Path) -> None:
        self.name, self._source, self._lock = name, source, Lock()
        self._depth: Depth | None = None
        self._pixels: npt.NDArray[np.uint8] | InputError | None = None
        shape = self._shape(self._image())
        self.count, self.held = shape[2], math.prod(shape) + (len(source) if isinstance(source, bytes) else 0)

    def slice(self, number: int, span: Range | None = None, depths: list[Depth] | None = None) -> npt.NDArray[np.uint8]:
        """Slice (height, width, 1), counted from 0.

        Args:
            number: of the slice.
            span: the same for all slices; None: the quantiles of the volume.
            depths: takes the extreme values of the volume where `span` was applied.

        Raises:
            InputError: the volume is cut short, or has voxels that are not finite.
        """
        with self._lock:
            if self._pixels is None:
                try:
                    self._pixels = self._read(span)
                except InputError as error:
                    self._pixels = error
        if isinstance(self._pixels, InputError):
            raise self._pixels
        if depths is not None and span is not None and self._depth is not None:
            depths.append(self._depth)
        return self._pixels[number, :, :, None]

    def _read(self, span: Range | None) -> npt.NDArray[np.uint8]:
        """All slices, (n, height, width)."""
        image = self._image()
        shape = self._shape(image)
        with reading(self.name, "NIfTI volume", ADVICE), np.errstate(all="ignore"):  # infinities are refused below
            values = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(shape)
        if not np.isfinite(values).all():
            raise InputError(f"{self.name} has voxels that are not finite. Give them a value.")
        self._depth = Depth(float(values.min()), float(values.max()))
        low, high = span or (float(value) for value in np.quantile(values, (LOW, HIGH)))
        if not high > low:
            low, high = self._depth
        pixels = np.empty((shape[2], *shape[:2]), np.uint8)
        for number in range(shape[2]):
            shares = (values[:, :, number].astype(np.float64) - low) / ((high - low) or 1.0)
            pixels[number] = np.floor(np.clip(shares, 0, 1) * 255 + 0.5)
        return pixels

    def _shape(self, image: Any) -> tuple[int, int, int]:
        shape = list(image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape.pop()
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"{self.name} has the axes {image.shape}; expected three. Write each volume to a file.")
        if math.prod(shape) > MOST_VOXELS:
            raise InputError(f"{self.name} has {math.prod(shape)} voxels; at most {MOST_VOXELS} are read.")
        if image.get_data_dtype().kind not in "iuf":
            raise InputError(f"{self.name} holds {image.get_data_dtype()}; expected real numbers, one for each voxel.")
        return shape[0], shape[1], shape[2]

    def _image(self) -> Any:
        """The file with its header read."""
        try:
            import nibabel
        except ImportError:
            raise not_installed(f"{self.name}, a NIfTI volume,", "nibabel", "medical") from None
        with reading(self.name, "NIfTI volume", ADVICE), _quiet(nibabel):
            if isinstance(self._source, bytes):
                raw = BytesIO(self._source)
                packed = self._source.startswith(GZIP)
                opened: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            else:
                regular(self._source, what="a NIfTI volume")
                with self._source.open("rb") as file:
                    packed = file.read(2) == GZIP
                opened = (gzip.open if packed else open)(self._source, "rb")  # read by slice
            version = self._version(opened.read(max(SCALES)))
            opened.seek(0)
            image = (nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image).from_stream(opened)
            offset = int(image.header["vox_offset"])
            if not 0 <= offset <= MOST_OFFSET:
                raise InputError(f"{self.name} says that its voxels begin at byte {offset}. {ADVICE}")
        return image

    def _version(self, block: bytes) -> int:
        """1 or 2; refuses what nibabel mends in silence: another size of the header, and scales that it leaves out."""
        sizes = {order: int.from_bytes(block[:4], order) for order in ("little", "big")}
        order, size = next(((order, size) for order, size in sizes.items() if size in SCALES), ("little", 0))
        if not size or len(block) < size:
            raise ValueError(f"sizeof_hdr is {sizes['little']}, not 348 or 540")  # `reading` names the file
        kind, at = SCALES[size]
        slope, intercept = np.frombuffer(block, ("<" if order == "little" else ">") + kind, 2, at)
        if not (np.isfinite(slope) and np.isfinite(intercept)):
            raise InputError(
                f"{self.name}: scl_slope is {slope:g} and scl_inter {intercept:g}, so its values mean nothing. {ADVICE}"
            )
        return 1 if size == 348 else 2


@contextmanager
def _quiet(nibabel: Any) -> Iterator[None]:
    """Without nibabel's remarks about headers that it mends, and NumPy's about their numbers."""
    with nibabel.imageglobals.LoggingOutputSuppressor(), np.errstate(all="ignore"):
        yield
