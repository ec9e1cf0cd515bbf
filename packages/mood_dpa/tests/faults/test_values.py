"""Values in configurations, flags and label files that are none: one line, status 2."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
from mood_dpa.config_files import config_text, read_config
from mood_dpa.loop import Trainer

from ..conftest import predict_config, small_inference_config, small_train_config, write_phantoms
from .conftest import words

YAML = {
    "date": "zz: 2001-99-99\n",
    "int": "zz: !!int banana\n",
    "float": "zz: !!float banana\n",
    "bool": "zz: !!bool banana\n",
    "digits": f"zz: {'9' * 6000}\n",
    "list as key": "? [a, b]\n: c\n",
    "mapping as key": "? {a: b}\n: c\n",
    "deep": "[" * 6000,
    "deep mappings": "{a: " * 3000,
    "laughs": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}\n" for n in range(1, 10)),
    "surrogate": 'z: "\\ud800"\n',
    "tag": "z: !!python/object/apply:os.system [true]\n",
    "number": "3\n",
    "text": "hello\n",
    "list": "- a\n",
    "empty": "",
}
COMMANDS = ("train", "inference_evaluate_3d", "evaluate", "simclr", "predict-3d")


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("command", COMMANDS)
def test_broken_yaml_is_one_line_for_every_command(command: str, name: str, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 1)
    (tmp_path / "c.yaml").write_text(YAML[name])
    line = run(*words(command, tmp_path / "c.yaml", tmp_path)).error
    assert len(line) < 700
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_regular_file_is_refused(command: str, tmp_path: Path, run) -> None:
    write_phantoms(tmp_path / "in", 1)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for path in ("/dev/zero", tmp_path / "pipe.yaml", tmp_path / "folder.yaml"):
        assert "not a regular file" in run(*words(command, path, tmp_path)).error
    assert "missing" in run(*words(command, tmp_path / "nothing.yaml", tmp_path)).error


VALUES: tuple[Any, ...] = (None, "banana", -1, 2**70, 1.5, [], {"a": 1}, ["x"], math.inf)


def entries(config: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a configuration."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    return [place for key, value in pairs for place in ((*at, key), *entries(value, (*at, key)))]


def with_value(config: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = read_config_of(config)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def read_config_of(config: dict[str, Any]) -> dict[str, Any]:
    import copy

    return copy.deepcopy(config)


@pytest.mark.parametrize("command", ["train", "inference_evaluate_3d", "predict-3d", "simclr"])
def test_no_value_of_a_configuration_ends_in_a_traceback(
    command: str, prepared: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every entry with values of other kinds; what is accepted is not trained or scored to the end."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "fit", stop)
    monkeypatch.setattr("mood_dpa.simclr_train._train", stop)
    monkeypatch.setattr("mood_dpa.predict_folder.predict_folder", stop)
    monkeypatch.setattr("mood_dpa.evaluate.read_ahead", stop)
    (tmp_path / "in").symlink_to(prepared / "volumes")
    train = small_train_config(prepared, checkpoint_root="c", log_root="l")
    sets = {part: [train[f"{part}_dataset"]["dataset_kwargs"]] for part in ("train", "val")}
    simclr = {"model": {"base_model": "vgg19", "out_dim": 8}, "loss": {"temperature": 0.5}, "epochs": 1, "lr": 1e-3}
    configs = {
        "train": train,
        "inference_evaluate_3d": small_inference_config(prepared, results_root="r"),
        "predict-3d": read_config(predict_config(prepared, tmp_path)),
        "simclr": {**simclr, "dataset": {"dataset_params": {"input_shape": "(8,8,3)", **sets}}},
    }
    config, failures = configs[command], []
    for place in entries(config):
        for value in VALUES[:: 1 if len(place) == 1 else 3]:
            (tmp_path / "c.yaml").write_text(config_text(with_value(config, place, value)))
            found = run(*words(command, "c.yaml", tmp_path))
            lines = [line for line in found.err.splitlines() if not line.startswith(("warning: ", "note: "))]
            if found.status not in (2, 130) or len(lines) != 1 or len(lines[0]) > 700:
                failures.append((place, value, found))
    assert not failures


def test_numbers_given_by_hand_are_bounded(tmp_path: Path, run) -> None:
    folder = write_phantoms(tmp_path / "in", 2)
    cases = {
        "save-2d": ["-o", "o", "-a", 0, "-r", "9" * 30],
        "folds": ["-o", "o.csv", "-n", "9" * 5000],
        "synthetic": ["-o", "o", "-m", "m", "--seed", "9" * 30],
        "rescale": ["-o", "o", "--low", "nan"],
    }
    for command, flags in cases.items():
        found = run(command, "-i", folder, *flags)
        assert found.status == 2
        assert len(found.err.splitlines()) == 1
        assert len(found.err) < 700
    assert "of a user who is not known" in run("save-2d", "-i", "~nouser/x", "-o", "o", "-a", 0).error
    assert (
        "is not the number of a fold"
        in run("synthetic", "-i", folder, "-o", "o", "-m", "m", "-p", "f.csv", "-f", "9" * 5000).error
    )


@pytest.mark.parametrize("label", ["", "banana", "9" * 5000, "\n1"])
def test_a_label_that_is_none_is_named(label: str, tmp_path: Path, run) -> None:
    for folder in ("labels", "predictions"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz.txt").write_text(label)
    found = run("challenge", tmp_path / "labels", tmp_path / "predictions", "-m", "sample")
    assert "a.nii.gz.txt is damaged or no label" in found.error
    assert "is missing" in run("challenge", tmp_path / "nowhere", tmp_path / "predictions").error


@pytest.mark.parametrize(
    ("prediction", "said"),
    [(None, "missing, counted"), ("x", "unreadable, counted"), ("nan", "no number, counted"), ("35", "clipped to")],
)
def test_predictions_that_do_not_count_as_they_are_are_said(prediction, said, tmp_path: Path, run) -> None:
    for folder in ("labels", "predictions"):
        (tmp_path / folder).mkdir()
    for name, label in (("a.txt", "1"), ("b.txt", "0")):
        (tmp_path / "labels" / name).write_text(label)
        (tmp_path / "predictions" / name).write_text("0.5")
    (tmp_path / "predictions/b.txt").unlink()
    if prediction is not None:
        (tmp_path / "predictions/b.txt").write_text(prediction)
    found = run("challenge", tmp_path / "labels", tmp_path / "predictions", "-m", "sample")
    assert found.status == 0
    assert f"warning: 1 of 2 predictions in {tmp_path / 'predictions'} are {said}" in found.err


def test_labels_without_an_anomaly_have_no_ap(tmp_path: Path, run) -> None:
    for folder in ("labels", "predictions"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("0")
    found = run("challenge", tmp_path / "labels", tmp_path / "predictions", "-m", "sample")
    assert "has no anomaly in 1 label(s); AP needs one" in found.error


def test_a_grid_does_not_replace_what_was_edited(tmp_path: Path, run) -> None:
    meta = Path(__file__).parents[2] / "configs/cross_validation/axis_0"
    words = ["expand-cv", meta / "meta_train.yaml", meta / "meta_inference_3d.yaml", tmp_path / "cv"]
    assert run(*words).status == 0
    assert run(*words).status == 0  # the same once more
    edited = sorted((tmp_path / "cv").rglob("train_config.yaml"))[1]
    edited.write_text(edited.read_text() + "# mine\n")
    before = {path: path.read_bytes() for path in (tmp_path / "cv").rglob("*.yaml")}
    assert f"{edited} is there and says something else" in run(*words).error
    assert {path: path.read_bytes() for path in (tmp_path / "cv").rglob("*.yaml")} == before
