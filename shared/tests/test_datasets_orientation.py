"""Which way is up, as a photograph says in EXIF or XMP, is followed."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.decode import read_image
from ood_shared.datasets.pixels import turned
from PIL import Image, ImageOps

from .random_pictures import PHOTO, exif, pixels_of, saved

KINDS = ("JPEG", "PNG", "TIFF", "WEBP")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_exif_transpose_does(kind: str, orientation: int) -> None:
    data = saved(Image.fromarray(PHOTO), kind, exif=exif(orientation))
    with Image.open(BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(pixels_of(data), expected)
    assert expected.shape[:2] == ((8, 6) if orientation > 4 else (6, 8))
    assert np.array_equal(turned(PHOTO, orientation), np.asarray(ImageOps.exif_transpose(with_exif(orientation))))


def with_exif(orientation: int) -> Image.Image:
    image = Image.fromarray(PHOTO)
    image.getexif()[0x0112] = orientation
    return image


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_an_orientation_that_stands_in_xmp_alone_is_applied(orientation: int) -> None:
    packet = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    for kind in ("JPEG", "PNG"):
        options = {"xmp": packet} if kind == "JPEG" else {"pnginfo": _text("XML:com.adobe.xmp", packet.decode())}
        data = saved(Image.fromarray(PHOTO), kind, **options)
        with Image.open(BytesIO(data)) as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened))
        assert np.array_equal(pixels_of(data), expected)
        assert expected.shape[:2] == ((8, 6) if orientation > 4 else (6, 8))


def _text(key: str, value: str) -> object:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(key, value)
    return info


@pytest.mark.parametrize("spoiled", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(40)])
def test_exif_that_cannot_be_read_turns_nothing(spoiled: bytes) -> None:
    plain = saved(Image.fromarray(PHOTO), "JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(spoiled)) + spoiled + plain[2:]
    assert np.array_equal(pixels_of(data), pixels_of(plain))


def test_photographs_of_a_phone_stand_upright_in_every_reader(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "train" / "a" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PHOTO).save(path, exif=exif(6))
    assert load(str(tmp_path), "train").images.shape == (4, 8, 6, 3)
    assert read_image(path).size == (6, 8)
