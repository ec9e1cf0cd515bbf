"""A checkpoint goes on with as many processes as wrote it, whatever version wrote it; another number is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mood_dpa.config_files import read_config, write_config
from mood_dpa.settings import TrainSettings
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import RESUME
from mood_dpa.train import train
from ood_shared.errors import InputError
from ood_shared.training import Compute

from ..conftest import PACKAGE, small_train_config

CPU, AGAIN = Compute(torch.device("cpu")), Compute(torch.device("cpu"), resume=True)


def of_two(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "ranks": state["ranks"] * 2}


def old(state: dict[str, Any]) -> dict[str, Any]:
    """As commit 05886d8 wrote it."""
    own = state.pop("ranks")
    if "views" in own[0]:
        return {**state, "views": [part["views"] for part in own], "watch": own[0]["watch"]}
    return {**state, "batches": own[0]["batches"], "rng": [part["rng"] for part in own]}


def rewrite(path: Path, *changes: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    state = load_checkpoint(path)
    for change in changes:
        state = change(state)
    torch.save(state, path)


@pytest.fixture
def trained(prepared: Path, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """The configuration of a run, and its `resume.tar` in the middle of the last stage."""
    config = small_train_config(prepared)
    config |= {"checkpoint_root": str(tmp_path / "c"), "log_root": str(tmp_path / "l"), "stab_iter": 3}
    train(TrainSettings.of(config), CPU)
    return config, tmp_path / "c" / RESUME


@pytest.mark.parametrize("changes", [(of_two,), (of_two, old)])
def test_a_training_of_two_is_not_resumed_by_one(trained: tuple[dict[str, Any], Path], changes: Any) -> None:
    config, path = trained
    rewrite(path, *changes)
    with pytest.raises(
        InputError, match=r"resume\.tar was written by 2 processes, now there is 1\. Resume with"
    ) as found:
        train(TrainSettings.of(config), AGAIN)
    assert "\n" not in str(found.value)
    finetuned = {**config, "finetune_from": str(path), "checkpoint_root": config["checkpoint_root"] + "2"}
    with pytest.raises(InputError, match="or finetune_from"):
        train(TrainSettings.of(finetuned), CPU)


def test_a_training_of_an_earlier_version_goes_on(trained: tuple[dict[str, Any], Path]) -> None:
    config, path = trained
    before = load_checkpoint(path)["enc"]
    rewrite(path, old)
    train(TrainSettings.of(config), AGAIN)
    assert all(torch.equal(value, before[key]) for key, value in load_checkpoint(path)["enc"].items())


@pytest.mark.parametrize("changes", [(of_two,), (of_two, old), (old,)])
def test_simclr_of_two_is_not_resumed_by_one(changes: Any, prepared: Path, tmp_path: Path, run, done) -> None:
    """Two ranks that shared one state of random views would draw the same ones, unseen."""
    config = read_config(PACKAGE / "configs" / "embedded" / "simclr.yaml")
    config |= {"batch_size": 4, "epochs": 1, "model": {"base_model": "resnet18", "out_dim": 8}}
    params = config["dataset"]["dataset_params"]
    for part in ("train", "val"):
        params[part] = params[part][:1]
        params[part][0] |= {"image_root": str(prepared / "2d_axis_0"), "folds_path": str(prepared / "folds.csv")}
        params[part][0]["max_dataset_size"] = 8
    words = ("simclr", tmp_path / "short.yaml", "--output-dir", tmp_path / "runs", "--device", "cpu")
    write_config(tmp_path / "short.yaml", config)
    done(*words)
    rewrite(tmp_path / "runs" / "short" / "checkpoint.pt", *changes)
    if of_two in changes:
        assert "was written by 2 processes, now there is 1. Resume with" in run(*words, "--resume").error
    else:
        done(*words, "--resume")
