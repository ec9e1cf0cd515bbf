"""Folds, slices and synthetic sets: what cannot be made is said."""

from pathlib import Path

import numpy as np
import pytest
from mood_dpa.data.prepare import _link
from mood_dpa.data.volumes import write_volume

from ..conftest import AFFINE


def test_flags_of_the_synthetic_set_belong_together(prepared: Path, tmp_path: Path, run) -> None:
    words = ["-i", prepared / "volumes", "-o", tmp_path / "i", "-m", tmp_path / "m"]
    assert "-p needs -f" in run("synthetic", *words, "-p", prepared / "folds.csv").error
    assert "is ignored" in run("synthetic", *words, "-f", "0", "--seed", 1).err


def test_a_volume_without_body_gets_no_anomaly(tmp_path: Path, run) -> None:
    write_volume(tmp_path / "in" / "00000.nii.gz", np.zeros((8, 8, 8), np.float32), AFFINE)
    found = run("synthetic", "-i", tmp_path / "in", "-o", tmp_path / "i", "-m", tmp_path / "m")
    assert found.status == 0
    assert "No anomaly is made of it" in found.err
    assert [path.name for path in (tmp_path / "i").iterdir()] == ["00000.nii.gz"]


def test_links_become_copies_where_links_are_not_possible(tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("old")
    _link(tmp_path / "a", tmp_path / "b", refuse)
    assert (tmp_path / "b").read_text() == "x"


@pytest.mark.parametrize("count", [1, 9])
def test_folds_that_cannot_be_made_are_refused(count: int, prepared: Path, tmp_path: Path, run) -> None:
    found = run("folds", "-i", prepared / "volumes", "-o", tmp_path / "f.csv", "-n", count)
    assert f"4 volumes cannot be cut into {count} folds" in found.error


def test_a_filter_that_leaves_nothing_is_announced(prepared: Path, tmp_path: Path, run) -> None:
    found = run("save-2d", "-i", prepared / "volumes", "-o", tmp_path / "s", "-a", 0, "-f", "-r", 63)
    assert "no slice will be saved" in found.err
