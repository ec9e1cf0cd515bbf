"""Volumes outside [0, 1] are refused at every entrance, or brought there by one rule that the models keep."""

from pathlib import Path
from typing import Any

import mood_dpa
import nibabel
import numpy as np
import pytest
import torch
from mood_dpa import bench
from mood_dpa.checkpoints import build_families, load_model
from mood_dpa.configuration import read_config, write_config
from mood_dpa.data.intensities import Rule, agreed
from mood_dpa.data.record import Origin, read_origin
from mood_dpa.data.volumes import read_volume, write_volume
from mood_dpa.state import MODEL
from ood_shared.errors import InputError

from ..conftest import AFFINE, phantom, predict_config, small_inference_config, small_train_config, write_phantoms

RANGE = "values from -1000 to 1100; expected [0, 1]"
SMALL = bench.Schedule(64, 32, 0, 3, 4, 4, "r11", 1e-3, 8, 4)


def hounsfield() -> np.ndarray:
    """The recipe of a ball in air, in Hounsfield units."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij"))
    return (((grid**2).sum(0) < 0.64) * 2100 - 1000).astype(np.int16)


def write_ct(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        nibabel.save(nibabel.Nifti1Image(np.roll(hounsfield(), number, 0), AFFINE), folder / f"{number:05d}.nii.gz")
    return folder


def as_trained_by(path: Path, at: Path, **origin: Any) -> Path:
    """The models of a prediction, as of a training with this record."""
    for axis in range(3):
        state = torch.load(at / f"model_{axis}.tar", weights_only=True)
        torch.save({**state, "volumes": Origin(**origin).stored()}, at / f"model_{axis}.tar")
    return path


def of_volumes(model: Path, path: Path) -> None:
    """A model of another's shape whose networks take volumes as a whole."""
    state = torch.load(model, weights_only=True)
    config = {**state["config"], "mode_3d": True}
    nets = zip(("enc", "dec"), build_families(config), strict=True)
    parts = {name: family.net(state["stage"], state["resolution"]).state_dict() for name, family in nets}
    torch.save({**state, **parts, "config": config}, path)


@pytest.fixture
def entrances(prepared: Path, tmp_path: Path) -> dict[str, list[object]]:
    """Every command that takes volumes, on `in`."""
    folder = tmp_path / "in"
    config = small_inference_config(prepared, results_root=str(tmp_path / "out"))
    config["test_dataset"]["dataset_kwargs"] |= {"image_root": str(folder), "mask_root": str(prepared / "masks")}
    write_config(tmp_path / "inference.yaml", config)
    train = small_train_config(prepared, checkpoint_root=str(tmp_path / "out"), log_root=str(tmp_path / "out"))
    train |= {"mode_3d": True, "num_workers": 0}
    for part in ("train_dataset", "val_dataset"):
        train[part]["dataset_type"] = "nifti3d"
        train[part]["dataset_kwargs"] |= {"image_root": str(folder)}
    write_config(tmp_path / "train.yaml", train)
    evaluation = {
        **{"verbose": False, "test_batch_size": 2, "results_root": str(tmp_path / "out"), "save_inference": False},
        **{"score_reduction": "max", "test_dataset": config["test_dataset"]},
        "test_model_path": str(tmp_path / "model_3d.tar"),
    }
    write_config(tmp_path / "evaluate.yaml", evaluation)
    predict = predict_config(prepared, tmp_path)
    of_volumes(tmp_path / "model_0.tar", tmp_path / "model_3d.tar")
    return {
        "save-2d": ["-i", folder, "-o", tmp_path / "out", "-a", 0],
        "synthetic": ["-i", folder, "-o", tmp_path / "out", "-m", tmp_path / "out2"],
        "predict-3d": ["-i", folder, "-o", tmp_path / "out", "-c", predict, "--device", "cpu"],
        "inference_evaluate_3d": [tmp_path / "inference.yaml", "--device", "cpu", "--no-pictures"],
        "evaluate": [tmp_path / "evaluate.yaml", "--device", "cpu"],
        "train": [tmp_path / "train.yaml", "--device", "cpu"],
        "bench": ["--id", folder, "--ood", "synthetic", "--device", "cpu", "--output-dir", tmp_path / "out"],
    }


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


