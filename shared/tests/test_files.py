import errno
import math

import pytest
from ood_shared import files
from ood_shared.errors import InputError, MissingFileError


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with files.atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with files.atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        write_half()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_finished_write_replaces_the_file_and_makes_its_folder(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    files.write_text(target, "new ✓")
    assert target.read_text(encoding="utf-8") == "new ✓"


def test_json_comes_back_as_it_was(tmp_path):
    value = {"a": [1, 2.5, None], "ü": {"b": True}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value


def test_json_refuses_nan_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", {"a": math.nan})
    assert not list(tmp_path.iterdir())


def test_broken_json_is_named_in_the_error(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"x\.json is not valid JSON"):
        files.read_json(tmp_path / "x.json")


def test_a_missing_json_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="is missing"):
        files.read_json(tmp_path / "x.json")
