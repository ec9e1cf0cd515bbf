"""What OpenCV decodes: plain PNG and JPEG files, and colours of 16 bits per channel. Everything else is Pillow's.

Plain are grey and RGB files of 8 bits per channel, PNG with or without alpha and JPEG without a colour space of its
own. Both libraries gave the same bytes for each that was tried, cut, broken and random ones included
(`test_datasets_decode.py`); small files take OpenCV a third to a twentieth of the time (PNG and JPEG of 32 x 32), large
ones four fifths. A file whose structure has any flaw goes to Pillow, which refuses what OpenCV would fill with grey.

Of colours of 16 bits Pillow keeps the upper 8 bits without rounding, or none; here they are rounded.
"""

import re
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

FULL_16, FULL_8 = 65535, 255
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_COLOURS = (0, 2, 6)  # grey, RGB, RGBA; a palette, or grey with alpha, is Pillow's
PNG_CHUNKS = (b"IHDR", b"IDAT", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"sRGB")
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
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB), np.uint8)


def decode_16_bit_colour(data: bytes) -> npt.NDArray[np.uint8] | None:
    """The pixels (height, width, 3) of a colour image of 16 bits, 65535 becoming 255; None when it is none.

    Rounded to the nearest of 256 levels; transparency is dropped.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return None
    wide = pixels[:, :, 2::-1].astype(np.uint32)  # blue, green, red (, alpha) -> red, green, blue
    return ((wide * FULL_8 + FULL_16 // 2) // FULL_16).astype(np.uint8)


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