def test_the_rule_of_the_slices_stays_with_the_model_and_is_applied_again(prepared: Path, tmp_path: Path, run) -> None:
    """Rescaled by the rule of the training, a CT scores as its rescaled copy does."""
    write_ct(tmp_path / "in", 4)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "slices", "-a", 0, "--rescale", "window", 40, 2120]
    assert run("save-2d", *words).status == 0
    train = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
    for part in ("train_dataset", "val_dataset"):
        train[part]["dataset_kwargs"] |= {"image_root": str(tmp_path / "slices")}
    write_config(tmp_path / "train.yaml", train)
    assert run("train", tmp_path / "train.yaml", "--device", "cpu").status == 0
    assert load_model(tmp_path / "c" / MODEL).origin == Origin("window 40 2120", ("LSA",), 0)

    config = small_inference_config(prepared, test_model_path=str(tmp_path / "c" / MODEL))
    config["test_dataset"]["dataset_kwargs"] |= {"image_root": str(tmp_path / "in")}
    maps = {}
    for name, flags in {"raw": [], "again": ["--rescale", "window", 40, 2120]}.items():
        write_config(tmp_path / "i.yaml", {**config, "results_root": str(tmp_path / name)})
        found = run("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu", "--no-pictures", *flags)
        assert found.status == 0, found.err
        assert ("volumes are rescaled as in training: window 40 2120." in found.err) == (name == "raw")
        maps[name] = read_volume(tmp_path / name / "pixel" / "00000.nii.gz").data
    np.testing.assert_array_equal(maps["raw"], maps["again"])
    assert maps["raw"].max() > 0
    other = run("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu", "--rescale", "minmax")
    assert "--rescale is `minmax`, the training had `window 40 2120`" in other.error

    write_phantoms(tmp_path / "unit", 2)
    config["test_dataset"]["dataset_kwargs"] |= {"image_root": str(tmp_path / "unit")}
    write_config(tmp_path / "i.yaml", {**config, "results_root": str(tmp_path / "unit_out")})
    found = run("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu")
    assert ", as after rescaling; `window 40 2120` is a rule for others" in found.err
    assert found.status == 2

    mixed = run("save-2d", *words[:-4], "--rescale", "minmax")
    assert "holds slices whose intensities were rescaled by `window 40 2120`" in mixed.error
    given = run("train", tmp_path / "train.yaml", "--device", "cpu", "--rescale", "minmax")
    assert "rescaled by `window 40 2120` when they were made; --rescale is `minmax`" in given.error


def test_prediction_takes_the_rule_of_its_models(prepared: Path, tmp_path: Path, run) -> None:
    write_ct(tmp_path / "in", 2)
    path = as_trained_by(predict_config(prepared, tmp_path), tmp_path, rescale="window 40 2120")
    words = ["-i", tmp_path / "in", "-c", path, "--device", "cpu"]
    found = run("predict-3d", *words, "-o", tmp_path / "raw")
    assert found.status == 0, found.err
    assert "as in training: window 40 2120" in found.err
    assert "the training had `window 40 2120`" in run("predict-3d", *words, "-o", "o", "--rescale", "minmax").error
    detector = mood_dpa.load(path, device="cpu")
    written = read_volume(tmp_path / "raw" / "00001.nii.gz").data
    np.testing.assert_array_equal(detector.map(tmp_path / "in" / "00001.nii.gz"), written)
    np.testing.assert_array_equal(detector.map(np.roll(hounsfield(), 1, 0)), written)
    write_config(path, {**read_config(path), "rescale": "window 40 2120"})
    found = run("predict-3d", *words, "-o", tmp_path / "key")
    assert "as in training" not in found.err
    np.testing.assert_array_equal(read_volume(tmp_path / "key" / "00001.nii.gz").data, written)
    state = torch.load(tmp_path / "model_1.tar", weights_only=True)
    torch.save({**state, "volumes": {"rescale": "minmax", "axes": []}}, tmp_path / "model_1.tar")
    write_config(path, {k: v for k, v in read_config(path).items() if k != "rescale"})
    found = run("predict-3d", *words, "-o", tmp_path / "two")
    assert "different intensities: `minmax` and `window 40 2120`" in found.error


