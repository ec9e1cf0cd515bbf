"""Images of more than 8 bits: the rule that makes 8 of them, and the notes about it."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.pixels import FULL_16, Depth, Range, depth_notes, parse_range, to_8_bits, turned
from ood_shared.errors import InputError
from PIL import Image

from .random_pictures import PHOTO, WIDE, exif, pixels_of, saved


@pytest.mark.parametrize("extension", [".png", ".tif", ".pgm", ".jp2"])
def test_16_bit_grey_becomes_8_bits_by_one_rule(extension: str) -> None:
    if extension == ".jp2":
        data = saved(Image.fromarray(WIDE), "JPEG2000")
    else:
        data = cv2.imencode(extension, WIDE)[1].tobytes()
    assert np.array_equal(pixels_of(data)[..., 0], np.floor(WIDE / 257 + 0.5))
    span = Range(1000, 3000)
    expected = np.floor(np.clip((WIDE.astype(float) - 1000) / 2000, 0, 1) * 255 + 0.5)
    assert np.array_equal(pixels_of(data, span=span)[..., 0], expected)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint32, np.float32])
def test_values_of_an_unknown_range_need_one(kind: type) -> None:
    values = (WIDE // 4).astype(kind)
    data = cv2.imencode(".tif", values)[1].tobytes()
    with pytest.raises(InputError, match=r"scan has values of more than 16 bits.*--value-range LOW,HIGH"):
        pixels_of(data, "scan")
    expected = np.floor(np.clip(values.astype(float) / 16000, 0, 1) * 255 + 0.5)
    assert np.array_equal(pixels_of(data, "scan", Range(0, 16000))[..., 0], expected)


def test_a_value_that_is_not_finite_is_refused() -> None:
    values = WIDE.astype(np.float32)
    values[0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        pixels_of(cv2.imencode(".tif", values)[1].tobytes(), "scan", Range(0, 1))


def test_16_bit_grey_with_alpha_stays_grey_and_colours_turn() -> None:
    rows = b"".join(b"\0" + np.stack([line, line[::-1]], -1).astype(">u2").tobytes() for line in WIDE)
    header = struct.pack(">IIBBBBB", 8, 6, 16, 4, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    assert pixels_of(data).shape == (6, 8, 1)
    colours = np.dstack([WIDE, WIDE // 2, WIDE // 3])
    for orientation in (1, 6):
        plain = cv2.imencode(".png", colours)[1].tobytes()
        body = exif(orientation).tobytes()[6:]
        chunk = struct.pack(">I4s", len(body), b"eXIf") + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        found = pixels_of(plain[:33] + chunk + plain[33:])
        assert np.array_equal(found, turned(to_8_bits(colours[..., ::-1], None), orientation))


def grey_folder(root: Path, values: np.ndarray) -> Path:
    for split in ("train", "test"):
        for name in "ab":
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(values).save(root / split / name / f"{number}.png")
    return root


def test_a_set_of_16_bit_images_is_read_and_says_by_which_rule(tmp_path: Path) -> None:
    values = PHOTO[..., 0].astype(np.uint16) * 257
    found = load(str(grey_folder(tmp_path, values)), "train")
    assert np.array_equal(found.images[0, ..., 0], PHOTO[..., 0])  # 257 a of 65535 is a of 255
    (note,) = found.notes
    assert note.startswith("6 of 6 images have more than 8 bits: values from 0 to 65535 become 0 to 255")


def test_12_bits_in_16_say_which_range_would_use_all_levels(tmp_path: Path) -> None:
    values = (WIDE >> 4).astype(np.uint16)
    values[0, 0], values[0, 1] = 0, 4095
    folder = grey_folder(tmp_path, values)
    assert "--value-range 0,4095 would use them all" in load(str(folder), "train").notes[0]
    found = load(str(folder), "train", span=Range(0, 4095))
    assert (found.images.min(), found.images.max()) == (0, 255)
    assert "values from 0 to 4095" in found.notes[0]
    assert "would use" not in found.notes[0]


@pytest.mark.parametrize("text", ["", "1", "1,1", "2,1", "a,b", "nan,1", "0,inf", "0,1e9999", "0,1,2", "1" * 5000])
def test_a_range_that_is_none_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(InputError, match="expected LOW,HIGH") as caught:
        parse_range(text)
    assert len(str(caught.value)) < 200


def test_a_large_image_is_mapped_as_a_small_one() -> None:
    large = np.tile(WIDE, (50, 50))
    assert np.array_equal(to_8_bits(large, Range(7, 40000)), np.tile(to_8_bits(WIDE, Range(7, 40000)), (50, 50)))
    assert to_8_bits(np.array([0, 65535], np.uint16), FULL_16).tolist() == [0, 255]


def test_notes_are_made_of_deep_images_alone() -> None:
    assert depth_notes([], 3, None) == ()
    assert depth_notes([Depth(0, 65535)], 3, None)[0].startswith("1 of 3 images")
