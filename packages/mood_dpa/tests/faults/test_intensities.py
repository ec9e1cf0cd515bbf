"""Volumes outside [0, 1] are refused at every entrance, or taken on request."""

from pathlib import Path

import numpy as np
import pytest
from mood_dpa import bench
from mood_dpa.checkpoints import load_model
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.record import Origin, read_origin
from mood_dpa.data.volumes import read_volume, write_volume
from mood_dpa.state import MODEL

from ..conftest import AFFINE, phantom, small_train_config, write_phantoms
from .conftest import SMALL, write_ct

RANGE = "values from -1000 to 1100; expected [0, 1]"
COMMANDS = ("save-2d", "synthetic", "predict-3d", "inference_evaluate_3d", "evaluate", "train", "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_hounsfield_units_are_refused_with_range_and_way_out(command: str, entrances, tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 4)
    found = run(command, *entrances[command])
    assert found.status == 2
    line = next(line for line in found.err.splitlines() if RANGE in line)
    assert "mood-dpa rescale" in line
    assert "--rescale window CENTER WIDTH" in line
    assert "--any-range" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["save-2d", "predict-3d", "inference_evaluate_3d", "train"])
def test_any_range_takes_them_with_one_warning_a_volume(command: str, entrances, tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 4)
    found = run(command, *entrances[command], "--any-range")
    names = {line.split("/")[-1].split(" ")[0] for line in found.err.splitlines() if "--any-range" in line}
    wanted = {f"{number:05d}.nii.gz" for number in (range(2) if command == "inference_evaluate_3d" else range(4))}
    assert found.status == 0, found.err
    assert names == wanted
    if command != "train":  # which reads a volume in every epoch
        assert found.err.count("--any-range)") == len(wanted)


@pytest.mark.parametrize("command", ["save-2d", "predict-3d", "inference_evaluate_3d", "train"])
def test_two_rules_are_refused(command: str, entrances, tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 4)
    line = run(command, *entrances[command], "--any-range", "--rescale", "minmax").error
    assert "--rescale: not allowed with argument --any-range" in line
    assert not (tmp_path / "out").exists()


def test_percentiles_beside_another_rule_are_refused(tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 1)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out"]
    line = run("rescale", *words, "--low", 30, "--rescale", "minmax").error
    assert "--low and --high are percentiles, the rule is `minmax`. Pass one of them." in line
    assert not (tmp_path / "out").exists()


def test_a_bench_names_five_volumes_and_counts_the_others(tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 7)
    line = run("bench", "--id", tmp_path / "in", "--ood", "synthetic", "--output-dir", tmp_path / "out").error
    assert "7 of 7 volumes could not be used: 00000.nii.gz, " in line
    assert " and 2 more. Nothing was trained" in line


@pytest.mark.parametrize("command", ["save-2d", "predict-3d", "inference_evaluate_3d", "train", "bench"])
def test_a_rule_by_hand_brings_them_there(command: str, entrances, tmp_path: Path, run, monkeypatch) -> None:
    monkeypatch.setitem(bench.SCHEDULES, "smoke", SMALL)
    write_ct(tmp_path / "in", 4)
    found = run(command, *entrances[command], "--rescale", "window", "40", "2120")
    assert found.status == 0, found.err
    if command == "predict-3d":
        assert all(read_volume(path).data.max() > 0 for path in (tmp_path / "out").iterdir())
    if command == "save-2d":
        assert np.load(tmp_path / "out" / "00000_12.npy").max() == pytest.approx(1, abs=1e-3)
        assert read_origin(tmp_path / "out") == Origin("window 40 2120", ("LSA",), 0)


def test_only_save_2d_takes_what_overshoots_and_says_it(prepared: Path, tmp_path: Path, run) -> None:
    """As the published save_2D took a resampled volume; never without a word, and no training takes the slices."""
    for number in range(4):
        write_volume(tmp_path / "in" / f"{number:05d}.nii.gz", phantom(number) * 1.4 - 0.2, AFFINE)
    found = run("save-2d", "-i", tmp_path / "in", "-o", tmp_path / "slices", "-a", 0)
    assert found.status == 0
    assert found.err.count("the networks know [0, 1] (as a resampling overshoots") == 4
    train = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "c"))
    for part in ("train_dataset", "val_dataset"):
        train[part]["dataset_kwargs"] |= {"image_root": str(tmp_path / "slices")}
    write_config(tmp_path / "slices.yaml", train)
    found = run("train", tmp_path / "slices.yaml", "--device", "cpu")
    assert found.status == 2
    assert "expected [0, 1]" in found.error
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "save-2d"])
def test_no_other_command_takes_what_overshoots(command: str, entrances, tmp_path: Path, run) -> None:
    for number in range(4):
        write_volume(tmp_path / "in" / f"{number:05d}.nii.gz", phantom(number) * 1.4 - 0.2, AFFINE)
    found = run(command, *entrances[command])
    assert found.status == 2
    assert "values from -0.2 to 1." in found.err
    assert not (tmp_path / "out").exists()
    if command == "bench":
        assert f"run `mood-dpa rescale -i {tmp_path / 'in'} -o FOLDER` and pass FOLDER" in found.error


def test_slices_outside_are_refused_before_a_run_begins(prepared: Path, tmp_path: Path, run) -> None:
    (tmp_path / "slices").mkdir()
    for path in (prepared / "2d_axis_0").glob("*.npy"):
        np.save(tmp_path / "slices" / path.name, np.load(path) * 255)
    train = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    for part in ("train_dataset", "val_dataset"):
        train[part]["dataset_kwargs"] |= {"image_root": str(tmp_path / "slices"), "cache": part == "val_dataset"}
    write_config(tmp_path / "t.yaml", train)
    found = run("train", tmp_path / "t.yaml", "--device", "cpu")
    assert "expected [0, 1]. Make the slices again with save_2D.py --rescale" in found.error
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "l").exists()
    assert run("train", tmp_path / "t.yaml", "--device", "cpu", "--any-range").status == 0
    assert load_model(tmp_path / "c" / MODEL).origin.rescale == "any-range"


def test_half_precision_does_not_overflow(tmp_path: Path, run) -> None:
    write_volume(tmp_path / "in" / "a.nii.gz", np.full((24,) * 3, 70000, np.float32), AFFINE)
    write_volume(tmp_path / "in" / "b.nii.gz", phantom(0), AFFINE)
    words = ["-i", tmp_path / "in", "-a", 0, "--any-range"]
    found = run("save-2d", *words, "-o", tmp_path / "half")
    assert "a.nii.gz has the value 70000; float16 ends at 65504" in found.err
    assert "1 of 2 volumes" in found.error
    assert {path.name.split("_")[0] for path in (tmp_path / "half").glob("*.npy")} == {"b"}
    assert run("save-2d", *words, "-o", tmp_path / "whole", "--dtype", "float32").status == 0
    assert np.load(tmp_path / "whole" / "a_12.npy").max() == 70000


def test_trainings_do_not_write_into_the_folder_of_their_volumes(entrances, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 4)
    train = read_config(tmp_path / "train.yaml")
    write_config(tmp_path / "a.yaml", {**train, "checkpoint_root": str(tmp_path / "in")})
    assert "is the folder of the input" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    words = ["--id", tmp_path / "in", "--ood", "synthetic", "--output-dir", tmp_path / "in", "--device", "cpu"]
    assert "which is read by this command" in run("bench", *words).error
    assert len(list((tmp_path / "in").iterdir())) == 4
