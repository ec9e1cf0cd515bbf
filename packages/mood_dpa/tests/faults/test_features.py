"""predict_3d takes the VGG19 that the models were trained with; names that collide and black slices do no harm."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.volumes import write_volume
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.predict import load_ensemble
from mood_dpa.scoring_settings import PredictionSettings
from mood_dpa.standalone import MissingFileError, warn_of_slow_bf16
from mood_dpa.vgg import VGG19
from mood_dpa.vgg_weights import load_features, random_weights

from ..conftest import AFFINE, phantom, predict_config, write_phantoms

CPU = torch.device("cpu")


def with_features(prepared: Path, at: Path, named: str | None = None, **stored: Any) -> Path:
    """A prediction configuration whose models compare layer r11 and were trained with the stored settings of VGG19."""
    path = predict_config(prepared, at)
    for axis in range(3):
        model = at / f"model_{axis}.tar"
        state = torch.load(model, weights_only=True)
        kwargs = {"weights_per_resolution": {8: {"feature_weights": {"r11": 1}}}, "normalize_to_vgg_input": False}
        state["config"]["image_rec_loss"]["loss_kwargs"] = kwargs | stored
        torch.save(state, model)
    write_config(path, {**read_config(path), "path_to_vgg19_weights": named})
    return path


def vggs(path: Path) -> list[VGG19]:
    found = [part.model.loss.model for part in load_ensemble(PredictionSettings.of(read_config(path)), CPU).models]
    assert all(isinstance(vgg, VGG19) for vgg in found)
    return found


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file that differs from the random fallback."""
    path = tmp_path / "trained.tar"
    torch.save({key: value + 1 for key, value in random_weights().items()}, path)
    return str(path)


def test_a_download_that_fails_says_so_and_not_that_the_configuration_is_damaged(monkeypatch) -> None:
    def offline(**_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models, "vgg19", offline)
    with pytest.raises(MissingFileError, match=r"could not be downloaded .*path_to_vgg19_weights"):
        load_features(imagenet_pretrained=True)


def test_an_empty_path_means_the_file_that_the_model_names(
    prepared: Path, tmp_path: Path, weights: str, capsys
) -> None:
    found = vggs(with_features(prepared, tmp_path, path_to_vgg19_weights=weights, pad_type="reflect"))
    assert torch.equal(found[0].conv1_1.weight, random_weights()["conv1_1.weight"] + 1)
    assert {vgg.pad_type for vgg in found} == {"reflect"}
    assert found[0] is found[1] is found[2]
    assert "RANDOM" not in capsys.readouterr().err


def test_a_path_replaces_the_file_and_nothing_else(prepared: Path, tmp_path: Path, weights: str) -> None:
    stored = {"path_to_vgg19_weights": "nowhere.tar", "pad_type": "replication"}
    found = vggs(with_features(prepared, tmp_path, weights, **stored))
    assert torch.equal(found[2].conv1_1.weight, random_weights()["conv1_1.weight"] + 1)
    assert found[2].pad_type == "replication"


def test_features_of_imagenet_stay_so(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load(*settings: Any) -> VGG19:
        asked.append(settings)
        return load_features(quiet=True)

    monkeypatch.setattr("mood_dpa.vgg_weights.load_features", load)
    vggs(with_features(prepared, tmp_path, imagenet_pretrained=True))
    assert asked == [(None, True, "zero")]


def test_a_stored_file_that_is_gone_is_named_with_the_key(prepared: Path, tmp_path: Path, run) -> None:
    path = with_features(prepared, tmp_path, path_to_vgg19_weights="nowhere.tar")
    folder = write_phantoms(tmp_path / "in", 1)
    found = run("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", path, "--device", "cpu")
    assert "nowhere.tar" in found.error
    assert "path_to_vgg19_weights" in found.error
    assert not (tmp_path / "out").exists()


def test_the_warning_about_random_features_does_not_judge_them(capsys: pytest.CaptureFixture[str]) -> None:
    load_features()
    warning = capsys.readouterr().err
    assert "RANDOM" in warning
    assert "worse" not in warning


def test_random_features_leave_every_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "manual_seed", lambda *_: pytest.fail("reseeds the generators of all devices"))
    before = torch.random.get_rng_state()
    random_weights.cache_clear()
    random_weights()
    assert torch.equal(torch.random.get_rng_state(), before)


