"""Where public sets lie, and downloads that die, merge or hang."""

import socket
import sys

import pytest
from ood_shared.datasets.fetch import data_root, download_into
from ood_shared.errors import InputError


def test_data_root_is_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA_DIR", str(tmp_path / "env"))
    assert data_root(tmp_path) == tmp_path
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("OOD_DATA_DIR")
    assert data_root().name == "ood-papers"
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert data_root().name == "ood-papers"


def test_download_that_dies_leaves_nothing(tmp_path):
    def half(place):
        (place / "part.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_into(tmp_path / "own" / "root", half, "x is missing.")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        download_into(tmp_path / "there", half, "x is missing.")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_download_merges_into_folders_that_are_there(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "kept").write_text("old")
    (tmp_path / "set" / "broken").write_text("half")

    def fetch(place):
        (place / "set").mkdir()
        (place / "set" / "broken").write_text("whole")

    download_into(tmp_path, fetch, "x is missing.")
    found = {path.name: path.read_text() for path in (tmp_path / "set").iterdir()}
    assert found == {"kept": "old", "broken": "whole"}


def test_download_does_not_wait_for_ever_and_puts_the_patience_back(tmp_path):
    seen = []
    download_into(tmp_path, lambda place: seen.append(socket.getdefaulttimeout()), "x is missing.")
    assert seen == [30.0]
    assert socket.getdefaulttimeout() is None


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        download_into(tmp_path / "file" / "root", lambda place: None, "x is missing.")
