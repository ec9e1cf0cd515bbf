"""What OpenCV decodes: plain PNG and JPEG files, and colours of 16 bits per channel. Everything else is Pillow's.

Plain are grey and RGB files of 8 bits per channel, PNG with or without alpha and JPEG without a colour space of its
own. Both libraries gave the same bytes for each that was tried, cut, broken and random ones included
(`test_datasets_decode.py`); small files take OpenCV a third to a twentieth of the time (PNG and JPEG of 32 x 32), large
ones four fifths. A file whose structure has any flaw goes to Pillow, which refuses what OpenCV would fill with grey; so
does one that says it is to be turned.

Of colours of 16 bits Pillow keeps the upper 8 bits without rounding; here all of them are kept.
"""

import re
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ood_shared.datasets.pixels import ORIENTATION, on_white

FULL_16 = 65535
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
GREY_ALPHA = 4
PNG_COLOURS = (0, 2, 6)  # grey, RGB, RGBA; a palette, or grey with alpha, is Pillow's
PNG_CHUNKS = (b"IHDR", b"IDAT", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"sRGB")
PNG_TEXTS, MAY_TURN = (b"tEXt", b"zTXt", b"iTXt"), (b"XML:com.adobe.xmp", b"Raw profile type")
EXIF, XMP_ORIENTATION = b"Exif\0\0", b"tiff:Orientation"
JPEG_APP1 = 0xE1
JPEG_END, JPEG_SCAN = b"\xff\xd9", 0xDA
JPEG_FRAMES = {0xC0: 1, 0xC2: 1000}  # baseline and progressive, with the most scans of each
JPEG_MARKERS = (*JPEG_FRAMES, 0xC4, JPEG_SCAN, 0xDB, 0xDD, *range(0xE0, 0xEE), 0xEF, 0xFE)  # 0xEE: a colour space
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in a scan; but for the restarts


def decode_plain(data: bytes, most_pixels: int) -> npt.NDArray[np.uint8] | None:
    """The pixels (height, width, 1 or 3) of a plain PNG or JPEG file; None for all else, and for a flawed file.

    Args:
        data: the file.
        most_pixels: of an image that is decoded at all.
    """
    if data.startswith(PNG):
        found = _plain_png(data)
    elif data.startswith(JPEG) and data.endswith(JPEG_END):
        found = _plain_jpeg(data)
    else:
        return None
    if found is None or not 0 < found[0] * found[1] <= most_pixels:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # without turning it by its EXIF data
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[:2] != found:
        return None
    if pixels.ndim == 2:
        return np.asarray(pixels[:, :, None], np.uint8)
    if pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    return np.asarray(on_white(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB), pixels[:, :, 3]), np.uint8)


def decode_16_bits(data: bytes) -> npt.NDArray[np.uint16] | None:
    """The values (height, width, 1 or 3) of an image of 16 bits with several channels; None when it is none.

    Grey with alpha gives one channel. Transparency is laid on white (`pixels.on_white`).
    """
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.ndim != 3 or found.shape[2] not in (3, 4):
        return None
    wide = np.ascontiguousarray(found[:, :, 2::-1])  # blue, green, red (, alpha) -> red, green, blue
    if found.shape[2] == 4:
        wide = on_white(wide, found[:, :, 3], FULL_16)
        if _png_colour(data) == GREY_ALPHA:
            wide = wide[:, :, :1]
    return np.asarray(wide, np.uint16)


def _png_colour(data: bytes) -> int | None:
    """The kind of colour in the header of a PNG file."""
    return data[25] if data.startswith(PNG) and len(data) > 25 else None


def _plain_png(data: bytes) -> tuple[int, int] | None:
    """Height and width of a plain PNG file with right checksums to its end."""
    view, at, size = memoryview(data), len(PNG), None
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return None
        if kind == b"IEND":
            return size
        if kind not in PNG_CHUNKS or (kind == b"IHDR") != (size is None):
            return None
        if kind in PNG_TEXTS and data.startswith(MAY_TURN, at + 8):
            return None
        if kind == b"IHDR":
            if length != 13:
                return None
            width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, at + 8)
            if depth != 8 or colour not in PNG_COLOURS or interlaced:
                return None
            size = (height, width)
        at = end
    return None


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Height and width of a baseline or progressive JPEG file of 8 bits, grey or YCbCr, with no other marker than
    expected to its end: OpenCV fills what follows a wrong one with grey."""
    at, size, most_scans, scans = 2, None, 1, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = struct.unpack_from(">BH", data, at + 1)
        if kind not in JPEG_MARKERS or length < 2:
            return None
        if kind in JPEG_FRAMES:
            if size is not None or length < 8 or at + 10 > len(data):
                return None
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if depth != 8 or components not in (1, 3):
                return None
            size, most_scans = (height, width), JPEG_FRAMES[kind]
        if kind == JPEG_APP1 and _turns(data[at + 4 : at + 2 + length]):
            return None
        at += 2 + length
        if kind == JPEG_SCAN:
            scans += 1
            found = _JPEG_MARKER.search(data, at)
            if size is None or found is None or scans > most_scans:
                return None
            at = found.start()
            if found[0] == JPEG_END:
                return size if at + 2 == len(data) else None
    return None


def _turns(segment: bytes) -> bool:
    """Whether a segment of metadata says, or may say, that the image is to be turned."""
    if not segment.startswith(EXIF):
        return XMP_ORIENTATION in segment
    exif = Image.Exif()
    try:
        exif.load(segment)
        return bool(exif.get(ORIENTATION, 1) != 1)
    except Exception:  # broken EXIF data raises whatever its parts do; Pillow has the last word
        return True
