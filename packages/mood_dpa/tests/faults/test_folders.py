"""Folders and names: nothing that a user has is overwritten, and nothing half-done is left."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mood_dpa.config_files import write_config
from mood_dpa.data.folds import read_folds
from mood_dpa.data.volumes import write_volume
from ood_shared.errors import InputError

from ..conftest import AFFINE, phantom, predict_config, small_inference_config, small_train_config, write_phantoms


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("link", [False, True])
def test_a_command_never_writes_over_its_input(link: bool, prepared: Path, tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    before, output = sums(folder), folder
    if link:
        output = tmp_path / "link"
        output.symlink_to(folder)
    config = predict_config(prepared, tmp_path)
    commands = {
        "predict-3d": ["-o", output, "-c", config],
        "rescale": ["-o", output],
        "save-2d": ["-o", output, "-a", 0],
        "synthetic": ["-o", output, "-m", tmp_path / "m"],
        "folds": ["-o", output / "00000.nii.gz", "-n", 2],
    }
    for command, words in commands.items():
        found = run(command, "-i", folder, *words)
        assert "overwritten" in found.error, command
        assert sums(folder) == before
    assert "overwritten" in run("synthetic", "-i", folder, "-o", tmp_path / "i", "-m", output).error
    same = run("synthetic", "-i", folder, "-o", tmp_path / "i", "-m", tmp_path / "i")
    assert "are the same folder" in same.error


def test_results_never_replace_what_they_are_made_of(prepared: Path, tmp_path: Path, run) -> None:
    for kind in ("image_root", "mask_root"):
        root = tmp_path / kind
        folder = write_phantoms(root / "pixel", 4)
        config = small_inference_config(prepared, results_root=str(root))
        config["test_dataset"]["dataset_kwargs"] |= {kind: str(folder)}
        write_config(tmp_path / "i.yaml", config)
        before = sums(folder)
        assert "overwritten" in run("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu").error
        assert sums(folder) == before


def test_equal_names_are_refused_where_one_would_hide_the_other(tmp_path: Path, run) -> None:
    patients, uids, twins = tmp_path / "patients", tmp_path / "uids", tmp_path / "twins"
    for number in range(2):
        write_volume(patients / f"patient_{number}.nii.gz", phantom(number), AFFINE)
        write_volume(uids / f"1.2.840.{number}.nii.gz", phantom(number), AFFINE)
    write_volume(twins / "a.nii.gz", phantom(0), AFFINE)
    write_volume(twins / "a_anom.nii.gz", phantom(1), AFFINE)
    assert "have the same case id" in run("folds", "-i", patients, "-o", tmp_path / "f.csv", "-n", 2).error
    assert not (tmp_path / "f.csv").exists()
    assert "have the same name up to the first dot, `1`" in run("save-2d", "-i", uids, "-o", "x", "-a", 0).error
    found = run("synthetic", "-i", twins, "-o", tmp_path / "i", "-m", tmp_path / "m")
    assert "have the same name in the results, `a_anom.nii.gz`" in found.error


def test_a_case_in_two_folds_is_refused(tmp_path: Path) -> None:
    """As create_folds of earlier versions wrote it for patient_0, patient_1."""
    (tmp_path / "f.csv").write_text("filename,test_fold\npatient_0.nii.gz,0\npatient_1.nii.gz,1\n")
    with pytest.raises(InputError, match="they are one case, `patient`"):
        read_folds(tmp_path / "f.csv")


FOLDS = {
    "empty": b"",
    "columns": b"a,b\n1,2\n",
    "fold": b"filename,test_fold\na.nii.gz,x\n",
    "fold of many digits": b"filename,test_fold\na.nii.gz," + b"9" * 5000 + b"\n",
    "short row": b"filename,test_fold\na.nii.gz\n",
    "not utf8": b"filename,test_fold\n\xff.nii.gz,0\n",
    "nul": b"filename,test_fold\na\0.nii.gz,0,,,\n\0",
    "field of a megabyte": b"filename,test_fold\n" + b"a" * 2**20 + b",0\n",
}


@pytest.mark.parametrize("name", FOLDS)
def test_what_is_no_folds_file_is_one_line(name: str, prepared: Path, tmp_path: Path, run) -> None:
    (tmp_path / "f.csv").write_bytes(FOLDS[name])
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    for part in ("train_dataset", "val_dataset"):
        config[part]["dataset_kwargs"]["folds_path"] = str(tmp_path / "f.csv")
    write_config(tmp_path / "t.yaml", config)
    line = run("train", tmp_path / "t.yaml", "--device", "cpu").error
    assert "f.csv" in line or "none of its" in line
    assert len(line) < 700
    assert not (tmp_path / "c").exists()


def test_folds_take_every_volume_that_the_other_steps_take(tmp_path: Path, run) -> None:
    for name in ("a.nii", "b.nii.gz", "C.NII.GZ"):
        write_volume(tmp_path / "in" / name, phantom(0, 8), AFFINE)
    (tmp_path / "in" / "d.gz").touch()  # as published: whatever ends so
    (tmp_path / "in" / "notes.txt").touch()
    assert run("folds", "-i", tmp_path / "in", "-o", tmp_path / "f.csv", "-n", 2, "--seed", 0).status == 0
    assert sorted(n for n, _ in read_folds(tmp_path / "f.csv")) == ["C.NII.GZ", "a.nii", "b.nii.gz", "d.gz"]


def test_a_filter_that_leaves_nothing_is_said(tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    found = run("save-2d", "-i", folder, "-o", tmp_path / "out", "-a", 0, "-f", "-r", 64)
    assert "warning: 0 slices were saved: of 48 slices of 2 volumes none has 4000 pixels above 0" in found.err
    assert found.out.startswith("0 slices of 2 volumes")
    write_volume(folder / "00002.nii.gz", np.zeros((24,) * 3, np.float32), AFFINE)
    found = run("save-2d", "-i", folder, "-o", tmp_path / "out3", "-a", 0, "-f", "--least_pixels", 300)
    assert "warning: 00002.nii.gz: none of its 24 slices along axis 0 has 300 pixels above 0" in found.err
    (folder / "00002.nii.gz").unlink()
    found = run("save-2d", "-i", folder, "-o", tmp_path / "out2", "-a", 0, "-f", "--least_pixels", 300)
    assert found.status == 0
    count = len(list((tmp_path / "out2").glob("*.npy")))
    assert found.out == f"{count} slices of 2 volumes saved in {tmp_path / 'out2'}\n"


INDICES = {
    "text": b"hello",
    "empty": b"",
    "object": np.array([{}], dtype=object),
    "0d": np.array(3),
    "longer": np.arange(99),
    "floats": np.arange(24.0),
    "twice": np.zeros(24, np.int64),
    "negative": np.arange(24) - 3,
}


def damage(folder: Path, name: str) -> None:
    path = folder / "00000.index.npy"
    if isinstance(INDICES[name], bytes):
        path.write_bytes(INDICES[name])
    else:
        np.save(path, INDICES[name], allow_pickle=True)


@pytest.mark.parametrize("name", INDICES)
def test_an_index_that_is_none_of_its_stack_is_refused(name: str, prepared: Path, tmp_path: Path, run) -> None:
    assert run("save-2d", "-i", prepared / "volumes", "-o", tmp_path / "s", "-a", 0, "--packed").status == 0
    damage(tmp_path / "s", name)
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    for part in ("train_dataset", "val_dataset"):
        config[part]["dataset_kwargs"]["image_root"] = str(tmp_path / "s")
    write_config(tmp_path / "t.yaml", config)
    assert "00000.index.npy" in run("train", tmp_path / "t.yaml", "--device", "cpu").error
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "l").exists()


SLICES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "complex": lambda path: np.save(path, np.zeros((24, 24), np.complex64)),
    "names": lambda path: np.save(path, np.full((24, 24), "a")),
    "objects": lambda path: np.save(path, np.full((24, 24), {}), allow_pickle=True),
    "volume": lambda path: np.save(path, np.zeros((24, 24, 3), np.float32)),
    "nothing": lambda path: np.save(path, np.zeros((0, 24), np.float32)),
    "nan": lambda path: np.save(path, np.full((24, 24), np.nan, np.float32)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("command", ["train", "simclr"])
@pytest.mark.parametrize("name", SLICES)
def test_a_damaged_slice_is_found_before_anything_is_written(
    name: str, command: str, prepared: Path, tmp_path: Path, run
) -> None:
    (tmp_path / "s").mkdir()
    for path in (prepared / "2d_axis_0").glob("*.npy"):
        (tmp_path / "s" / path.name).write_bytes(path.read_bytes())
    SLICES[name](tmp_path / "s" / "00001_11.npy")
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    for part in ("train_dataset", "val_dataset"):
        config[part]["dataset_kwargs"]["image_root"] = str(tmp_path / "s")
    if command == "simclr":
        entries = {part: [config[f"{part}_dataset"]["dataset_kwargs"]] for part in ("train", "val")}
        config = {"batch_size": 4, "epochs": 1, "dataset": {"dataset_params": {"input_shape": "(32,32,3)", **entries}}}
    write_config(tmp_path / "t.yaml", config)
    found = run(command, tmp_path / "t.yaml", "--device", "cpu", *(["--output-dir", "c"] if command == "train" else []))
    assert "00001_11.npy" in found.error
    assert not (tmp_path / "c").exists()
    assert not Path("runs/t").exists()
    assert not Path("c").exists()


def test_pictures_in_the_container_are_refused_before_the_work(prepared: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "in", 1)
    config = predict_config(prepared, tmp_path)
    words = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-c", str(config), "--device", "cpu"]
    code = (
        "import sys; sys.modules['ood_shared'] = None\n"
        f"from mood_dpa.cli import predict_main\nsys.exit(predict_main({[*words, '--pictures']!r}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "--pictures needs ood_shared, which is not installed here" in found.stderr
    assert not (tmp_path / "out").exists()


def test_the_container_says_the_same_about_intensities_and_broken_files(prepared: Path, tmp_path: Path) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    write_volume(folder / "00002.nii.gz", phantom(0) * 3000 - 1000, AFFINE)
    (folder / "00003.nii.gz").write_bytes(b"hello")
    config = predict_config(prepared, tmp_path)
    words = ["-i", str(folder), "-o", str(tmp_path / "out"), "-c", str(config), "--device", "cpu"]

    def call(*more: str) -> "subprocess.CompletedProcess[str]":
        code = (
            "import sys; sys.modules['ood_shared'] = None\n"
            f"from mood_dpa.cli import predict_main\nsys.exit(predict_main({[*words, *more]!r}))"
        )
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    found = call()
    assert found.returncode == 2
    assert "00002.nii.gz has values from -1000 to" in found.stderr
    assert "00003.nii.gz is cut short or is no NIfTI file" in found.stderr
    assert "2 of 4 volumes could not be used" in found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.nii.gz", "00001.nii.gz"]
    found = call("--resume", "--rescale", "minmax")
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[-1] == "00002.nii.gz"