def test_a_rule_that_the_training_did_not_have_is_said(capsys) -> None:
    assert agreed(None, [None]) == Rule()
    assert agreed(None, ["none", "none"]) == Rule()
    assert capsys.readouterr().err == ""
    assert agreed(Rule("minmax"), [None]) == Rule("minmax")
    assert agreed(Rule("any-range"), ["window 40 400"]) == Rule("any-range")
    assert agreed(Rule("none"), ["window 40 400"]) == Rule()
    assert capsys.readouterr().err.count("note: ") == 3
    with pytest.raises(InputError, match="the training had `minmax`"):
        agreed(Rule("percentile", (1, 99)), ["minmax"])


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


def test_python_refuses_and_rescales_as_the_commands_do(prepared: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(bench.SCHEDULES, "smoke", SMALL)
    data = hounsfield()
    detector = mood_dpa.load(predict_config(prepared, tmp_path), device="cpu")
    for given in (data, data / 1024, phantom(0) * 255, phantom(0) * 2 - 1):
        with pytest.raises(InputError, match=r"expected \[0, 1\]"):
            detector.score(given)
        with pytest.raises(InputError, match=r"expected \[0, 1\]"):
            detector.map(given)
    for flat in (np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(InputError, match="volume 0: the affine cannot be inverted"):
            detector.map_image((phantom(0), flat))
    with pytest.raises(InputError, match=r"expected \[0, 1\]"):
        mood_dpa.fit([data], volumes=True, device="cpu")
    fitted = mood_dpa.fit([data], volumes=True, rescale="minmax", device="cpu", output_dir=tmp_path / "run")
    loaded = mood_dpa.load(tmp_path / "run", device="cpu")
    assert str(fitted.rule) == str(loaded.rule) == "minmax"
    np.testing.assert_array_equal(loaded.score(data), fitted.score(data))
    taken = mood_dpa.load(predict_config(prepared, tmp_path), rescale="any-range", device="cpu")
    capsys.readouterr()
    taken.score([data, data])
    assert capsys.readouterr().err.count("warning: volume") >= 2
    with pytest.raises(InputError, match="rescale `windw`"):
        mood_dpa.load(tmp_path / "run", rescale="windw 3 4", device="cpu")


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


def test_models_of_whole_volumes_and_of_slices_are_told_apart(prepared: Path, entrances, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 4)
    train = read_config(tmp_path / "train.yaml")
    write_config(tmp_path / "a.yaml", {**train, "mode_3d": False})
    assert "Data sets of nifti3d need `mode_3d: true`" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    slices = small_train_config(prepared, checkpoint_root=str(tmp_path / "out"), log_root=str(tmp_path / "out"))
    write_config(tmp_path / "a.yaml", {**slices, "mode_3d": True})
    assert "Data sets of numpy2d need `mode_3d: false`" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    (tmp_path / "model_3d.tar").replace(tmp_path / "model_0.tar")
    config = read_config(tmp_path / "inference.yaml")
    write_config(tmp_path / "inference.yaml", {**config, "test_model_path": str(tmp_path / "model_0.tar")})
    for command in ("predict-3d", "inference_evaluate_3d"):
        assert "was trained on whole volumes (mode_3d)" in run(command, *entrances[command]).error
    assert not (tmp_path / "out").exists()


def test_trainings_do_not_write_into_the_folder_of_their_volumes(entrances, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 4)
    train = read_config(tmp_path / "train.yaml")
    write_config(tmp_path / "a.yaml", {**train, "checkpoint_root": str(tmp_path / "in")})
    assert "is the folder of the input" in run("train", tmp_path / "a.yaml", "--device", "cpu").error
    words = ["--id", tmp_path / "in", "--ood", "synthetic", "--output-dir", tmp_path / "in", "--device", "cpu"]
    assert "is the folder of the input" in run("bench", *words).error
    assert len(list((tmp_path / "in").iterdir())) == 4
