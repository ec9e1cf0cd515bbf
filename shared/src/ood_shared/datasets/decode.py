"""Encoded image files to one uint8 array, in threads: the decoders give the interpreter lock back while they decode.

Every file is read by `decode`, for training and for scoring alike: plain PNG and JPEG files by OpenCV (`opencv`), all
others by Pillow, whose numbers the original programs have. `pixels` holds the rules on orientation, transparency and
values of more than 8 bits.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from ood_shared.datasets import opencv
from ood_shared.datasets.formats import EXTENSIONS, PILLOW_FORMATS, WITHOUT_MAGIC, is_image
from ood_shared.datasets.pixels import (
    FULL_16,
    Depth,
    Range,
    channels_last,
    depth_notes,
    orientation_of,
    pixels_of,
    to_8_bits,
    turned,
)
from ood_shared.errors import InputError, ManyColoursError, ManySizesError, MissingFileError
from ood_shared.files import broken, read_bytes, reading
from ood_shared.notes import say

__all__ = ["EXTENSIONS", "Encoded", "decode", "decode_all", "is_image", "numbered", "read_image", "to_pixels"]

MAX_PIXELS = 1 << 26  # of one image; more is a bomb or a slide, and neither fits here
MAX_FILE = 1 << 28  # bytes of one file
CHUNK = 256  # encoded images in memory at a time
ADVICE = "Replace or remove it."
_CUTTING = threading.Lock()


class Encoded(NamedTuple):
    """An image to decode: its place in the result, its name for messages, and where it is.

    That is the encoded file, its path, the pixels, uint8 (height, width, 1 or 3), or a function that gives them, told
    which values of more than 8 bits count and where to note theirs; `held` is about how many bytes it keeps in memory.
    """

    place: int
    name: str
    data: bytes | Path | npt.NDArray[np.uint8] | Callable[[Range | None, list[Depth] | None], npt.NDArray[np.uint8]]
    held: int = 0


def decode_all(
    items: Iterable[Encoded],
    count: int,
    size: int | None = None,
    channels: int | None = None,
    span: Range | None = None,
    notes: list[str] | None = None,
) -> npt.NDArray[np.uint8]:
    """The images as one array (count, height, width, channels), each at its place.

    Args:
        items: `count` images; consumed in order, a few hundred at a time.
        count: how many there are.
        size: side of the result: the centre square of each image, resized with antialiasing. None: all images must have
            the same size.
        channels: 1 or 3 to convert every image. None: all images must be grey, or all RGB.
        span: of values of more than 8 bits, for all images (`pixels.Range`); None: 0 to 65535 of 16 bits.
        notes: takes a line about what became of values of more than 8 bits.

    Raises:
        MissingFileError: a file is not there.
        InputError: a broken image, values of an unknown range, or images that differ; with the names.
    """
    result: npt.NDArray[np.uint8] | None = None
    first, depths = "", list[Depth]()
    remaining = iter(items)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(remaining, CHUNK)):
            decoded = pool.map(lambda item: decode(item, size, channels, span, depths), chunk)
            for item, pixels in zip(chunk, decoded, strict=True):
                if result is None:
                    first = item.name
                    result = np.empty((count, *pixels.shape), dtype=np.uint8)
                if pixels.shape != result.shape[1:]:
                    raise _mismatch(first, result.shape[1:], item.name, pixels.shape)
                result[item.place] = pixels
    if result is None:
        raise InputError("There are no images to decode.")
    if notes is not None:
        notes += depth_notes(depths, count, span)
    return result


def decode(
    item: Encoded,
    size: int | None = None,
    channels: int | None = None,
    span: Range | None = None,
    depths: list[Depth] | None = None,
) -> npt.NDArray[np.uint8]:
    """One image as (height, width, channels); see `decode_all`. `depths` takes the extremes of more than 8 bits."""
    if isinstance(item.data, bytes | Path):
        pixels = _decode_file(item.name, item.data, span, depths)
    else:
        pixels = item.data if isinstance(item.data, np.ndarray) else item.data(span, depths)
    if channels in (None, pixels.shape[2]) and size is None:
        return pixels
    image = as_image(pixels)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return channels_last(image)


def read_image(path: Path, span: Range | None = None, cut_short: bool = False) -> Image.Image:
    """A file as a Pillow image in mode RGB, by the rules of `decode`: for programs that cut and resize it themselves.

    Args:
        path: of the file.
        span: of values of more than 8 bits.
        cut_short: whether a file that ends too early is read as far as it goes, the rest being grey or black. That is
            said in a line. Only for programs whose original did so.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no image, or is damaged.
    """
    depths: list[Depth] = []
    try:
        pixels = _decode_file(str(path), path, span, depths)
    except MissingFileError:
        raise
    except InputError:
        if not cut_short:
            raise
        with _CUTTING:
            ImageFile.LOAD_TRUNCATED_IMAGES = True  # of the whole program: no longer than this takes
            try:
                pixels = _decode_file(str(path), path, span, depths)
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        say([f"{path} is cut short or damaged: it is read as far as it goes"])
    if depths:
        low, high = span or FULL_16
        say([f"images of more than 8 bits: values from {low:g} to {high:g} become 0 to 255"])
    return as_image(pixels).convert("RGB")


def as_image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Pixels (height, width, 1 or 3) as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(image: Image.Image, name: str, span: Range | None = None) -> npt.NDArray[np.uint8]:
    """An opened image as (height, width, 1 or 3), as `decode` would have read it.

    Colours of 16 bits are read from its file again where that is open still: Pillow keeps 8 bits of them.

    Raises:
        InputError: values of an unknown range, or a file that turns out to be damaged.
    """
    with reading(name, "image", ADVICE):
        deep = _is_deep_colour(image) and _bytes_behind(image)
        return _pixels(image, deep or b"", name, span, None)


def _decode_file(
    name: str, source: bytes | Path, span: Range | None, depths: list[Depth] | None
) -> npt.NDArray[np.uint8]:
    """The pixels of an encoded image."""
    data = source if isinstance(source, bytes) else _read(name, source)
    with reading(name, "image", ADVICE):
        plain = opencv.decode_plain(data, MAX_PIXELS)
        if plain is not None:
            return plain
        more = [kind for ending, kind in WITHOUT_MAGIC.items() if name.lower().endswith(ending)]
        try:
            opened = Image.open(BytesIO(data), formats=[*_formats(), *more])
        except UnidentifiedImageError as error:
            raise broken(name, "image", "no known image format", ADVICE) from error
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise InputError(f"{name} has {opened.width} x {opened.height} pixels; at most {MAX_PIXELS} are read.")
            # A JPEG with further pictures in it (MPO: previews, depth, gain maps) is its first picture.
            if opened.format != "MPO" and (pages := getattr(opened, "n_frames", 1)) > 1:
                what = "pages" if opened.format == "TIFF" else "frames"
                raise InputError(f"{name} has {pages} {what}; expected one image. Write its {what} to files.")
            return _pixels(opened, data, name, span, depths)


def _read(name: str, path: Path) -> bytes:
    """The bytes of a file; what is wrong is said with the name that the image goes by, such as a line of a list."""
    try:
        return read_bytes(path, MAX_FILE, "an image")
    except InputError as error:
        raise type(error)(str(error).replace(str(path), name, 1)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `PILLOW_FORMATS` that the installed Pillow knows."""
    Image.init()
    return tuple(kind for kind in PILLOW_FORMATS if kind in Image.OPEN)


