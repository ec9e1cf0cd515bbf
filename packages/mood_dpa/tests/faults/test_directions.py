"""Axes that point elsewhere than the training's, or than those of the other volumes, are said in one line."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from mood_dpa.checkpoints import load_model
from mood_dpa.configuration import read_config, write_config
from mood_dpa.data.record import Origin, read_origin
from mood_dpa.data.volumes import write_volume

from ..conftest import phantom, predict_config, small_inference_config, write_phantoms
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


def test_a_model_of_slices_along_another_axis_is_refused(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2, RAS)
    assert run("save-2d", "-i", folder, "-o", tmp_path / "slices", "-a", 1).status == 0
    assert read_origin(tmp_path / "slices").slicing == 1
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path, slicing=0)
    words = ["-o", tmp_path / "out", "-c", path, "--device", "cpu"]
    error = run("predict-3d", "-i", folder, *words).error
    assert f"{tmp_path / 'model_1.tar'} was trained on slices along axis 0, not 1. Name its own axis" in error
    assert not (tmp_path / "out").exists()
    config = small_inference_config(prepared, axis=0, apply_along_axis=2, results_root=str(tmp_path / "r"))
    write_config(tmp_path / "inference.yaml", config)
    assert "along axis 0, not 2" in run("inference_evaluate_3d", tmp_path / "inference.yaml", "--device", "cpu").error


def test_a_model_that_does_not_tell_its_axis_is_used_along_any(prepared: Path, tmp_path: Path, run) -> None:
    """As those of the authors."""
    folder = write_phantoms(tmp_path / "in", 1, RAS)
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path)
    content = read_config(path)
    content["models"][0]["along_axis"] = 2
    write_config(path, content)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "-m", "sample", "--device", "cpu")
    assert found.status == 0, found.err
