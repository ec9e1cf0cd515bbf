"""Reading what users name: bounded, regular files, one line about anything else."""

import errno
import os
import socket
import zlib

import pytest
from ood_shared import files
from ood_shared.errors import InputError, MissingFileError, one_line


def test_any_error_of_a_library_becomes_one_line_with_its_cause():
    for raised in (
        KeyError("x"),
        TypeError("a\nb"),
        zlib.error("z"),
        RecursionError(),
        UnicodeDecodeError("utf-8", b"", 0, 1, "r"),
    ):
        with (
            pytest.raises(
                InputError, match=r"^f\.bin is damaged or no thing \(.+\)\. Make or fetch it again\.$"
            ) as caught,
            files.reading("f.bin", "thing"),
        ):
            raise raised
        assert caught.value.__cause__ is raised
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        PermissionError(errno.EACCES, "no"),
        OSError(errno.ENOSPC, "full"),
        InputError("mine"),
        KeyboardInterrupt(),
    ],
)
def test_what_says_nothing_about_the_file_passes(raised):
    with pytest.raises(type(raised)) as caught, files.reading("f.bin", "thing"):
        raise raised
    assert caught.value is raised


def test_a_seek_beyond_the_end_is_about_the_file():
    with pytest.raises(InputError, match="damaged"), files.reading("f.bin", "thing"):
        raise OSError(errno.EINVAL, "Invalid argument")
    with pytest.raises(MissingFileError, match=r"f\.bin is missing"), files.reading("f.bin", "thing"):
        raise FileNotFoundError


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    short = os.path.relpath(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")
        for name, kind in (("pipe", "a pipe"), ("device", "a device"), ("folder", "a folder"), ("socket", "a socket")):
            with pytest.raises(InputError, match=rf"{name} is {kind}, not a regular file"):
                files.read_bytes(tmp_path / name, 100)
    with pytest.raises(InputError, match="leads to itself"):
        files.regular(tmp_path / "loop")
    with pytest.raises(MissingFileError):
        files.regular(tmp_path / "none")
    with pytest.raises(InputError, match="is no path"):
        files.regular(tmp_path / "a\0b")


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(6 << 30)
    with pytest.raises(InputError, match="has 6442450944 bytes; at most 1000 are read"):
        files.read_bytes(tmp_path / "large", 1000)


def test_text_is_utf_8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert files.read_text(path) == "one\ntwo\nthree\n"
    path.write_bytes("x".encode("utf-16"))
    with pytest.raises(InputError, match=r"a\.txt is not text in UTF-8 .*Save it as UTF-8"):
        files.read_text(path)


@pytest.mark.parametrize("word", ["", "a\0b", "~nobody-of-that-name/x", "a\udcff", "a\nb"])
def test_a_word_that_is_no_path_is_one_line(word):
    with pytest.raises(InputError) as caught:
        files.path_of(word)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_an_output_folder_is_not_an_input(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "in/a.nii").write_bytes(b"")
    for output in ("in", "link", "in/../in"):
        for source in ("in", "in/a.nii"):
            with pytest.raises(InputError, match="would be overwritten"):
                files.refuse_same_folder(tmp_path / output, tmp_path / source)
    files.refuse_same_folder(tmp_path / "in/out", tmp_path / "in")


def test_an_output_folder_holds_nothing_that_a_link_of_the_input_leads_to(tmp_path):
    for folder in ("whole", "some", "out"):
        (tmp_path / folder).mkdir()
    (tmp_path / "whole/a.nii").write_bytes(b"")
    (tmp_path / "some/a.nii").symlink_to("../whole/a.nii")
    with pytest.raises(InputError, match=r"whole holds what \S+some/a\.nii leads to"):
        files.refuse_same_folder(tmp_path / "whole", tmp_path / "some")
    files.refuse_same_folder(tmp_path / "out", tmp_path / "some")
    (tmp_path / "some/b.nii").symlink_to("nowhere")
    files.refuse_same_folder(tmp_path / "out", tmp_path / "some")


def test_cells_of_a_csv_are_no_formulas():
    assert [files.csv_cell(text) for text in ("=A1", "+1", "-x", "@a", "-0.5", "plain", "")] == [
        *("'=A1", "+1", "'-x", "'@a", "-0.5", "plain", "")
    ]


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path):
    keep = [".hidden", "a.part-12345678", ".a.parting", "b.txt"]
    gone = [".a.part-abcdefgh.pt", ".model.part-00000000.pth"]
    for name in (*keep, *gone):
        (tmp_path / name).write_bytes(b"")
    assert files.remove_leftovers(tmp_path, "model") == [gone[1]]
    assert files.remove_leftovers(tmp_path) == [gone[0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep)


def test_a_long_text_is_cut_in_the_middle():
    assert one_line("a \n b") == "a b"
    cut = one_line("x" * 10_000 + "end")
    assert len(cut) == 500
    assert cut.endswith("end")
