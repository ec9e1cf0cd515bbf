"""What predict_3d takes: broken, empty and stray files, and models or features that are missing."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.volumes import read_volume, write_volume

from ..conftest import AFFINE, phantom, predict_config, write_phantoms


def nifti(data: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def truncated(path: Path) -> None:
    nifti(np.random.default_rng(0).random((20, 20, 20), np.float32), path)
    path.write_bytes(path.read_bytes()[:4000])


def four_dimensions(path: Path) -> None:
    nifti(np.zeros((4, 4, 4, 2), np.float32), path)


def nan_voxels(path: Path) -> None:
    data = phantom(0)
    data[1, 2, 3] = np.nan
    nifti(data, path)


def wrong_code(path: Path) -> None:
    nifti(phantom(0), path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[254:256] = (77).to_bytes(2, "little")  # sform_code
    path.write_bytes(gzip.compress(bytes(content)))


def no_nifti(path: Path) -> None:
    path.write_bytes(gzip.compress(b"hello" * 200))


def flat_affine(path: Path) -> None:
    nifti(phantom(0), path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:296] = np.zeros(4, np.float32).tobytes()  # srow_x
    content[252:254] = (0).to_bytes(2, "little")
    path.write_bytes(gzip.compress(bytes(content)))


BROKEN = {
    truncated: "cut short",
    four_dimensions: "4 dimensions",
    nan_voxels: "1 voxels that are NaN or infinite, the first at (1, 2, 3)",
    wrong_code: "sform_code is 77",
    no_nifti: "cut short",
    flat_affine: "affine cannot be inverted",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_volume_is_named_and_the_others_are_finished(break_it, prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    break_it(folder / "00000.nii.gz")
    config = predict_config(prepared, tmp_path)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", config, "--device", "cpu")
    assert BROKEN[break_it] in found.err
    assert "00000.nii.gz" in found.error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00001.nii.gz"]


def test_inference_resumes_where_it_failed(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 3)
    truncated(folder / "00001.nii.gz")
    words = ["-i", folder, "-o", tmp_path / "out", "-c", predict_config(prepared, tmp_path), "--device", "cpu"]
    assert run("predict-3d", *words).status == 2
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    write_volume(folder / "00001.nii.gz", phantom(1), AFFINE)
    assert run("predict-3d", *words, "--resume").status == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert sorted(after) == ["00000.nii.gz", "00001.nii.gz", "00002.nii.gz"]
    assert all(after[name] == time for name, time in before.items())


def test_an_empty_volume_gets_a_map_of_zeros_and_score_0(prepared: Path, tmp_path: Path, run) -> None:
    write_volume(tmp_path / "in" / "00000.nii.gz", np.zeros((10, 12, 14), np.float32), AFFINE)
    config = predict_config(prepared, tmp_path)
    for mode in ("pixel", "sample"):
        words = ["-i", tmp_path / "in", "-o", tmp_path / mode, "-c", config, "-m", mode, "--device", "cpu"]
        assert run("predict-3d", *words).status == 0
    found = nibabel.load(tmp_path / "pixel" / "00000.nii.gz")
    assert found.shape == (10, 12, 14)
    assert not found.get_fdata().any()
    assert (tmp_path / "sample" / "00000.nii.gz.txt").read_text() == "0.0"


def test_an_interior_gap_is_scored_in_place(prepared: Path, tmp_path: Path, run) -> None:
    data = phantom(3)
    data[10:13] = 0
    write_volume(tmp_path / "in" / "00000.nii.gz", data, AFFINE)
    path = predict_config(prepared, tmp_path)
    config = read_config(path)
    write_config(path, {**config, "models": config["models"][:1], "resize": None})
    assert run("predict-3d", "-i", tmp_path / "in", "-o", tmp_path / "out", "-c", path, "--device", "cpu").status == 0
    found = nibabel.load(tmp_path / "out" / "00000.nii.gz").get_fdata()
    assert not found[10:13].any()
    assert found[8].any()
    assert found[14].any()


def test_stray_files_are_no_volumes(prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 1)
    (folder / "notes.txt").write_text("hello")
    (folder / ".DS_Store").write_text("")
    config = predict_config(prepared, tmp_path)
    assert run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", config, "--device", "cpu").status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000.nii.gz"]


def test_a_volume_with_no_slice_above_the_least_sum_is_said(prepared: Path, tmp_path: Path, run) -> None:
    """One line, also where fewer than half are looked at; a bright one has none."""
    folder = tmp_path / "in"
    write_volume(folder / "dark.nii.gz", phantom(0) * 0.01, AFFINE)
    write_volume(folder / "few.nii.gz", np.where(np.arange(24)[:, None, None] < 3, 0.5, 0) * np.ones((24,) * 3), AFFINE)
    write_volume(folder / "bright.nii.gz", np.full((24,) * 3, 0.5, np.float32), AFFINE)
    path = predict_config(prepared, tmp_path)
    config = read_config(path)
    write_config(path, {**config, "models": config["models"][:1]})
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu")
    assert found.status == 0
    lines = {name: [line for line in found.err.splitlines() if f"{name}.nii.gz" in line] for name in ("dark", "few")}
    assert len(lines["dark"]) == len(lines["few"]) == 1
    assert "no slice is looked at (0 of 24 along axis 0)" in lines["dark"][0]
    assert "lower small_area" in lines["dark"][0]
    assert "fewer than half of the slices are looked at (3 of 24 along axis 0)" in lines["few"][0]
    assert "bright" not in found.err
    assert not read_volume(tmp_path / "out" / "dark.nii.gz").data.any()


def test_a_missing_model_and_missing_features_are_named(prepared: Path, tmp_path: Path, run) -> None:
    path = predict_config(prepared, tmp_path)
    folder = write_phantoms(tmp_path / "in", 1)
    words = ["-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu"]
    config = read_config(path)
    write_config(path, {**config, "path_to_vgg19_weights": "/nowhere/vgg.tar"})
    assert "path_to_vgg19_weights /nowhere/vgg.tar is missing" in run("predict-3d", *words).error
    (tmp_path / "model_1.tar").unlink()
    assert "model_1.tar (axis 1) is missing" in run("predict-3d", *words).error


def test_features_of_another_network_are_refused(prepared: Path, tmp_path: Path, run) -> None:
    torch.save({f"{i}.weight": torch.zeros(3) for i in range(40)}, tmp_path / "other.tar")
    path = predict_config(prepared, tmp_path)
    write_config(path, {**read_config(path), "path_to_vgg19_weights": str(tmp_path / "other.tar")})
    folder = write_phantoms(tmp_path / "in", 1)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu")
    assert "is not of VGG19: `conv1_1.weight` would be (3,)" in found.error
