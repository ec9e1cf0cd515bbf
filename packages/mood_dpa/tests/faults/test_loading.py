"""`mood_dpa.load` and `fit` with arguments that mean nothing, or that files contradict: one line each."""

from pathlib import Path
from typing import Any

import mood_dpa
import numpy as np
import pytest
import torch
from mood_dpa import bench
from mood_dpa.config_files import read_config, write_config
from ood_shared.errors import InputError

from ..conftest import phantom, predict_config, small_inference_config, write_phantoms
from .conftest import SMALL

NAN = float("nan")


def refused(path: Any, **words: Any) -> str:
    with pytest.raises(InputError) as caught:
        mood_dpa.load(path, device="cpu", **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of `fit`: `volumes` and `images`."""
    at = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.SCHEDULES, "smoke", SMALL)
        mood_dpa.fit([phantom(0)], volumes=True, output_dir=at / "volumes", device="cpu")
        images = np.random.default_rng(0).integers(0, 255, (40, 20, 20), dtype=np.uint8)
        mood_dpa.fit(images, output_dir=at / "images", device="cpu")
    return at


@pytest.mark.parametrize("path", [None, 5, 1.5, True, b"run", "", [None], [5]])
def test_what_is_no_path_is_one_line(path: Any) -> None:
    assert "is no path; expected the name of a file or folder" in refused(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"axes": 1.5}, "axes are [1.5]; expected 0, 1 or 2"),
        ({"axes": True}, "axes are [True]"),
        ({"axes": "012"}, "axes are ['012']"),
        ({"axes": [0, "1"]}, "axes are [0, '1']"),
        ({"axes": -1}, "axes are [-1]"),
        ({"small_area": "x"}, "small_area is 'x'; expected a finite number from 0 on"),
        ({"small_area": NAN}, "small_area is nan"),
        ({"small_area": -1}, "small_area is -1"),
        ({"small_area": True}, "small_area is True"),
        ({"cube": -3}, "cube is -3; expected a whole number from 1 to 4096"),
        ({"cube": 0}, "cube is 0"),
        ({"cube": 12.5}, "cube is 12.5"),
        ({"delete_zero_area": "yes"}, "delete_zero_area is 'yes'; expected True or False"),
        ({"features": 5}, "5 is no path"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(words: dict[str, Any], message: str, fitted: Path) -> None:
    assert message in refused(fitted / "volumes", **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"axes": [2, 1, 0]}, "axes is [2, 1, 0], {} says [0, 1, 2]. Leave axes out"),
        ({"axes": 0}, "axes is [0, 0, 0], {} says [0, 1, 2]"),
        ({"small_area": 1e9}, "small_area is 1000000000.0, {} says 14.0"),
        ({"delete_zero_area": False}, "delete_zero_area is False, {} says True"),
        ({"cube": 12}, "cube is 12, {} says None"),
    ],
)
def test_what_differs_from_a_folder_is_refused(words: dict[str, Any], message: str, fitted: Path) -> None:
    path = fitted / "volumes"
    assert message.format(path / "predict_3d.yaml") in refused(path, **words)
    assert message.format(path / "predict_3d.yaml") in refused(path / "predict_3d.yaml", **words)


def test_what_a_folder_says_may_be_said_again(fitted: Path) -> None:
    small = read_config(fitted / "volumes" / "predict_3d.yaml")["models"][0]["small_area"]
    words: dict[str, Any] = {"axes": (0, 1, 2), "small_area": small, "delete_zero_area": True}
    again = mood_dpa.load(fitted / "volumes", device="cpu", **words)
    np.testing.assert_array_equal(
        again.score(phantom(1)), mood_dpa.load(fitted / "volumes", device="cpu").score(phantom(1))
    )


def test_a_configuration_of_one_axis_is_compared_too(prepared: Path, tmp_path: Path) -> None:
    write_config(tmp_path / "i.yaml", small_inference_config(prepared, axis=1))
    assert "axes is [0], " in refused(tmp_path / "i.yaml", axes=0)
    assert "small_area is 3, " in refused(tmp_path / "i.yaml", small_area=3)
    mood_dpa.load(tmp_path / "i.yaml", axes=1, small_area=20, delete_zero_area=False, device="cpu")


def test_another_axis_than_that_of_the_training_is_said(fitted: Path, tmp_path: Path, done, capsys) -> None:
    model = fitted / "volumes" / "axis_0" / "anomaly_detection.tar"
    said = "warning: a model of slices along axis 0 is used along axis 1; is that meant?\n"
    assert "There are 1 models and 0 axes" in refused(model, axes=[])
    own = [mood_dpa.load(model.parent, axes=axes, device="cpu").score(phantom(1)) for axes in (None, 0)]
    assert own[0] == own[1]
    assert "is that meant" not in capsys.readouterr().err
    mood_dpa.load(fitted / "volumes" / "axis_0", axes=1, device="cpu")
    assert said in capsys.readouterr().err
    content = read_config(fitted / "volumes" / "predict_3d.yaml")
    entry = {**content["models"][0], "checkpoint_path": str(model), "along_axis": 1}
    write_config(tmp_path / "p.yaml", {**content, "models": [entry]})
    write_phantoms(tmp_path / "in", 1)
    words = ["predict-3d", "-i", tmp_path / "in", "-o", tmp_path / "out", "-c", tmp_path / "p.yaml", "-m", "sample"]
    assert said in done(*words).err


@pytest.mark.parametrize(
    "words",
    [{"axes": 0}, {"small_area": 1}, {"delete_zero_area": True}, {"cube": 8}, {"rescale": "minmax"}],
)
def test_a_model_of_images_takes_nothing_of_volumes(words: dict[str, Any], fitted: Path) -> None:
    assert f"{next(iter(words))} is for models of volumes" in refused(fitted / "images", **words)


def test_models_of_images_make_no_ensemble(fitted: Path) -> None:
    assert "is a model of images, not of slices" in refused([fitted / "images"] * 2, axes=[0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"axis": "x"}}, "its axis is 'x'"),
        ({"config": {"axis": [0]}}, "its axis is [0]"),
        ({"config": "text"}, "damaged or no trained model"),
        ({"resolution": "wide"}, "damaged or no trained model"),
    ],
)
def test_a_damaged_model_is_one_line(change: dict[str, Any], message: str, fitted: Path, tmp_path: Path) -> None:
    state = torch.load(fitted / "volumes" / "axis_0" / "anomaly_detection.tar", weights_only=True)
    for key, value in change.items():
        state[key] = {**state[key], **value} if isinstance(value, dict) else value
    torch.save(state, tmp_path / "m.tar")
    assert message in refused(tmp_path / "m.tar")


def test_scores_that_are_nan_are_refused(prepared: Path, tmp_path: Path, run) -> None:
    """Weights that are finite, and overflow."""
    path = predict_config(prepared, tmp_path)
    for axis in range(3):
        state = torch.load(tmp_path / f"model_{axis}.tar", weights_only=True)
        for name in ("enc", "dec"):
            state[name] = {key: value * 1e30 for key, value in state[name].items()}
        torch.save(state, tmp_path / f"model_{axis}.tar")
    detector = mood_dpa.load(path, device="cpu")
    for ask in (detector.score, detector.predict, detector.map):
        with pytest.raises(InputError, match="score is NaN: the weights of the model are broken"):
            ask(phantom(0))
    write_phantoms(tmp_path / "in", 1)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "-c", path, "-m", "sample", "--device", "cpu"]
    assert "score is NaN" in run("predict-3d", *words).error
    assert not list(tmp_path.glob("out/*.txt"))


@pytest.mark.parametrize("seed", [1.5, None, 2**70, -1, True])
def test_a_seed_that_is_none_is_one_line(seed: Any) -> None:
    with pytest.raises(InputError) as caught:
        mood_dpa.fit(np.zeros((2, 8, 8), np.uint8), seed=seed, device="cpu")
    assert str(caught.value) == f"The seed is {seed!r}; expected a whole number from 0 to 2**63 - 1."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"rescale": "minmax"}, "rescale is for volumes, and these are taken as images"),
        ({"rescale": "minmax", "volumes": False}, "rescale is for volumes"),
        ({"volumes": "yes"}, "volumes is 'yes'; expected True, False or None"),
        ({"volumes": 1}, "volumes is 1;"),
    ],
)
def test_words_of_fit_that_mean_nothing_are_one_line(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mood_dpa.fit(np.zeros((2, 8, 8), np.uint8), device="cpu", **words)
