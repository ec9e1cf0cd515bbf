"""Names of files, members and folders that cannot be read or written."""

import os
import zipfile
from pathlib import Path

import pytest
from ood_shared.datasets import load
from ood_shared.datasets.survey import survey
from ood_shared.errors import InputError

from .broken_sets import folder, packed, png, refused, scored


def test_a_name_in_a_zip_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/a/é.png", png())
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    assert "x.zip is damaged or no archive" in refused(path)


@pytest.mark.parametrize("word", ["~nouser/x", "~nouser/x.npz"])
def test_the_home_of_nobody_is_one_line(word: str) -> None:
    assert "home folder of a user who is not known" in refused(word)
    with pytest.raises(InputError, match="home folder"):
        scored(word)


@pytest.mark.parametrize("word", ["./x\0y", "x\0.npz"])
def test_a_nul_in_a_path_is_one_line(word: str) -> None:
    assert "is no path" in refused(word)


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


def test_a_known_name_is_not_the_folder_of_that_name_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "digits")
    assert not load("digits").notes
    monkeypatch.chdir(tmp_path)
    (note,) = load("digits").notes
    assert "the folder here is `./digits`" in note
    assert load("./digits").classes == load(Path("digits")).classes == ("a", "b")
