"""Unpacking an archive: a folder, or nothing at all."""

import tarfile
from pathlib import Path

import pytest
from ood_shared.datasets import unpacking
from ood_shared.errors import InputError

from .broken_sets import packed


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
