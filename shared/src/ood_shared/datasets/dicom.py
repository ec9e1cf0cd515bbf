"""DICOM frames as images of 8 bits.

Stored values become values of the modality by rescale slope and intercept. The first window of the file (centre and
width; LINEAR, LINEAR_EXACT or SIGMOID, PS3.3 C.11.2) then maps them to 0 to 255; a frame of a file without a window
goes from its own smallest to its own largest value. MONOCHROME1 is inverted, so that 255 is bright. Colours are taken
as they are, YBR as RGB. In files of several frames each frame's own values win over those that all share. Lookup
tables and padding values are not looked at.

Needs pydicom, from the extra `medical`.
"""

from collections.abc import MutableSequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.decode import MAX_PIXELS
from ood_shared.errors import InputError, not_installed
from ood_shared.files import reading, regular

MAGIC, MAGIC_AT = b"DICM", 128
SUFFIX = ".dcm"
GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT")
ADVICE = "Replace or remove it."
MOST_PACKED = 1 << 31  # bytes of a file


def has_magic(head: bytes) -> bool:
    """Whether a file that starts so is DICOM."""
    return head[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def frame_count(name: str, source: bytes | Path) -> int:
    """How many images a DICOM file has, by its header.

    Raises:
        MissingFileError: no such file.
        InputError: no DICOM file, without pixels, or too large.
    """
    return _frames(name, _header(name, source))


def read_frame(name: str, source: bytes | Path, number: int) -> npt.NDArray[np.uint8]:
    """A frame as (height, width, 1 or 3), counted from 0.

    Args:
        name: for messages.
        source: the file, or its path.
        number: of the frame.

    Raises:
        MissingFileError: no such file.
        InputError: damaged, compressed in a way that pydicom cannot decode here, or of a kind that is not read.
    """
    header = _header(name, source)
    frames, kind = _frames(name, header), str(header.get("PhotometricInterpretation", "none"))
    if kind not in (*GREYS, *COLOURS) or "ModalityLUTSequence" in header:
        found = kind if kind not in (*GREYS, *COLOURS) else "a modality lookup table"
        raise InputError(f"{name} has {found}; expected MONOCHROME1, MONOCHROME2, RGB or YBR without lookup tables.")
    stored = _stored(name, source, header, number if frames > 1 else None)
    expected = (header.Rows, header.Columns) + ((3,) if kind in COLOURS else ())
    if stored.shape != expected or (kind in COLOURS and stored.dtype != np.uint8):
        raise InputError(f"{name} is {stored.dtype} {stored.shape}; expected {expected}, colours of 8 bits.")
    if kind in COLOURS:
        return np.asarray(stored, np.uint8)
    with reading(name, "DICOM file with a whole header", ADVICE):
        values = _modality(header, number, stored)
        shares = _window(name, header, number, values)
    pixels = np.floor(np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)[:, :, None]
    return np.asarray(255 - pixels, np.uint8) if kind == "MONOCHROME1" else pixels


def _modality(header: Any, number: int, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    slope = _value(header, number, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _value(header, number, "PixelValueTransformationSequence", "RescaleIntercept")
    scale, shift = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    return stored.astype(np.float64) * scale + shift


def _window(name: str, header: Any, number: int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values with 0 at the low end of the window and 1 at its high end."""
    centre = _value(header, number, "FrameVOILUTSequence", "WindowCenter")
    width = _value(header, number, "FrameVOILUTSequence", "WindowWidth")
    if centre is None or width is None:
        low, high = values.min(), values.max()
        return (values - low) / (high - low) if high > low else np.zeros_like(values)
    c, w = float(centre), float(width)
    function = str(_value(header, number, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR")
    if function == "SIGMOID" and w > 0:
        return (1 + np.tanh(2 * (values - c) / w)) / 2  # 1 / (1 + exp(-4 (x - c) / w))
    if function == "LINEAR_EXACT" and w > 0:
        return (values - c) / w + 0.5
    if function == "LINEAR" and w >= 1:
        return (values - (c - 0.5)) / max(w - 1, 1e-6) + 0.5
    raise InputError(
        f"{name} has a window {function} of width {w:g}; expected LINEAR of 1 or more, or SIGMOID above 0."
    )


def _value(header: Any, number: int, group: str, keyword: str) -> Any:
    """The first value of a frame: its own, else that of all frames, else that of the file; None where there is none."""
    places = [header]
    for sequence, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", number)):
        groups = header.get(sequence)
        if groups and at < len(groups) and groups[at].get(group):
            places.insert(0, groups[at].get(group)[0])
    found: Any = next((place.get(keyword) for place in places if place.get(keyword) not in (None, "")), None)
    return found[0] if isinstance(found, MutableSequence) else found


def _frames(name: str, header: Any) -> int:
    with reading(name, "DICOM file with a whole header", ADVICE):
        rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
        frames = int(header.get("NumberOfFrames") or 1)
    if rows * columns == 0 or frames < 1:
        raise InputError(f"{name} is a DICOM file without an image. Remove it.")
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{name} has {columns} x {rows} pixels; at most {MAX_PIXELS} are read.")
    return frames


def _header(name: str, source: bytes | Path) -> Any:
    pydicom = _pydicom(name)
    if isinstance(source, Path):
        regular(source, MOST_PACKED, "a DICOM file")
    with reading(name, "DICOM file", ADVICE):
        return pydicom.dcmread(_opened(source), stop_before_pixels=True)


def _stored(name: str, source: bytes | Path, header: Any, number: int | None) -> npt.NDArray[Any]:
    pydicom = _pydicom(name)
    syntax = header.file_meta.get("TransferSyntaxUID")
    with reading(name, "DICOM file with whole pixels", ADVICE):
        try:
            return np.asarray(pydicom.pixels.pixel_array(_opened(source), index=number))
        except (NotImplementedError, RuntimeError):
            what = getattr(syntax, "name", "unknown")
            raise InputError(
                f"{name} is compressed as `{what}`, which pydicom cannot decode here: pip install pylibjpeg[all], or "
                "write it uncompressed."
            ) from None


def _opened(source: bytes | Path) -> Any:
    return BytesIO(source) if isinstance(source, bytes) else source


def _pydicom(name: str) -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise not_installed(f"{name}, a DICOM file,", "pydicom", "medical") from None
    return pydicom
