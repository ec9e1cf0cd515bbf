"""Encoded image files to one uint8 array, in threads: the decoders give the interpreter lock back while they decode.

Every file is read by `decode`, for training and for scoring alike: plain PNG and JPEG files by OpenCV (`opencv`), all
others by Pillow, whose numbers the original programs have.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ood_shared.datasets import opencv
from ood_shared.errors import InputError, ManySizesError, MissingFileError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff")  # upper or lower case
MAX_PIXELS = 1 << 26  # of one image; more is a bomb or a slide, and neither fits here
CHUNK = 256  # encoded images in memory at a time
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


class Encoded(NamedTuple):
    """An image to decode: its place in the result, its name for messages, and where it is.

    That is the encoded file, its path, the pixels, uint8 (height, width, 1 or 3), or a function that gives them; `held`
    is about how many bytes that function keeps in memory.
    """

    place: int
    name: str
    data: bytes | Path | npt.NDArray[np.uint8] | Callable[[], npt.NDArray[np.uint8]]
    held: int = 0


def is_image(name: str) -> bool:
    """Whether the extension is one that is read."""
    return name.lower().endswith(EXTENSIONS)


def decode_all(
    items: Iterable[Encoded],
    count: int,
    size: int | None = None,
    channels: int | None = None,
) -> npt.NDArray[np.uint8]:
    """The images as one array (count, height, width, channels), each at its place.

    Args:
        items: `count` images; consumed in order, a few hundred at a time.
        count: how many there are.
        size: side of the result: the centre square of each image, resized with antialiasing. None: all images must have
            the same size.
        channels: 1 or 3 to convert every image. None: all images must be grey, or all RGB.

    Raises:
        MissingFileError: a file is not there.
        InputError: a broken image, one of more than 8 bits per channel, or images that differ; with the names.
    """
    result: npt.NDArray[np.uint8] | None = None
    first = ""
    remaining = iter(items)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(remaining, CHUNK)):
            for item, pixels in zip(chunk, pool.map(lambda item: decode(item, size, channels), chunk), strict=True):
                if result is None:
                    first = item.name
                    result = np.empty((count, *pixels.shape), dtype=np.uint8)
                if pixels.shape != result.shape[1:]:
                    raise _mismatch(first, result.shape[1:], item.name, pixels.shape)
                result[item.place] = pixels
    if result is None:
        raise InputError("There are no images to decode.")
    return result


def decode(item: Encoded, size: int | None = None, channels: int | None = None) -> npt.NDArray[np.uint8]:
    """One image as (height, width, channels); see `decode_all`."""
    if isinstance(item.data, bytes | Path):
        pixels = _decode_file(item.name, item.data)
    else:
        pixels = item.data if isinstance(item.data, np.ndarray) else item.data()
    if channels in (None, pixels.shape[2]) and size is None:
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return _channels_last(image)


def _decode_file(name: str, source: bytes | Path) -> npt.NDArray[np.uint8]:
    """The pixels of an encoded image."""
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        plain = opencv.decode_plain(data, MAX_PIXELS)
        if plain is not None:
            return plain
        with Image.open(BytesIO(data)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise InputError(f"{name} has {opened.width} x {opened.height} pixels; at most {MAX_PIXELS} are read.")
            if opened.format == "TIFF" and (pages := getattr(opened, "n_frames", 1)) > 1:
                raise InputError(f"{name} has {pages} pages; expected one image. Write its pages to files.")
            return _channels_last(_decode_16_bit_colour(opened, data) or grey_or_rgb(opened, name))
    except InputError:
        raise
    except FileNotFoundError:
        raise MissingFileError(f"{name} is missing.") from None
    except (*_BROKEN, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} is not a readable image ({_reason(error)}). Replace or remove it.") from error


def _decode_16_bit_colour(opened: Image.Image, data: bytes) -> Image.Image | None:
    """A colour image of 16 bits per channel, of which Pillow would keep the upper 8 without rounding; else None."""
    layout = str([tile[3] for tile in getattr(opened, "tile", ())])  # such as RGB;16B
    if opened.mode not in ("RGB", "RGBA") or ";16" not in layout:
        return None
    pixels = opencv.decode_16_bit_colour(data)
    return None if pixels is None else Image.fromarray(pixels)


def to_pixels(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    """An opened image as (height, width, 1 or 3), as `decode` would have read it.

    Raises:
        InputError: more than 8 bits per channel.
    """
    try:
        return _channels_last(grey_or_rgb(image, name))
    except InputError:
        raise
    except _BROKEN as error:  # a file that is opened late, and is cut short
        raise InputError(f"{name} is not readable ({_reason(error)}). Replace it.") from error


def _channels_last(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def grey_or_rgb(image: Image.Image, name: str) -> Image.Image:
    """The image in mode L or RGB; transparency is dropped, a palette resolved, to grey when all its colours are."""
    if image.mode.startswith("I") or image.mode == "F":
        raise InputError(
            f"{name} has one channel of more than 8 bits (mode {image.mode}); expected 8. "
            "Convert it, choosing which range becomes 0 to 255."
        )
    if image.mode == "P":
        colours = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return image.convert("L" if (colours == colours[:, :1]).all() else "RGB")
    return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")


def _mismatch(first: str, shape: tuple[int, ...], second: str, other: tuple[int, ...]) -> InputError:
    if shape[2] != other[2]:
        kinds = {1: "grey", 3: "RGB"}
        return InputError(
            f"{first} is {kinds[shape[2]]}, {second} is {kinds[other[2]]}; expected one kind. Convert them to one kind."
        )
    return ManySizesError(
        f"{first} has {shape[1]} x {shape[0]} pixels, {second} has {other[1]} x {other[0]}; expected one size. "
        "Resize them to one size."
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    return " ".join(str(error).split())[:120] or type(error).__name__


def numbered(files: Iterable[tuple[str, Path]]) -> Iterator[Encoded]:
    """Files in the order of the result, as `decode_all` takes them."""
    return (Encoded(place, name, path) for place, (name, path) in enumerate(files))
