"""When the large files of a run are written, and that a kill between two writings changes nothing but the time."""

import json

import pytest
import torch
from imood import loop, run_files
from imood.data.registry import open_task
from imood.data.tasks import Source
from imood.settings import Settings
from imood.train import train
from ood_shared import checkpoints, training
from ood_shared.training import Compute

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    monkeypatch.setattr("imood.figures.draw_curves", lambda *parts: None)


@pytest.fixture
def task(data):
    return open_task(Source("cifar10", data, 0.1, "ResNet18", CPU), training=True)


@pytest.fixture
def written(monkeypatch):
    """The epochs after which the state was written."""
    found, original = [], loop.save
    monkeypatch.setattr(loop, "save", lambda job, progress: (found.append(progress.epoch), original(job, progress)))
    return found


def settings(task, **fields):
    base = {"epochs": 4, "batch_size": 32, "width": 2, "seed": 4, "lr": 0.01, "test_batch_size": 30}
    return Settings(**{"dataset": "cifar10", "model": "ResNet18", "counts": tuple(task.counts)} | base | fields)


def epochs_in(folder):
    rows = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = [line.split(" epoch ")[1].split()[0] for line in (folder / run_files.VAL_LOG).read_text().splitlines()]
    assert [str(row - 1) for row in rows] == logged
    return rows


def test_short_epochs_share_a_writing_and_the_last_has_its_own(task, tmp_path, written):
    train(task, settings(task), tmp_path, Compute(CPU))
    assert written == [1, 4]
    assert checkpoints.load_value(tmp_path / "latest.pth")["epoch"] == 3


def test_long_epochs_are_written_each(task, tmp_path, written, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    train(task, settings(task), tmp_path, Compute(CPU))
    assert written == [1, 2, 3, 4]


def test_what_is_kept_of_single_epochs_does_not_wait(task, tmp_path, written):
    train(task, settings(task, save_epochs=2, ood_metric="maha"), tmp_path, Compute(CPU))
    for name in ("epoch0.pth", "epoch2.pth", "id_feats_epoch0.pth", "id_feats_epoch2.pth", "best_clean_acc.pth"):
        assert (tmp_path / name).is_file(), name


def test_a_kill_between_two_writings_leaves_each_epoch_once(task, tmp_path, monkeypatch):
    chosen, calls = settings(task, ood_metric="ada_maha"), []
    train(task, chosen, tmp_path / "whole", Compute(CPU))
    validated = train.__globals__["validate"]

    def validate(*parts):
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return validated(*parts)

    monkeypatch.setitem(train.__globals__, "validate", validate)
    with pytest.raises(Killed):
        train(task, chosen, tmp_path / "cut", Compute(CPU))
    assert epochs_in(tmp_path / "cut") == [1, 2, 3]
    assert checkpoints.load(tmp_path / "cut/checkpoint.pt")["progress"]["epoch"] == 1
    train(task, chosen, tmp_path / "cut", Compute(CPU), tmp_path / "cut")
    assert epochs_in(tmp_path / "cut") == [1, 2, 3, 4]
    one, other = (checkpoints.load(tmp_path / name / "checkpoint.pt") for name in ("whole", "cut"))
    assert all(torch.equal(value, other["network"][key]) for key, value in one["network"].items())
    assert one["progress"]["histories"] == other["progress"]["histories"]


def test_a_loss_that_is_no_number_names_the_epoch_that_is_kept(task, tmp_path, monkeypatch):
    original, calls = loop.training_losses, []

    def broken(objective, logits, *rest):
        calls.append(1)
        late = len(calls) > 2 * steps
        return original(objective, logits * (float("nan") if late else 1), *rest)

    steps = 2  # of an epoch: 64 outliers in batches of 32
    monkeypatch.setattr(loop, "training_losses", broken)
    with pytest.raises(training.InputError, match=r"nan in epoch 3.*the checkpoint of epoch 1 is kept"):
        train(task, settings(task), tmp_path, Compute(CPU))
    assert checkpoints.load(tmp_path / "checkpoint.pt")["progress"]["epoch"] == 1


def test_logs_lose_what_will_be_written_again(tmp_path):
    lines = ["x epoch 0 batch 0 (train)\n", "x epoch 0 batch 100 (train)\n", "x epoch 1 batch 0 (train)\n", "x epo"]
    (tmp_path / run_files.TRAIN_LOG).write_text("".join(lines))
    (tmp_path / run_files.VAL_LOG).write_text("a epoch 0 (test): ACC\nb epoch 1 (test): ACC\n")
    run_files.cut_logs(tmp_path, 0, 100)
    assert (tmp_path / run_files.TRAIN_LOG).read_text() == lines[0]
    assert (tmp_path / run_files.VAL_LOG).read_text() == ""
