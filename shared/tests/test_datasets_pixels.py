"""What a file says about its pixels is used: which way is up, what is transparent, how many bits there are."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.decode import Encoded, decode, read_image, to_pixels
from ood_shared.datasets.formats import left_out
from ood_shared.datasets.pixels import FULL_16, Depth, Range, depth_notes, parse_range, to_8_bits, turned
from ood_shared.errors import InputError, MissingFileError
from PIL import Image, ImageOps

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (6, 8, 3)).astype(np.uint8)
WIDE = RANDOM.integers(0, 65536, (6, 8)).astype(np.uint16)
KINDS = ("JPEG", "PNG", "TIFF", "WEBP")


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


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.floor(share * colours + (1 - share) * 255 + 0.5).astype(np.uint8)


ALPHA = RANDOM.integers(0, 256, (6, 8)).astype(np.uint8)
ALPHA[0, 0], ALPHA[0, 1] = 0, 255


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
