"""What is transparent is laid on white."""

import numpy as np
import pytest
from ood_shared.datasets.decode import to_pixels
from PIL import Image

from .random_pictures import ALPHA, PHOTO, pixels_of, saved


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.floor(share * colours + (1 - share) * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_colours_are_laid_on_white(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = pixels_of(saved(Image.fromarray(np.dstack([PHOTO, ALPHA])), kind, **options))
    assert np.array_equal(found, on_white(PHOTO, ALPHA))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == PHOTO[0, 1].tolist()


def test_transparent_grey_stays_grey() -> None:
    found = pixels_of(saved(Image.fromarray(np.dstack([PHOTO[..., 0], ALPHA])), "PNG"))
    assert found.shape == (6, 8, 1)
    assert np.array_equal(found, on_white(PHOTO[..., :1], ALPHA))


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa"])
def test_opened_images_in_rarer_modes_are_laid_on_white(mode: str) -> None:
    image = Image.fromarray(np.dstack([PHOTO, ALPHA]))
    image = image.quantize(256).convert("PA") if mode == "PA" else image.convert("LA" if mode == "La" else "RGBA")
    image = image if mode == "PA" else image.convert(mode)
    found = to_pixels(image, "image")
    assert found.shape == (6, 8, 1 if mode == "La" else 3)
    if mode != "PA":
        assert (found[0, 0] == 255).all()


def test_a_transparent_colour_of_a_palette_and_of_rgb_is_white() -> None:
    palette = Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (6, 2)))
    palette = palette.convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3])
    for data in (saved(palette, "PNG", transparency=1), saved(palette, "PNG", transparency=b"\xff\x00\xff\xff")):
        found = pixels_of(data)
        assert found[0, :4].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90], [1, 2, 3]]
    key = tuple(int(value) for value in PHOTO[2, 3])
    found = pixels_of(saved(Image.fromarray(PHOTO), "PNG", transparency=key))
    assert found[2, 3].tolist() == [255, 255, 255]
    found = pixels_of(saved(Image.fromarray(PHOTO[..., 0]), "PNG", transparency=int(PHOTO[2, 3, 0])))
    assert (found[2, 3, 0], found.shape[2]) == (255, 1)


def test_opaque_images_keep_every_value() -> None:
    opaque = np.dstack([PHOTO, np.full((6, 8), 255, np.uint8)])
    assert np.array_equal(pixels_of(saved(Image.fromarray(opaque), "PNG")), PHOTO)
