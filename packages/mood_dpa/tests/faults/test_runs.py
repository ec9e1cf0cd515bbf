"""Checkpoints that are damaged or do not fit, and folders in use: one line, status 2, and the run left as it was."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mood_dpa.config_files import read_config, write_config
from mood_dpa.state import MODEL, RESUME
from ood_shared.locks import claimed

from ..conftest import predict_config, small_inference_config, small_train_config, write_phantoms
from .conftest import words


def copied_run(prepared: Path, at: Path) -> Path:
    """A finished run in `at`, its configuration, and what resumes it."""
    config = small_train_config(prepared, checkpoint_root=str(at / "c"), log_root=str(at / "l"))
    shutil.copytree(prepared / "axis_0" / "checkpoints", at / "c")
    shutil.copytree(prepared / "axis_0" / "logs", at / "l")
    written = json.loads((at / "l" / "config.json").read_text())
    written["settings"] |= {"checkpoint_root": str(at / "c"), "log_root": str(at / "l")}
    (at / "l" / "config.json").write_text(json.dumps(written))
    write_config(at / "t.yaml", config)
    return at / "t.yaml"


def sums(*folders: Path) -> dict[str, str]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def first(weights: dict[str, Any], change: Any) -> dict[str, Any]:
    name = next(iter(weights))
    return {**weights, name: change(weights[name])}


STATES: dict[str, Any] = {
    "nones": lambda state: dict.fromkeys(state),
    "numbers as keys": lambda state: dict(enumerate(state.values())),
    "texts": lambda state: dict.fromkeys(state, "x"),
    "nothing": lambda state: {},
    "a finished model": lambda state: {k: state[k] for k in ("config", "stage", "resolution", "enc", "dec")},
    "no place": lambda state: {**state, "run": {}},
    "a negative place": lambda state: {**state, "run": {**state["run"], "k": -1}},
    "another stage": lambda state: {**state, "stage": "trns", "resolution": 512},
    "no weights": lambda state: {**state, "enc": {}},
    "nan": lambda state: {**state, "enc": first(state["enc"], lambda w: w * np.nan)},
    "integers": lambda state: {**state, "dec": first(state["dec"], lambda w: w.int())},
    "complex": lambda state: {**state, "dec": first(state["dec"], lambda w: w.to(torch.complex64))},
    "sparse": lambda state: {**state, "enc": first(state["enc"], lambda w: w.to_sparse())},
    "meta": lambda state: {**state, "enc": first(state["enc"], lambda w: w.to("meta"))},
    "another shape": lambda state: {**state, "enc": first(state["enc"], lambda w: w[:1])},
    "no moments": lambda state: {**state, "optimizer": {}},
    "other moments": lambda state: {
        **state,
        "optimizer": {
            **state["optimizer"],
            "state": {k: {**v, "exp_avg": torch.zeros(3)} for k, v in state["optimizer"]["state"].items()},
        },
    },
    "display of another size": lambda state: {**state, "display_x": torch.zeros(4, 1, 3, 3)},
    "no ranks": lambda state: {**state, "ranks": []},
    "ranks of text": lambda state: {**state, "ranks": ["x"]},
    "no random state": lambda state: {**state, "ranks": [{**state["ranks"][0], "rng": {}}]},
    "record of text": lambda state: {**state, "volumes": "x"},
    "another rule": lambda state: {**state, "volumes": {"rescale": "minmax", "axes": []}},
}


@pytest.mark.parametrize("name", STATES)
def test_a_checkpoint_that_does_not_fit_leaves_the_run_as_it_was(
    name: str, prepared: Path, tmp_path: Path, run
) -> None:
    path = copied_run(prepared, tmp_path)
    state = torch.load(tmp_path / "c" / RESUME, weights_only=True)
    torch.save(STATES[name](state), tmp_path / "c" / RESUME)
    before = sums(tmp_path / "c", tmp_path / "l")
    found = run("train", path, "--device", "cpu", "--resume")
    assert RESUME in found.error
    assert len(found.error) < 700
    assert sums(tmp_path / "c", tmp_path / "l") == before


BYTES = {
    "cut": lambda data: data[:1000],
    "empty": lambda data: b"",
    "text": lambda data: b"hello",
    "json": lambda data: b'{"a": 1}',
    "type error": lambda data: b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.",
    "code": lambda data: b"cos\nsystem\n(S'true'\ntR.",
    "flipped": lambda data: data[:2000] + bytes(255 - byte for byte in data[2000:2400]) + data[2400:],
}


@pytest.mark.parametrize("name", BYTES)
def test_a_damaged_checkpoint_is_one_line_for_every_command(name: str, prepared: Path, tmp_path: Path, run) -> None:
    path = copied_run(prepared, tmp_path)
    resume, model = tmp_path / "c" / RESUME, tmp_path / "c" / MODEL
    for file in (resume, model):
        file.write_bytes(BYTES[name](file.read_bytes()))
    before = sums(tmp_path / "c", tmp_path / "l")
    assert RESUME in run("train", path, "--device", "cpu", "--resume").error
    assert sums(tmp_path / "c", tmp_path / "l") == before
    write_config(tmp_path / "i.yaml", small_inference_config(prepared, test_model_path=str(model), results_root="r"))
    assert MODEL in run("inference_evaluate_3d", tmp_path / "i.yaml", "--device", "cpu").error
    config = read_config(predict_config(prepared, tmp_path))
    config["models"][0]["checkpoint_path"] = str(model)
    write_config(tmp_path / "p.yaml", config)
    write_phantoms(tmp_path / "in", 1)
    assert MODEL in run(*words("predict-3d", tmp_path / "p.yaml", tmp_path)).error
    assert not (tmp_path / "out").exists()


def test_weights_that_are_no_numbers_are_never_scored_with(prepared: Path, tmp_path: Path, run) -> None:
    path = predict_config(prepared, tmp_path)
    write_phantoms(tmp_path / "in", 1)
    state = torch.load(tmp_path / "model_1.tar", weights_only=True)
    for change in (
        lambda w: w * np.nan,
        lambda w: w.int(),
        lambda w: w.to(torch.complex64),
        lambda w: w.to_sparse(),
        lambda w: w.to("meta"),
    ):
        torch.save({**state, "dec": first(state["dec"], change)}, tmp_path / "model_1.tar")
        assert "model_1.tar, dec" in run(*words("predict-3d", path, tmp_path)).error
        assert not (tmp_path / "out").exists()


def test_two_trainings_never_write_into_one_folder(prepared: Path, tmp_path: Path, run) -> None:
    for kept in ("c", "l"):
        config = small_train_config(prepared, checkpoint_root=str(tmp_path / "c"), log_root=str(tmp_path / "l"))
        write_config(tmp_path / "t.yaml", config)
        with claimed(tmp_path / kept):
            assert "is in use by another training" in run("train", tmp_path / "t.yaml", "--device", "cpu").error
        assert not list(tmp_path.rglob("*.tar"))
    assert run("train", tmp_path / "t.yaml", "--device", "cpu").status == 0
    sets = {part: [config[f"{part}_dataset"]["dataset_kwargs"]] for part in ("train", "val")}
    simclr = {"batch_size": 4, "epochs": 1, "dataset": {"dataset_params": {"input_shape": "(32,32,3)", **sets}}}
    write_config(tmp_path / "s.yaml", simclr)
    with claimed(tmp_path / "out" / "s"):
        found = run("simclr", tmp_path / "s.yaml", "--device", "cpu", "--output-dir", tmp_path / "out")
    assert "is in use by another training" in found.error


def test_one_folder_for_checkpoints_and_logs_is_locked_once_and_cleared(prepared: Path, tmp_path: Path, run) -> None:
    config = small_train_config(prepared, checkpoint_root=str(tmp_path / "r"), log_root=str(tmp_path / "r"))
    write_config(tmp_path / "t.yaml", config)
    (tmp_path / "r" / "images").mkdir(parents=True)
    for killed in ("r/.checkpoint.part-abcdefgh.tar", "r/images/.grid.part-abcdefgh.png"):
        (tmp_path / killed).touch()
    assert run("train", tmp_path / "t.yaml", "--device", "cpu").status == 0
    assert any((tmp_path / "r" / "images").iterdir())
    assert not [path for path in (tmp_path / "r").rglob(".*") if path.is_file()]
