"""Axes that point elsewhere than the training's, or than those of the other volumes, are said in one line."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.checkpoints import load_model
from mood_dpa.data.record import Origin, read_origin
from mood_dpa.data.volumes import write_volume

from ..conftest import phantom, predict_config, write_phantoms
from .conftest import as_trained_by

RAS, PSR = np.eye(4), np.array([[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def test_a_training_keeps_where_its_volumes_point(prepared: Path) -> None:
    assert nibabel.aff2axcodes(nibabel.load(prepared / "volumes" / "00000.nii.gz").affine) == tuple("LSA")
    assert read_origin(prepared / "2d_axis_1") == Origin("none", ("LSA",), 1)
    assert load_model(prepared / "axis_1/checkpoints/anomaly_detection.tar").origin == Origin("none", ("LSA",), 1)


@pytest.mark.parametrize("trained", [(), ("RAS",)])
def test_volumes_that_differ_are_said_in_one_line(
    trained: tuple[str, ...], prepared: Path, tmp_path: Path, run
) -> None:
    folder = write_phantoms(tmp_path / "in", 2, RAS)
    write_volume(folder / "turned.nii.gz", phantom(2), PSR)
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path, axes=trained)
    commands = {
        "save-2d": ["-o", tmp_path / "slices", "-a", 0],
        "synthetic": ["-o", tmp_path / "i", "-m", tmp_path / "m"],
        "predict-3d": ["-o", tmp_path / "out", "-c", path, "--device", "cpu"],
    }
    for command, words in commands.items():
        found = run(command, "-i", folder, *words)
        assert found.status == 0, found.err
        (line,) = [line for line in found.err.splitlines() if "PSR (turned.nii.gz)" in line]
        told = bool(trained) and command == "predict-3d"
        assert ("those of the training to RAS" in line) == told
        assert "RAS (00000.nii.gz, 00001.nii.gz)" in line
    assert read_origin(tmp_path / "slices").axes == ("PSR", "RAS")


def test_volumes_that_agree_are_not_mentioned(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2, RAS)
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path, axes=("RAS",))
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu")
    assert "axes" not in found.err
    as_trained_by(path, tmp_path, axes=("PSR",))
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out2", "-c", path, "--device", "cpu")
    assert "axes point to RAS (00000.nii.gz, 00001.nii.gz); those of the training to PSR" in found.err


def test_a_model_of_slices_along_another_axis_is_said(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2, RAS)
    assert run("save-2d", "-i", folder, "-o", tmp_path / "slices", "-a", 1).status == 0
    assert read_origin(tmp_path / "slices").slicing == 1
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path, slicing=0)
    words = ["-o", tmp_path / "out", "-c", path, "--device", "cpu"]
    found = run("predict-3d", "-i", folder, *words)
    assert found.status == 0, found.err
    lines = [line for line in found.err.splitlines() if "a model of slices along axis 0 is used along axis" in line]
    assert lines == ["warning: a model of slices along axis 0 is used along axis 1; is that meant?",
                     "warning: a model of slices along axis 0 is used along axis 2; is that meant?"]  # fmt: skip
