"""DICOM frames as images of 8 bits.

Stored values become values of the modality by rescale slope and intercept, or by a lookup table. The first window of
the file (centre and width; LINEAR, LINEAR_EXACT or SIGMOID, PS3.3 C.11.2) then maps them to 0 to 255; a frame of a file
without a window has its VOI lookup table, or goes from its own smallest to its own largest value. A range that is asked
for (`--value-range`: in a CT Hounsfield units) takes the place of all three, where more than 8 bits are stored.
MONOCHROME1 is inverted, so that 255 is bright. Padding is 0 and counts for nothing. Colours are taken as they are, YBR
as RGB, palettes by their tables, more than 8 bits by the bits that are stored. In files of several frames each frame's
own values win over those that all share.

Needs pydicom, from the extra `medical`.
"""

import math
import zlib
from collections.abc import MutableSequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.decode import MAX_PIXELS
from ood_shared.datasets.pixels import Depth, Range, to_8_bits
from ood_shared.errors import InputError, not_installed
from ood_shared.files import mapped, reading, regular

MAGIC, MAGIC_AT = b"DICM", 128
SUFFIX = ".dcm"
PALETTE = "PALETTE COLOR"
GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT")
ADVICE = "Replace or remove it."
MOST_PACKED = 1 << 31  # bytes of a file
DEFLATED = "1.2.840.10008.1.2.1.99"  # all but the head of such a file is packed
INDEX = "1.2.840.10008.1.3.10"  # what a DICOMDIR is
MOST_INFLATED = 1 << 28  # bytes