# -- names ---------------------------------------------------------------------------------------------------------


def test_folds_of_cases_that_cannot_be_told_apart_are_refused(tmp_path: Path, run) -> None:
    for number in range(1, 5):
        write_volume(tmp_path / "in" / f"patient_{number:03d}.nii.gz", phantom(number), AFFINE)
    found = run("folds", "-i", tmp_path / "in", "-o", tmp_path / "out" / "folds.csv", "-n", 2)
    assert "patient_001.nii.gz and patient_002.nii.gz have the same case id" in found.error
    assert not (tmp_path / "out").exists()


def test_volumes_that_would_overwrite_each_others_slices_are_refused(tmp_path: Path, run) -> None:
    for number in range(1, 4):
        write_volume(tmp_path / "in" / f"1.2.840.{number}.nii.gz", phantom(number), AFFINE)
    found = run("save-2d", "-i", tmp_path / "in", "-o", tmp_path / "out", "-a", 0)
    assert "1.2.840.1.nii.gz and 1.2.840.2.nii.gz have the same name up to the first dot, `1`" in found.error
    assert not (tmp_path / "out").exists()


# -- black slices --------------------------------------------------------------------------------------------------


def black_loss(**changes: Any) -> PerceptualLoss:
    weights = {8: {"feature_weights": {"r11": 1}}}
    common: dict[str, Any] = {"use_L1_norm": True, "use_relative_error": True, "normalize_to_vgg_input": False}
    return PerceptualLoss(weights, **common | changes, features=load_features(quiet=True))


def test_black_slices_take_no_part_in_the_mean() -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(4, 1, 8, 8, generator=draws)
    x[1::2] = -1  # black: 0 before the normalisation
    y = torch.rand(4, 1, 8, 8, generator=draws).requires_grad_()
    found = black_loss()(x, y)
    assert float(found.detach()) == pytest.approx(float(black_loss()(x[::2], y[::2]).detach()), rel=1e-6)
    found.backward()
    assert y.grad is not None
    assert not y.grad[1::2].any()
    assert y.grad[::2].any()


@pytest.mark.parametrize("changes", [{}, {"mode_3d": True}, {"use_smooth_pg": True}])
def test_a_batch_of_black_slices_has_the_loss_0_and_no_gradient(changes: dict[str, Any]) -> None:
    loss = black_loss(**changes)
    shape = (2, 1, 8, 8, 8) if changes.get("mode_3d") else (2, 1, 8, 8)
    y = torch.rand(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = loss(torch.full(shape, -1.0), y)
    found.backward()
    assert float(found.detach()) == 0
    assert y.grad is not None
    assert not y.grad.any()


def test_a_loss_that_is_no_number_stays_so() -> None:
    x = torch.rand(2, 1, 8, 8)
    assert torch.isnan(black_loss()(x * np.nan, x))


# -- bf16 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "lines"), [(False, 1), (True, 0)])
def test_bf16_without_units_for_it_warns_in_one_line(
    units: bool, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: units, raising=False)
    warn_of_slow_bf16(CPU, "bf16")
    warn_of_slow_bf16(CPU, "fp32")
    found = capsys.readouterr().err.splitlines()
    assert len(found) == lines
    assert all(line.startswith("warning: --precision bf16") for line in found)


def test_where_the_units_are_unknown_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    warn_of_slow_bf16(CPU, "bf16")
    assert not capsys.readouterr().err
