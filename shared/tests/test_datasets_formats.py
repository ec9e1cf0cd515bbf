"""Formats of image files: which are read, refused or left out, and what a TIFF means by 0."""

import struct
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.decode import Encoded, decode, read_image, to_pixels
from ood_shared.datasets.formats import left_out
from ood_shared.errors import InputError, MissingFileError
from PIL import Image

from .random_pictures import PHOTO, pixels_of, saved


@pytest.mark.parametrize(
    "kind", ["PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "TGA", "PCX", "SGI", "QOI"]
)
def test_formats_of_pillow_are_read_by_their_ending(tmp_path: Path, kind: str) -> None:
    ending = {"JPEG2000": "jp2"}.get(kind, kind.lower())
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}
    for split in ("train", "test"):
        path = tmp_path / split / "a" / f"0.{ending}"
        path.parent.mkdir(parents=True)
        Image.fromarray(PHOTO).save(path, kind, **lossless)
    found = load(str(tmp_path), "test")
    assert found.images.shape == (1, 6, 8, 3)
    if kind not in ("GIF", "AVIF"):
        assert np.array_equal(found.images[0], PHOTO)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_file_of_several_images_is_refused(kind: str) -> None:
    images = [Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1])]
    data = saved(images[0], kind, save_all=True, append_images=images[1:])
    with pytest.raises(InputError, match=r"x has 2 (frames|pages); expected one image"):
        decode(Encoded(0, "x", data))


def test_a_photograph_with_further_pictures_in_it_is_its_first() -> None:
    data = saved(Image.fromarray(PHOTO), "MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])])
    assert np.abs(pixels_of(data, "x.jpg").astype(int) - PHOTO).mean() < 60


def test_cmyk_is_read_as_pillow_reads_it() -> None:
    image = Image.fromarray(PHOTO).convert("CMYK")
    assert np.array_equal(pixels_of(saved(image, "TIFF")), np.asarray(image.convert("RGB")))
    assert np.array_equal(to_pixels(image, "image"), np.asarray(image.convert("RGB")))


def test_images_of_kinds_that_are_not_read_are_counted_in_a_line(tmp_path: Path) -> None:
    for number in range(36):
        path = tmp_path / "test" / "a" / f"{number}.{'png' if number % 2 else 'heic'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PHOTO).save(path, "PNG")
    found = load(str(tmp_path), "test")
    assert len(found) == 18
    assert found.notes[0].startswith("18 of 36 files left out (.heic)")
    assert left_out(["a.svg", "b.DNG"], 0)[0].startswith("2 of 2 files left out (.dng, .svg)")


def test_a_program_of_postscript_is_not_run(tmp_path: Path) -> None:
    for name in ("x.png", "x.tif"):
        with pytest.raises(InputError, match="no known image format"):
            decode(Encoded(0, name, saved(Image.fromarray(PHOTO), "EPS")))


@pytest.mark.parametrize("missing", ["gone.png", "gone.tif"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(MissingFileError, match=f"{missing} is missing"):
        read_image(tmp_path / missing)


def tiff(values: np.ndarray, photometric: int, sample_format: int = 1) -> bytes:
    """A grey TIFF with these tags, which Pillow would not write."""
    data, (height, width) = values.tobytes(), values.shape
    longs = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    shorts = {258: 8 * values.itemsize, 259: 1, 262: photometric, 277: 1, 339: sample_format}
    entries = [(tag, struct.pack("<HHII", tag, 4, 1, value)) for tag, value in longs.items()]
    entries += [(tag, struct.pack("<HHIHH", tag, 3, 1, value, 0)) for tag, value in shorts.items()]
    table = b"".join(entry for _, entry in sorted(entries))
    start = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return start + struct.pack("<H", len(entries)) + table + struct.pack("<I", 0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_is_turned_around(kind: type) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    values = grey.astype(kind) * (257 if kind is np.uint16 else 1)
    assert (decode(Encoded(0, "x.tif", tiff(values, 1)))[..., 0] == grey).all()
    assert (decode(Encoded(0, "x.tif", tiff(values, 0)))[..., 0] == 255 - grey).all()


def test_signed_values_of_8_bits_are_refused() -> None:
    values = np.arange(-24, 24, dtype=np.int8).reshape(6, 8)
    with pytest.raises(InputError, match="signed values of 8 bits"):
        decode(Encoded(0, "x.tif", tiff(values, 1, 2)))
