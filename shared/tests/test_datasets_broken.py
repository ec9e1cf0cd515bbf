"""Broken and hostile data: one line each, and neither a hang nor more memory than the files are worth."""

import bz2
import gzip
import io
import lzma
import os
import socket
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import archives, bounded, decode, labels, load, unpacking
from ood_shared.datasets.survey import survey
from ood_shared.errors import InputError, MissingFileError
from ood_shared.streaming import pending_images, read_items
from PIL import Image

FEW = 1 << 16  # bytes, where a real limit would need gigabytes


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path) -> Path:
    for name in "ab":
        for number in range(2):
            path = root / "test" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(number))
    return root


def refused(path: Path | str, split: str = "test") -> str:
    with pytest.raises(InputError) as caught:
        load(str(path), split)
    said = str(caught.value)
    assert "\n" not in said
    return said


def scored(*words: Path | str) -> list[tuple[str, str]]:
    """Names and problems, as scoring has them."""
    found = [(item.name, item.problem) for item in read_items(pending_images([str(w) for w in words]), lambda p: p)]
    assert all("\n" not in problem for _, problem in found)
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGE", FEW)


# 1 · what is no regular file


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sock(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


SPECIAL = {"a pipe": fifo, "a device": device, "a socket": sock}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.dcm", "x.nii.gz"])
def test_what_is_no_regular_file_is_named_and_not_read(tmp_path: Path, kind: str, name: str) -> None:
    SPECIAL[kind](folder(tmp_path) / "test" / "a" / name)
    assert f"{name} is {kind}, not a regular file" in refused(tmp_path)
    problems = [problem for _, problem in scored(tmp_path) if problem]
    assert len(problems) == 1
    assert f"is {kind}" in problems[0]


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_without_an_ending_is_no_image(tmp_path: Path, kind: str) -> None:
    SPECIAL[kind](folder(tmp_path) / "test" / "a" / "x")
    assert len(load(str(tmp_path), "test")) == 4
    assert len(scored(tmp_path)) == 4


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize(
    "name", ["x.npz", "x.tar", "x.tar.gz", "x.zip", "test_x.txt", "t10k-images-idx3-ubyte", "x.nii.gz", "x.dcm"]
)
def test_a_set_that_is_no_regular_file_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    SPECIAL[kind](tmp_path / name)
    assert f"is {kind}, not a regular file" in refused(tmp_path / name)
    with pytest.raises(InputError, match=kind):
        survey(tmp_path / name, "test")
    (problem,) = [problem for _, problem in scored(tmp_path / name)]
    assert f"is {kind}" in problem


def test_a_file_of_6_gb_of_nothing_is_refused_by_its_size(tmp_path: Path) -> None:
    with (folder(tmp_path) / "test" / "a" / "x.png").open("wb") as file:
        file.truncate(6 << 30)
    assert f"x.png has {6 << 30} bytes; at most {decode.MAX_FILE} are read" in refused(tmp_path)


# 1 · links


def test_links_into_the_folders_around_are_walked_once(tmp_path: Path) -> None:
    for name in "ab":
        (folder(tmp_path) / "test" / name / "up").symlink_to("..", target_is_directory=True)
    assert len(load(str(tmp_path), "test")) == 4
    assert len(scored(tmp_path)) == 4


def test_links_that_lead_to_a_folder_again_and_again_are_named(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(9)]
    for name in names:
        (folder(tmp_path) / "test" / name).mkdir()
        (tmp_path / "test" / name / "0.png").write_bytes(png())
    for name in names:
        for other in names:
            (tmp_path / "test" / name / f"to_{other}").symlink_to(f"../{other}", target_is_directory=True)
    assert "links lead to this folder more than 16 times" in refused(tmp_path)
    assert any("links lead to this folder" in problem for _, problem in scored(tmp_path))


def test_a_link_to_itself_is_no_folder_and_a_broken_one_is_missing(tmp_path: Path) -> None:
    (folder(tmp_path) / "test" / "a" / "loop").symlink_to("loop")
    assert len(load(str(tmp_path), "test")) == 4
    (tmp_path / "test" / "a" / "gone.png").symlink_to("nowhere.png")
    assert "gone.png is missing" in refused(tmp_path)


def test_a_class_folder_that_is_a_link_and_a_split_that_is_one_are_read(tmp_path: Path) -> None:
    (folder(tmp_path) / "val").symlink_to("test", target_is_directory=True)
    assert len(load(str(tmp_path), "val")) == len(load(str(tmp_path), "test")) == 4


# 1 · bombs


def tar_header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_of_gigabytes_in_a_tar_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_header(kind, 5 << 30) + bytes(1 << 16)))
    assert "has a part of" in refused(path)
    assert "has a part of" in scored(path)[-1][1]


