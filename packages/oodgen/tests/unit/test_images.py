"""Float images to grey PNG files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError
from oodgen.data.png import to_uint8, write_png
from PIL import Image


@pytest.mark.parametrize(
    ("value", "pixel"),
    [(0.0, 0), (1.0, 255), (0.5, 128), (1 / 255, 1), (0.49 / 255, 0), (0.51 / 255, 1), (-0.3, 0), (1.7, 255)],
)
def test_values_are_rounded_and_clipped(value: float, pixel: int) -> None:
    assert to_uint8(torch.tensor([value])).tolist() == [pixel]


def test_every_pixel_value_survives_the_way_to_float_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(pixels.float() / 255), pixels)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="holds NaN"):
        to_uint8(torch.tensor([0.5, float("nan")]))


def test_a_written_file_is_a_grey_png_with_the_same_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.array(image), pixels)
