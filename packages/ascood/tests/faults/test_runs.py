"""Trainings in a folder that is in use or holds results, from weights that do not fit, or whose loss breaks."""

from pathlib import Path

import pytest
import torch
from ascood import state
from ascood.build import load_pretrained
from ascood.networks import make_backbone
from ood_shared import checkpoints
from ood_shared.errors import InputError
from ood_shared.locks import RUN_LOCK, held

from .conftest import CIFAR, DIGITS, OWN


def test_a_second_run_leaves_the_log_of_the_first(cifar, run):
    Path("r").mkdir()
    for name in ("log.txt", "config.yml"):
        Path("r", name).write_text("of the first")
    with held(Path("r"), 0.0, RUN_LOCK):
        error = run("train", *CIFAR, "--output-dir", "r", "--merge_option", "merge").error
    assert "r is in use" in error
    assert {path.read_text() for path in Path("r").iterdir()} == {"of the first"}


def test_an_existing_folder_without_a_terminal_is_refused(place, run, monkeypatch):
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    Path("there").mkdir()
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    error = run("train", *words, "--output-dir", "there").error
    assert "no terminal to ask on" in error
    assert "--merge_option merge" in error


@pytest.mark.parametrize(("answer", "status"), [("n", 0), ("maybe", 2)])
def test_the_answer_on_a_terminal_counts(place, run, monkeypatch, answer, status):
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    Path("there").mkdir()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert run("train", *words, "--output-dir", "there").status == status
    assert list(Path("there").iterdir()) == []


def test_merge_option_pass_stops_where_results_are(place, done):
    Path("there").mkdir()
    Path("there/ood.csv").write_text("x")
    words = [word for word in DIGITS if word not in ("--merge_option", "merge")]
    assert "left as it is" in done("train", *words, "--merge_option", "pass", "--output-dir", "there").out
    assert [path.name for path in Path("there").iterdir()] == ["ood.csv"]


def test_missing_pretrained_weights_say_which_they_are(place, run):
    words = ["--network.backbone.pretrained", "True", "--network.backbone.checkpoint", "./w/resnet18-f37072fd.pth"]
    assert "ResNet18_Weights.IMAGENET1K_V1" in run("train", *DIGITS, *words).error


def test_weights_of_which_nothing_fits_are_refused(place):
    checkpoints.save(place / "w.pth", {"other": torch.zeros(3)})
    with pytest.raises(InputError, match="holds no weight of this network"):
        load_pretrained(make_backbone("lenet", 3), place / "w.pth")


def test_pretrained_weights_leave_a_last_layer_of_another_size_fresh(place):
    source, target = make_backbone("lenet", 7), make_backbone("lenet", 3)
    checkpoints.save(place / "w.pth", source.state_dict())
    before = target.fc.weight.clone()
    load_pretrained(target, place / "w.pth")
    assert torch.equal(target.fc.weight, before)
    assert torch.equal(target.conv1.weight, source.conv1.weight)


def test_a_loss_that_is_no_number_is_refused(place, run, make_folder):
    make_folder(place / "mine")
    error = run("train", *OWN, "--optimizer.lr", "1e30:float").error
    assert "loss became" in error
    assert "no epoch was finished" in error
    assert not list(place.rglob("*.ckpt"))


def test_a_resumed_run_with_other_settings_is_refused(trained, run, monkeypatch):
    monkeypatch.chdir(trained.parent)
    words = ["--optimizer.lr", "0.05", "--trainer.trainer_args.ood_type", "shuffle", "--resume"]
    before = {path.name: path.read_bytes() for path in (trained / "s0").iterdir() if path.is_file()}
    error = run("train", *OWN, *words, "--trainer.trainer_args.w", "2.0", "--output-dir", str(trained / "s0")).error
    assert "trainer.trainer_args.w" in error
    assert {path.name: path.read_bytes() for path in (trained / "s0").iterdir() if path.is_file()} == before


def test_a_foreign_checkpoint_is_refused_on_resume(trained, run):
    checkpoints.save(trained / "s0" / "checkpoint.pt", {"network": {}})
    words = ["--optimizer.lr", "0.05", "--trainer.trainer_args.ood_type", "shuffle", "--resume"]
    error = run("train", *OWN, *words, "--output-dir", str(trained / "s0")).error
    assert f"lacks `{list(state.PARTS)[1]}`" in error