@pytest.mark.parametrize("name", ["test/a/0.png", "test/a/0.bin"])
def test_a_member_of_gigabytes_of_a_packed_tar_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = 5 << 30
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1 << 16)))
    assert "unpacks to 5368709120 bytes or more" in refused(path)
    assert "unpacks to" in scored(path)[-1][1]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_members_that_unpack_to_far_more_than_they_are_are_refused(
    tmp_path: Path, few: None, pack: Callable[[bytes], bytes]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(100):
            info = tarfile.TarInfo(f"test/a/{number}.bin")
            info.size = FEW // 2
            archive.addfile(info, io.BytesIO(bytes(FEW // 2)))
    path = tmp_path / "x.tar.gz"
    path.write_bytes(pack(buffer.getvalue()))
    assert "unpacks to" in refused(path)


def test_an_npz_bomb_is_refused_by_its_table_of_contents(tmp_path: Path, few: None) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, test_images=np.zeros((400, 28, 28), np.uint8), test_labels=np.zeros(400, int))
    assert "unpacks to" in refused(path)
    assert "unpacks to" in scored(path)[0][1]


def idx(kind: int, *shape: int, data: bytes = b"") -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def write_idx(root: Path, images: bytes, numbers: bytes, ending: str = "") -> Path:
    root.mkdir(exist_ok=True)
    (root / f"t10k-images-idx3-ubyte{ending}").write_bytes(images)
    (root / f"t10k-labels-idx1-ubyte{ending}").write_bytes(numbers)
    return root


def test_an_idx_bomb_is_refused_by_its_header(tmp_path: Path, few: None) -> None:
    images = gzip.compress(idx(8, 1000, 28, 28, data=bytes(1000 * 784)))
    write_idx(tmp_path, images, gzip.compress(idx(8, 1000, data=bytes(1000))), ".gz")
    assert "unpacks to" in refused(tmp_path)


def test_an_idx_file_that_claims_more_than_it_has_is_not_awaited(tmp_path: Path) -> None:
    write_idx(tmp_path, idx(8, 10_000_000, 28, 28, data=bytes(99)), idx(8, 10_000_000, data=bytes(99)))
    assert "should hold 7840000000 bytes" in refused(tmp_path)


def test_a_set_that_does_not_fit_into_memory_is_refused(tmp_path: Path, few: None, monkeypatch) -> None:
    monkeypatch.setattr(bounded, "free_memory", lambda: FEW)
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", test_images=images, test_labels=np.zeros(400, int))
    assert f"{FEW} are free" in refused(tmp_path / "x.npz")


@pytest.mark.parametrize("numbers", [[0, 2_000_000_000], [0, -1], [0, 100_000]])
def test_an_idx_label_that_is_no_class_is_refused(tmp_path: Path, numbers: list[int]) -> None:
    data = np.array(numbers, ">i4").tobytes()
    write_idx(tmp_path, idx(8, 2, 4, 4, data=bytes(32)), idx(0x0C, 2, data=data))
    assert f"holds labels from {min(numbers)}" in refused(tmp_path)


def test_idx_images_without_pixels_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, idx(8, 2, 28, 0), idx(8, 2, data=bytes(2)))
    assert "2 x 28 x 0 numbers, which is none" in refused(tmp_path)


# 4 · what libraries raise


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


def test_a_name_in_a_zip_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/a/é.png", png())
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    assert "x.zip is damaged or no archive" in refused(path)


@pytest.mark.parametrize("header", [b"(" * 118, b"[" * 118, b"{'descr':" + b"-" * 109, b"\xff" * 118])
def test_a_header_of_an_array_that_python_cannot_parse_is_one_line(tmp_path: Path, header: bytes) -> None:
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", array)
    assert "x.npz is damaged or no .npz" in refused(path)


@pytest.mark.parametrize("word", ["~nouser/x", "~nouser/x.npz"])
def test_the_home_of_nobody_is_one_line(word: str) -> None:
    assert "home folder of a user who is not known" in refused(word)
    with pytest.raises(InputError, match="home folder"):
        scored(word)


@pytest.mark.parametrize("word", ["./x\0y", "x\0.npz"])
def test_a_nul_in_a_path_is_one_line(word: str) -> None:
    assert "is no path" in refused(word)


# 5b · unpacking


def packed(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                archive.writestr(*member)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_an_archive_becomes_a_folder(tmp_path: Path, ending: str) -> None:
    path = packed(tmp_path / f"x{ending}", ("set/a/0.txt", b"0"), ("set/1.txt", b"1"), ("other.txt", b"2"))
    unpacking.unpack(path, tmp_path / "whole")
    assert (tmp_path / "whole" / "other.txt").read_bytes() == b"2"
    unpacking.unpack(path, tmp_path / "data", only="set")
    assert sorted(p.name for p in (tmp_path / "data").rglob("*")) == ["0.txt", "1.txt", "a", "set"]
    with pytest.raises(InputError, match="is there already"):
        unpacking.unpack(path, tmp_path / "data", only="set")
    around = packed(tmp_path / f"y{ending}", ("y/1.txt", b"1"))
    unpacking.unpack(around, tmp_path / "y", look_through=True)
    assert (tmp_path / "y" / "1.txt").read_bytes() == b"1"


HOSTILE = {
    "outside": [("set/0.txt", b"0"), ("../evil", b"x")],
    "absolute": [("set/0.txt", b"0"), ("/evil", b"x")],
    "link": [("set/0.txt", b"0"), link("set/l")],
    "another": [("else/0.txt", b"0")],
    "twice": [("set/0.txt", b"0"), ("set/0.txt", b"1")],
}


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
@pytest.mark.parametrize("case", [*HOSTILE, "cut"])
def test_an_archive_that_is_refused_leaves_nothing(tmp_path: Path, ending: str, case: str, recwarn) -> None:
    if case == "link" and ending == ".zip":
        pytest.skip("a link in a zip is tested for reading")
    path = packed(tmp_path / f"x{ending}", *HOSTILE.get(case, [("set/0.txt", bytes(5000))]))
    if case == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "data").mkdir()
    with pytest.raises((InputError, FileExistsError)) as caught:
        unpacking.unpack(path, tmp_path / "data", only="set")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_fills_the_disk_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = packed(tmp_path / "x.zip", ("set/0.txt", bytes(5000)))
    monkeypatch.setattr(unpacking, "MOST_MEMBER", 100)
    with pytest.raises(InputError, match="too much"):
        unpacking.unpack(path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


# 6 · names


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb", b"a\rb", "a\u2028b".encode()])
def test_a_class_folder_whose_name_cannot_be_written_is_refused_at_once(tmp_path: Path, name: bytes) -> None:
    place = folder(tmp_path) / "test" / os.fsdecode(name)
    place.mkdir()
    (place / "0.png").write_bytes(png())
    assert "Rename it" in refused(tmp_path)
    with pytest.raises(InputError, match="Rename it"):
        survey(tmp_path, "test")


@pytest.mark.parametrize("name", [b"x\xff.png", b"x\ny.png"])
def test_an_image_whose_name_cannot_be_written_is_refused_at_once(tmp_path: Path, name: bytes) -> None:
    (folder(tmp_path) / "test" / "a" / os.fsdecode(name)).write_bytes(png())
    assert "Rename it" in refused(tmp_path)


@pytest.mark.parametrize("name", ["test/a/x\udcff.png", "test/a/x\ny.png"])
def test_a_member_whose_name_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    assert "Rename it" in refused(packed(tmp_path / "x.tar.gz", (name, png())))


# 7 and 8 · labels and lists


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


def test_limits_of_archives_are_those_of_their_kinds() -> None:
    with pytest.raises(InputError, match="one scan may have at most"):
        archives.check_size("x.tar", "a.nii.gz", archives.MAX_SCAN_BYTES + 1)
    with pytest.raises(InputError, match="with holes"):
        archives.check_size("x.tar", "a.png", 1, sparse=True)
