"""From an opened image to pixels of 8 bits, grey or RGB, upright, without transparency.

Five rules, the same for every file, set and command:

* the orientation that a file states (EXIF, TIFF, XMP) is applied, as `ImageOps.exif_transpose` does;
* transparent pixels are laid on white: (alpha c + (255 - alpha) 255) / 255, rounded;
* more than 8 bits become 8 by one range for all images, `Range`: by default 0 to 65535 of 16 bits become 0 to 255;
* a TIFF whose 0 is white is turned around, and so are those of 16 bits, which Pillow leaves;
* a palette is grey when all its colours are; CMYK, YCbCr, LAB and the like become RGB as Pillow converts them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ood_shared.errors import InputError
from ood_shared.value_range import FULL_16, RANGE_FLAG, Range, parse_range

__all__ = [
    "FULL_16",
    "ORIENTATION",
    "RANGE_FLAG",
    "Depth",
    "Range",
    "channels_last",
    "depth_notes",
    "on_white",
    "orientation_of",
    "parse_range",
    "pixels_of",
    "to_8_bits",
    "turned",
]

GREY_MODES = ("1", "L", "LA", "La")
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE = 255
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF
WHITE_IS_ZERO, SIGNED = 0, 2  # values of the latter two
_EVERY_16 = np.arange(1 << 16, dtype=np.uint16)


class Depth(NamedTuple):
    """The smallest and the largest value of an image of more than 8 bits."""

    low: float
    high: float


def to_8_bits(values: npt.NDArray[Any], span: Range | None) -> npt.NDArray[np.uint8]:
    """Values of more than 8 bits, `span` becoming 0 to 255, rounded to the nearest; None stands for 0 to 65535."""
    if values.dtype == np.uint16 and values.size > len(_EVERY_16):
        return np.asarray(to_8_bits(_EVERY_16, span)[values], np.uint8)
    low, high = span or FULL_16
    shares = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low))
    return np.floor(shares + 0.5).astype(np.uint8)


def on_white(pixels: npt.NDArray[Any], alpha: npt.NDArray[Any], white: int = WHITE) -> npt.NDArray[Any]:
    """Colours (h, w, channels) on white, by their opacity (h, w), 0 to `white`; in the dtype of the colours."""
    if (alpha == white).all():
        return np.ascontiguousarray(pixels)
    share = alpha.astype(np.int64)[..., None]
    mixed = (share * pixels + (white - share) * white + white // 2) // white
    return np.asarray(mixed, pixels.dtype)


def turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Pixels (h, w, channels) upright, by their EXIF orientation, 1 to 8; another number leaves them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    down = orientation in (3, 4, 7, 8)
    left = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if left else 1])


def orientation_of(image: Image.Image) -> int:
    """What a loaded image says about its orientation, 1 where it says nothing or nothing that can be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF data raises whatever its parts do; the pixels are whole
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """A loaded image as it is to be seen."""
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def pixels_of(image: Image.Image, name: str, span: Range | None, depths: list[Depth] | None) -> npt.NDArray[np.uint8]:
    """An opened image by the rules above, (height, width, 1 or 3); but for colours of 16 bits, which Pillow cuts.

    Args:
        image: opened; it is loaded here.
        name: for messages.
        span: of values of more than 8 bits.
        depths: takes the extreme values of an image of more than 8 bits.

    Raises:
        InputError: values of an unknown range, and no `span`.
    """
    if _tags(image).get(SAMPLE_FORMAT, (1,))[0] == SIGNED and 8 in _tags(image).get(BITS, ()):
        raise InputError(f"{name} has signed values of 8 bits, which are not read. Convert it to unsigned ones.")
    image.load()
    shown = upright(image)
    if shown.mode.startswith("I") or shown.mode == "F":
        return _deep_grey(shown, image, name, span, depths)
    return channels_last(grey_or_rgb(shown))


def grey_or_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of 8 bits in mode L or RGB, transparency laid on white."""
    grey = image.mode in GREY_MODES
    if image.mode in ("P", "PA"):
        colours = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        grey = bool((colours == colours[:, :1]).all())
    if image.mode == "La":  # multiplied by its alpha; Pillow converts it to LA alone
        image = image.convert("LA")
    if image.has_transparency_data:
        layers = np.asarray(image.convert("RGBA"))
        mixed = on_white(layers[..., :3], layers[..., 3])
        return Image.fromarray(np.ascontiguousarray(mixed[..., 0]) if grey else mixed)
    return image.convert("L" if grey else "RGB")


def channels_last(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels (height, width, channels) of an image in mode L or RGB."""
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def depth_notes(depths: Sequence[Depth], count: int, span: Range | None) -> tuple[str, ...]:
    """What became of values of more than 8 bits, for people; nothing where there were none.

    Args:
        depths: of the images that had some.
        count: images of the set.
        span: that was asked for.
    """
    if not depths:
        return ()
    low, high = (f"{end:g}" for end in span or FULL_16)
    least, most = min(depth.low for depth in depths), max(depth.high for depth in depths)
    said = f"{len(depths)} of {count} images have more than 8 bits: values from {low} to {high} become 0 to 255"
    found = f"found: {least:.6g} to {most:.6g}"
    used = (most - least) / ((span or FULL_16).high - (span or FULL_16).low)
    if span is None and used < 0.5 and most > least:
        found += f", few of the 256 levels; {RANGE_FLAG} {least:.6g},{most:.6g} would use them all"
    return (f"{said} ({found}).",)


def _deep_grey(
    shown: Image.Image, source: Image.Image, name: str, span: Range | None, depths: list[Depth] | None
) -> npt.NDArray[np.uint8]:
    """One channel of more than 8 bits."""
    values = np.asarray(shown)
    of_16_bits = shown.mode.startswith("I;16") or source.format in ("PPM", "PNG") or _was_16_bits(source)
    if shown.mode == "F" and not np.isfinite(values).all():
        raise InputError(f"{name} has values that are not finite numbers. Give them a value, or remove it.")
    if span is None and not (of_16_bits and shown.mode != "F"):
        raise InputError(
            f"{name} has values of more than 16 bits, or below 0 (mode {shown.mode}, {values.min():.6g} to "
            f"{values.max():.6g}), whose range is not known. Convert it to 8 bits, or train with {RANGE_FLAG} "
            "LOW,HIGH, the values that become 0 and 255 in ood-bench or ood-detect fit."
        )
    if depths is not None:
        depths.append(Depth(float(values.min()), float(values.max())))
    pixels = to_8_bits(values, span)
    if _tags(source).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        pixels = WHITE - pixels
    key = source.info.get("transparency")
    if isinstance(key, int):
        pixels[values == key] = WHITE
    return pixels[..., None]


def _was_16_bits(image: Image.Image) -> bool:
    """Whether a TIFF of mode I holds unsigned numbers of 16 bits."""
    tags = _tags(image)
    return bool(tags.get(BITS) == (16,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,))


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; nothing of others."""
    found: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return found
