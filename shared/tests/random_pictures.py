"""Small images of random pixels, as files, and how they are read."""

from io import BytesIO

import numpy as np
from ood_shared.datasets.decode import Encoded, decode, to_pixels
from ood_shared.datasets.pixels import Range
from PIL import Image

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (6, 8, 3)).astype(np.uint8)
WIDE = RANDOM.integers(0, 65536, (6, 8)).astype(np.uint16)
ALPHA = RANDOM.integers(0, 256, (6, 8)).astype(np.uint8)
ALPHA[0, 0], ALPHA[0, 1] = 0, 255


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data: bytes, name: str = "file", span: Range | None = None) -> np.ndarray:
    """By `decode`; an opened image gives the same."""
    found = decode(Encoded(0, name, data), span=span)
    with Image.open(BytesIO(data)) as opened:
        assert np.array_equal(to_pixels(opened, name, span), found)
    return found


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found