def has_magic(head: bytes) -> bool:
    """Whether a file that starts so is DICOM."""
    return head[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def frame_count(name: str, source: bytes | Path) -> int:
    """How many images a DICOM file has, by its header.

    Raises:
        MissingFileError: no such file.
        InputError: no DICOM file, without pixels, or too large.
    """
    with reading(name, "DICOM file with a whole header", ADVICE):
        return _frames(name, _header(name, source))


def read_frame(
    name: str, source: bytes | Path, number: int, span: Range | None = None, depths: list[Depth] | None = None
) -> npt.NDArray[np.uint8]:
    """A frame as (height, width, 1 or 3), counted from 0.

    Args:
        name: for messages.
        source: the file, or its path.
        number: of the frame.
        span: of values of the modality, where grey values of more than 8 bits are stored; None: the file's window.
        depths: takes the extreme values of a frame to which `span` was applied.

    Raises:
        MissingFileError: no such file.
        InputError: damaged, compressed in a way that pydicom cannot decode here, or of a kind that is not read.
    """
    with reading(name, "DICOM file with a whole header", ADVICE):  # values are read when they are asked for
        return _frame(name, source, number, span, depths)


def _frame(
    name: str, source: bytes | Path, number: int, span: Range | None, depths: list[Depth] | None
) -> npt.NDArray[np.uint8]:
    header = _header(name, source)
    frames, kind = _frames(name, header), str(header.get("PhotometricInterpretation", "none"))
    if kind not in (*GREYS, *COLOURS, PALETTE):
        raise InputError(f"{name} has {kind}; expected MONOCHROME1, MONOCHROME2, RGB, YBR or PALETTE COLOR.")
    stored = _stored(name, source, header, number if frames > 1 else None)
    expected = (header.Rows, header.Columns) + ((3,) if kind in COLOURS else ())
    if stored.shape != expected or stored.dtype.kind not in "iuf":
        raise InputError(f"{name} is {stored.dtype} {stored.shape}; expected numbers {expected}.")
    with reading(name, "DICOM file with a whole header", ADVICE):
        if kind in (*COLOURS, PALETTE):
            return _colours(name, header, stored, kind)
        padded = _padded(header, stored)
        values = _modality(name, header, number, stored)
        if span is not None and int(header.get("BitsStored") or 16) > 8:
            pixels = to_8_bits(values, span)
            if depths is not None and not padded.all():
                depths.append(Depth(float(values[~padded].min()), float(values[~padded].max())))
        else:
            shares = _window(name, header, number, values, padded)
            pixels = np.floor(np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)
        pixels = 255 - pixels if kind == "MONOCHROME1" else pixels
        pixels[padded] = 0
        return np.asarray(pixels[:, :, None], np.uint8)


def _colours(name: str, header: Any, stored: npt.NDArray[Any], kind: str) -> npt.NDArray[np.uint8]:
    """Colours of 8 bits; of more, the largest number of the stored bits becomes 255."""
    bits = int(header.get("BitsStored") or 8)
    if kind == PALETTE:
        stored = _pydicom(name).pixels.apply_color_lut(stored, header)
        bits = 8 * stored.dtype.itemsize
    if stored.dtype.kind != "u" or not 1 <= bits <= 16:
        raise InputError(f"{name} has colours of {stored.dtype}, {bits} bits; expected at most 16 bits without a sign.")
    if stored.dtype == np.uint8 and bits == 8:
        return np.asarray(stored, np.uint8)
    return to_8_bits(stored, Range(0, 2**bits - 1))


def _padded(header: Any, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where the scanner saw nothing, by the padding value of the file or its range."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    end = header.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if end is None else end)))
    return np.asarray((stored >= low) & (stored <= high))


def _modality(name: str, header: Any, number: int, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if "ModalityLUTSequence" in header:
        return np.asarray(_pydicom("").pixels.apply_modality_lut(stored, header), np.float64)
    slope = _value(header, number, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _value(header, number, "PixelValueTransformationSequence", "RescaleIntercept")
    scale, shift = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    if scale == 0 or not (math.isfinite(scale) and math.isfinite(shift)):
        raise InputError(f"{name} has RescaleSlope {scale:g} and RescaleIntercept {shift:g}. {ADVICE}")
    return stored.astype(np.float64) * scale + shift


def _window(
    name: str, header: Any, number: int, values: npt.NDArray[np.float64], padded: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """The values with 0 at the low end of the window and 1 at its high end."""
    centre = _value(header, number, "FrameVOILUTSequence", "WindowCenter")
    width = _value(header, number, "FrameVOILUTSequence", "WindowWidth")
    if centre is None or width is None:
        if header.get("VOILUTSequence"):
            table = header.VOILUTSequence[0]
            shown = _pydicom(name).pixels.apply_voi_lut(values.astype(np.int64), header)
            return np.asarray(shown / (2 ** int(table.LUTDescriptor[2]) - 1), np.float64)
        seen = values[~padded]
        if not seen.size or not np.isfinite(seen).all():
            raise InputError(f"{name} has no pixel that is not padding, or some that are not finite. {ADVICE}")
        low, high = seen.min(), seen.max()
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
    if getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID") == INDEX:
        raise InputError(f"{name} is a DICOMDIR, which lists other files and holds no image. Name its folder.")
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
    with reading(name, "DICOM file", ADVICE), _opened(source) as content:
        _check_packed(name, content)
        return pydicom.dcmread(content, stop_before_pixels=True)


def _check_packed(name: str, content: Any) -> None:
    """Refuse a deflated file that is too large when unpacked: pydicom unpacks all of it to read its header."""
    content.seek(MAGIC_AT + len(MAGIC))
    first = content.read(12)  # (0002,0000) UL 4, the length of the group
    length = int.from_bytes(first[8:], "little") if first[:8] == b"\x02\x00\x00\x00UL\x04\x00" else 1 << 12
    deflated = DEFLATED.encode() in content.read(length)
    if deflated and first[:4] == b"\x02\x00\x00\x00":
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        unpacking.decompress(content.read(), MOST_INFLATED)
        deflated = bool(unpacking.unconsumed_tail)
    content.seek(0)
    if deflated:
        raise InputError(f"{name} is deflated and would be larger than {MOST_INFLATED >> 20} MiB. Write it unpacked.")


def _stored(name: str, source: bytes | Path, header: Any, number: int | None) -> npt.NDArray[Any]:
    pydicom = _pydicom(name)
    syntax = header.file_meta.get("TransferSyntaxUID")
    with reading(name, "DICOM file with whole pixels", ADVICE):
        try:
            with _opened(source) as content:
                whole = pydicom.dcmread(content) if syntax == DEFLATED else content
                return np.asarray(pydicom.pixels.pixel_array(whole, index=number))
        except (NotImplementedError, RuntimeError):
            what = getattr(syntax, "name", "unknown")
            raise InputError(
                f"{name} is compressed as `{what}`, which pydicom cannot decode here: pip install pylibjpeg[all], or "
                "write it uncompressed."
            ) from None


def _opened(source: bytes | Path) -> AbstractContextManager[Any]:
    return BytesIO(source) if isinstance(source, bytes) else mapped(source)


def _pydicom(name: str) -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise not_installed(f"{name}, a DICOM file,", "pydicom", "medical") from None
    return pydicom
