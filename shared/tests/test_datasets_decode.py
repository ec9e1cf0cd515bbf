"""Image files of 16 bits per channel and TIFF."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from ood_shared.datasets.decode import Encoded, decode
from ood_shared.errors import InputError
from PIL import Image

WIDE = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
WIDE[0, 0], WIDE[0, 1] = 0, 65535


def encoded(extension: str, pixels: np.ndarray) -> bytes:
    whole, data = cv2.imencode(extension, pixels)
    assert whole
    return data.tobytes()


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_colours_are_rounded_to_the_nearest_of_256_levels(extension, alpha) -> None:
    stored = WIDE[..., ::-1]
    if alpha:
        stored = np.concatenate([stored, np.full((6, 5, 1), 65535, np.uint16)], axis=2)
    found = decode(Encoded(0, "wide", encoded(extension, stored)))
    expected = np.floor(WIDE / 257 + 0.5).astype(np.uint8)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() == 0
    assert found[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert (found != (WIDE >> 8)).any()  # what cutting off the lower bits would have given


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_16_bit_grey_is_refused_because_its_range_is_not_known(extension) -> None:
    with pytest.raises(InputError, match="more than 8 bits"):
        decode(Encoded(0, "scan", encoded(extension, WIDE[..., 0])))


@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_tiff_is_read(channels) -> None:
    pixels = (WIDE >> 8).astype(np.uint8)[..., :channels]
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "TIFF")
    assert (decode(Encoded(0, "a", buffer.getvalue())) == pixels).all()


def test_a_tiff_of_several_pages_is_refused() -> None:
    buffer = BytesIO()
    page = Image.fromarray((WIDE >> 8).astype(np.uint8))
    page.save(buffer, "TIFF", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="stack has 3 pages"):
        decode(Encoded(0, "stack", buffer.getvalue()))
