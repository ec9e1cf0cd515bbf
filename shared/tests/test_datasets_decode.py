"""Image files of 16 bits per channel and TIFF; OpenCV and Pillow give the same pixels."""

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from ood_shared.datasets import opencv
from ood_shared.datasets.decode import MAX_PIXELS, Encoded, decode, to_pixels
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


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as opened:
        return to_pixels(opened, "file")


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = 6  # to be shown turned by a quarter
    return exif


RANDOM = np.random.default_rng(1)
PHOTO = np.clip(cv2.GaussianBlur(RANDOM.normal(128, 400, (61, 45, 3)), (9, 9), 3), 0, 255).astype(np.uint8)
GREY, RGB = Image.fromarray(PHOTO[..., 0]), Image.fromarray(PHOTO)
RGBA = Image.fromarray(np.dstack([PHOTO, PHOTO[..., 1]]))
PLAIN = {
    "PNG grey": saved(GREY, "PNG"),
    "PNG RGB": saved(RGB, "PNG", optimize=True),
    "PNG RGBA": saved(RGBA, "PNG"),
    "JPEG grey": saved(GREY, "JPEG"),
    "JPEG RGB": saved(RGB, "JPEG", quality=60),
    "JPEG RGB 4:4:4": saved(RGB, "JPEG", subsampling=0, quality=97),
    "JPEG RGB 4:2:2": saved(RGB, "JPEG", subsampling=1),
    "JPEG progressive": saved(RGB, "JPEG", progressive=True),
    "JPEG with EXIF": saved(RGB, "JPEG", exif=Image.Exif()),
}
OTHER = {
    "PNG palette": saved(RGB.quantize(16), "PNG"),
    "PNG grey with alpha": saved(RGBA.convert("LA"), "PNG"),
    "PNG with a transparent colour": saved(RGB, "PNG", transparency=(1, 2, 3)),
    "PNG with a colour profile": saved(RGB, "PNG", icc_profile=b"profile"),
    "PNG of 1 bit": saved(GREY.convert("1"), "PNG"),
    "JPEG to be turned": saved(RGB, "JPEG", exif=turned()),
    "JPEG CMYK": saved(RGB.convert("CMYK"), "JPEG"),
    "BMP": saved(RGB, "BMP"),
    "TIFF": saved(RGB, "TIFF"),
    "PPM": saved(RGB, "PPM"),
}


@pytest.mark.parametrize("kind", [*PLAIN, *OTHER])
def test_a_file_gives_the_pixels_that_pillow_gives(kind) -> None:
    data = (PLAIN | OTHER)[kind]
    assert (opencv.decode_plain(data, MAX_PIXELS) is not None) == (kind in PLAIN)  # who reads it
    found, expected = decode(Encoded(0, "file", data)), by_pillow(data)
    assert found.shape == expected.shape
    assert (found == expected).all(), int((found != expected).sum())


def broken(data: bytes, random: np.random.Generator) -> bytes:
    """Cut short, some bytes changed or left out."""
    way, at = random.integers(3), int(random.integers(1, len(data)))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + bytes([random.integers(256)]) + data[at + 1 :]
    return data[:at] + data[at + int(random.integers(1, 40)) :]


def spoilt_below_its_checksum(data: bytes, random: np.random.Generator) -> bytes:
    """A PNG file whose compressed pixels are wrong, with a checksum that says otherwise."""
    at, parts = len(opencv.PNG), [opencv.PNG]
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = bytearray(data[at + 8 : at + 8 + length])
        if kind == b"IDAT":
            body[random.integers(length)] ^= int(random.integers(1, 256))
        parts.append(struct.pack(">I", length) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
        at += 12 + length
    return b"".join(parts)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_broken_file_is_refused_where_pillow_refuses_it(kind) -> None:
    random, refused = np.random.default_rng(2), 0
    for number in range(200):
        spoil = spoilt_below_its_checksum if kind.startswith("PNG") and number % 2 else broken
        data = spoil(PLAIN[kind], random)
        try:
            expected = by_pillow(data)
        except Exception:  # whatever Pillow raises
            refused += 1
            with pytest.raises(InputError):
                decode(Encoded(0, "file", data))
        else:
            assert (decode(Encoded(0, "file", data)) == expected).all()
    assert refused > 20


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    data = bytearray(PLAIN["PNG grey"])
    data[16:24] = struct.pack(">II", 1 << 13, (1 << 13) + 1)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(InputError, match="at most 67108864"):
        decode(Encoded(0, "bomb", bytes(data)))
