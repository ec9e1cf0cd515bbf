"""Damaged archives, arrays, labels and lists: one line each, whatever a library raised."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import labels, load
from ood_shared.errors import InputError, MissingFileError

from .broken_sets import idx, png, refused, scored, write_idx


def test_a_damaged_xz_is_one_line(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        info = tarfile.TarInfo("test/a/0.png")
        info.size = len(png())
        archive.addfile(info, io.BytesIO(png()))
    data = bytearray(buffer.getvalue())
    for at in range(20, len(data) - 20, 3):
        data[at] ^= 255
    (tmp_path / "x.tar").write_bytes(data)
    assert "x.tar is damaged or no archive" in refused(tmp_path / "x.tar")
    assert "damaged or no archive" in scored(tmp_path / "x.tar")[-1][1]


def test_a_damaged_member_packed_by_lzma_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("test/a/0.png", np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8).tobytes())
    data = bytearray(path.read_bytes())
    for at in range(60, 3000, 7):
        data[at] ^= 255
    path.write_bytes(data)
    assert "x.zip is damaged or no archive" in refused(path)


@pytest.mark.parametrize("header", [b"(" * 118, b"[" * 118, b"{'descr':" + b"-" * 109, b"\xff" * 118])
def test_a_header_of_an_array_that_python_cannot_parse_is_one_line(tmp_path: Path, header: bytes) -> None:
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", array)
    assert "x.npz is damaged or no .npz" in refused(path)


# Labels and lists


@pytest.mark.parametrize("numbers", [[0, 2_000_000_000], [0, -1], [0, 100_000]])
def test_an_idx_label_that_is_no_class_is_refused(tmp_path: Path, numbers: list[int]) -> None:
    data = np.array(numbers, ">i4").tobytes()
    write_idx(tmp_path, idx(8, 2, 4, 4, data=bytes(32)), idx(0x0C, 2, data=data))
    assert f"holds labels from {min(numbers)}" in refused(tmp_path)


def test_idx_images_without_pixels_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, idx(8, 2, 28, 0), idx(8, 2, data=bytes(2)))
    assert "2 x 28 x 0 numbers, which is none" in refused(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.array([0, 1e300]), "expected numbers from 0"),
        (np.array([0, np.inf]), "expected whole numbers"),
        (np.array([0, 2**63], np.uint64), "expected numbers from 0"),
        (np.array([0, 1j]), "expected whole numbers"),
        (np.zeros((2, 0)), "expected whole numbers"),
        (np.zeros((2, 2, 2)), "expected whole numbers"),
        (np.array([[0, 2], [1, 0]]), "only 0 and 1"),
    ],
)
def test_labels_that_are_none_are_refused(given: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        labels.read_labels("x", {"test": given})


@pytest.mark.parametrize(
    "content", [b"a.png 0\0\n", b"\xff\xfea\0", b"a.png " + b"9" * 5000, b"x" * (1 << 20), b"../a.png 0", b"/a.png 0"]
)
def test_a_line_of_a_list_that_is_none_is_one_short_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_x.txt").write_bytes(content)
    said = refused(tmp_path / "test_x.txt")
    assert len(said) < 500


def test_a_missing_file_of_a_list_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "test_x.txt").write_text("a.png 0\n")
    with pytest.raises(MissingFileError, match=r"line 1: .*a\.png is missing"):
        load(str(tmp_path / "test_x.txt"), "test")