def _pixels(
    opened: Image.Image, data: bytes, name: str, span: Range | None, depths: list[Depth] | None
) -> npt.NDArray[np.uint8]:
    """The pixels of an opened image, from its bytes where Pillow would keep 8 of 16 bits."""
    wide = opencv.decode_16_bits(data) if data and _is_deep_colour(opened) else None
    if wide is None:
        return pixels_of(opened, name, span, depths)
    if depths is not None:
        depths.append(Depth(float(wide.min()), float(wide.max())))
    pixels = to_8_bits(wide, span)
    # OpenCV turns TIFF files itself, and no others here
    return pixels if opened.format == "TIFF" else turned(pixels, orientation_of(opened))


def _is_deep_colour(opened: Image.Image) -> bool:
    """Whether an image has 16 bits per channel and several channels: Pillow keeps the upper 8, without rounding."""
    layout = str([tile[3] for tile in getattr(opened, "tile", ())])  # such as RGB;16B
    return opened.mode in ("RGB", "RGBA", "LA") and ";16" in layout


def _bytes_behind(image: Image.Image) -> bytes:
    """The file of an opened image; nothing where it is closed."""
    file = getattr(image, "fp", None)
    if file is None or not file.seekable():
        return b""
    at = file.tell()
    try:
        file.seek(0)
        data: bytes = file.read(MAX_FILE)
    finally:
        file.seek(at)
    return data


def _mismatch(first: str, shape: tuple[int, ...], second: str, other: tuple[int, ...]) -> InputError:
    if shape[2] != other[2]:
        kinds = {1: "grey", 3: "RGB"}
        return ManyColoursError(
            f"{first} is {kinds[shape[2]]}, {second} is {kinds[other[2]]}; expected one kind. Convert them to one kind."
        )
    return ManySizesError(
        f"{first} has {shape[1]} x {shape[0]} pixels, {second} has {other[1]} x {other[0]}; expected one size. "
        "Resize them to one size."
    )


def numbered(files: Iterable[tuple[str, Path]]) -> Iterator[Encoded]:
    """Files in the order of the result, as `decode_all` takes them."""
    return (Encoded(place, name, path) for place, (name, path) in enumerate(files))
