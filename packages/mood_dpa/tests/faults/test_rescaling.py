"""One rule brings intensities into [0, 1]; slices and models keep it, and it is applied again."""

from pathlib import Path

import mood_dpa
import numpy as np
import pytest
import torch
from mood_dpa import bench
from mood_dpa.checkpoints import load_model
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.intensities import Rule, agreed
from mood_dpa.data.record import Origin
from mood_dpa.data.volumes import read_volume
from mood_dpa.state import MODEL
from ood_shared.errors import InputError

from ..conftest import phantom, predict_config, small_inference_config, small_train_config, write_phantoms
from .conftest import SMALL, as_trained_by, hounsfield, write_ct


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
