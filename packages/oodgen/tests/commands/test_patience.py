"""`train_vae.py` that stops early, and that says when its encoder has died."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.runs import read_metrics
from oodgen import train as training

ID = "./data/train/mnist"
FLAGS = ("train_vae", "--epochs", "6", "--batch_size", "12", "--seed", "1")
LOSSES = (5.0, 3.0, 4.0, 3.0, 2.0, 1.0)  # of the epochs; with a patience of 2, epoch 4 is the last and 2 the best


def model(root: str, name: str = "model.pth") -> dict:
    return checkpoints.load(Path(root, "vae", name))


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def planned(monkeypatch):
    """Validation losses as planned, whatever the network does; training is what it is."""
    elbo = training.elbo_loss

    def begin(epoch=0):
        losses = iter(LOSSES[epoch:])

        def planned_loss(*args):
            loss = elbo(*args)
            return loss if torch.is_grad_enabled() else torch.full_like(loss, next(losses))

        monkeypatch.setattr(training, "elbo_loss", planned_loss)

    return begin


def test_it_stops_and_keeps_the_best_weights(done, place, planned):
    planned()
    found = done(*FLAGS, "--patience", "2")
    assert "stopped: no better validation loss than in epoch 2, whose weights are kept\n" in found.out
    assert len(read_metrics(Path("result/vae"))) == 4
    assert same(model("result"), model("result", "model_2.pth"))
    assert not same(model("result"), model("result", "model_4.pth"))
    assert json.loads(Path("result/vae/configuration.json").read_text())["patience"] == 2


def test_the_next_step_takes_the_best_weights(done, place, planned):
    planned()
    done(*FLAGS, "--epochs", "3", "--patience", "2")  # the last epoch is model_3.pth
    done("gen_ood")
    found = json.loads(Path(ID, "ood/train/configuration.json").read_text())
    assert (found["model_file"], found["model_epoch_used"]) == ("model.pth", 2)
    done("gen_ood", "--model_epoch", "3")
    found = json.loads(Path(ID, "ood/train/configuration.json").read_text())
    assert (found["model_file"], found["model_epoch_used"]) == ("model_3.pth", 3)


def test_without_the_flag_it_goes_on_to_the_end(done, place, planned):
    planned()
    done(*FLAGS)
    assert len(read_metrics(Path("result/vae"))) == 6
    assert same(model("result"), model("result", "model_6.pth"))


@pytest.mark.parametrize(("flags", "patience"), [((), 5), (("--patience", "0"), 0), (("--patience", "2"), 2)])
def test_the_paper_waits_for_five_epochs_unless_told_otherwise(done, place, flags, patience):
    done("train_vae", "--mode", "paper", "--epochs", "1", *flags)
    assert json.loads(Path("result/vae/configuration.json").read_text())["patience"] == patience


@pytest.mark.parametrize("at", [2, 5, 8, 11])  # steps, 3 an epoch
def test_a_terminated_run_goes_on_bit_equal(run, done, place, planned, monkeypatch, at):
    flags = (*FLAGS, "--patience", "2")
    planned()
    done(*flags, "--save_path", "whole")
    planned()
    loss, steps = training.elbo_loss, []

    def terminated(*args):
        if torch.is_grad_enabled():
            steps.append(1)
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGTERM)
        return loss(*args)

    monkeypatch.setattr(training, "elbo_loss", terminated)
    assert run(*flags, "--save_path", "cut").status == 143
    finished = len(read_metrics(Path("cut/vae")))
    planned(finished)
    done(*flags, "--save_path", "cut", "--resume")
    assert same(model("cut"), model("whole"))
    assert len(read_metrics(Path("cut/vae"))) == 4
    assert Path("cut/vae/vali_loss.log").read_text() == Path("whole/vae/vali_loss.log").read_text()


def test_another_patience_is_refused_on_resuming(done, run, place):
    done(*FLAGS, "--epochs", "1", "--patience", "2")
    assert "patience = 2, now it is 3" in run(*FLAGS, "--patience", "3", "--resume").error


@pytest.mark.parametrize("word", ["-1", "1.5", "x"])
def test_a_patience_is_a_whole_number(run, place, word):
    assert f"--patience: `{word}` is not a whole number from 0 on" in run("train_vae", f"--patience={word}").error


def test_a_dead_encoder_is_said_in_one_line_and_refused_by_the_next_step(done, run, place, monkeypatch):
    build = training.build_vae

    def dead(*args):
        network = build(*args)
        torch.nn.init.constant_(network.fc11.bias, -1e4)  # no ReLU of the bottleneck is ever on
        return network

    monkeypatch.setattr(training, "build_vae", dead)
    found = done(*FLAGS, "--epochs", "1", "--device", "cpu")
    assert found.err == (
        "warning: the encoder is dead: in 3 of 3 classes (a, b, c) all images have one code, and gen_ood.py will "
        "refuse them. Train again with another --seed, or on more images.\n"
    )
    assert "codes of class 0 are equal" in run("gen_ood").error


def test_a_living_encoder_is_no_news(done, place):
    assert done(*FLAGS, "--epochs", "1", "--device", "cpu").err == ""
