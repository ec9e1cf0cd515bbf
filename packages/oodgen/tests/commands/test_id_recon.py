"""`train_classi.py --id_recon`: reconstructions of the training images beside them, in both ways of training."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from oodgen import train as training

ID = "./data/train/mnist"
FLAGS = ("train_classi", "--epochs", "2", "--batch_size", "36", "--seed", "5", "--id_recon")


def configuration(root: str = "result") -> dict:
    return json.loads(Path(root, "classifer", "configuration.json").read_text())


def weights(root: str = "result") -> dict:
    return checkpoints.load(Path(root, "classifer", "model.pth"))


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_as_many_reconstructions_as_images_count_as_in_distribution(done, trained):
    done(*FLAGS)
    found = configuration()
    assert found["id_recon"] is True
    assert [found[key] for key in ("n_train", "n_train_reconstructions", "n_train_outliers")] == [72, 36, 72]
    assert found["ood_weight_used"] == pytest.approx(72 / 3 / 72)
    assert (found["vae_file"], found["vae_epoch_used"]) == ("model.pth", 2)


def test_without_the_flag_there_are_none(done, trained):
    done(*FLAGS[:-1])
    found = configuration()
    assert found["id_recon"] is False
    assert [found[key] for key in ("n_train", "n_train_reconstructions", "n_train_outliers")] == [36, 0, 72]
    assert "vae_file" not in found
    plain = weights()
    done(*FLAGS, "False")
    assert same(weights(), plain)
    done(*FLAGS)
    assert not same(weights(), plain)


@pytest.mark.parametrize("mode", ["default", "paper"])
def test_a_missing_vae_is_refused_with_the_command_that_makes_it(trained, run, mode):
    shutil.rmtree("result/vae")
    line = run(*FLAGS, "--mode", mode).error
    assert line.endswith(
        "--id_recon needs the VAE: result/vae is missing. Train it with: "
        f"python train_vae.py --in_data {ID} --save_path result"
    )


def test_a_vae_without_weights_is_refused(trained, run):
    for path in Path("result/vae").glob("*.pth"):
        path.unlink()
    assert "result/vae has neither model_100.pth nor model.pth" in run(*FLAGS).error


def test_a_vae_of_other_classes_is_refused(trained, run):
    shutil.move(Path(ID, "train", "c"), Path(ID, "train", "d"))
    shutil.move(Path(ID, "test", "c"), Path(ID, "test", "d"))
    assert "the network was trained with 3 (a, b, c, …)" in run(*FLAGS).error


@pytest.mark.parametrize("mode", ["default", "paper"])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_terminated_run_goes_on_bit_equal(trained, run, done, monkeypatch, mode, at):
    """36 images, their reconstructions and 72 outliers in batches of 36 (default); batches of 36 + 128 (paper)."""
    flags = (*FLAGS, "--mode", mode)
    done(*flags, "--output-dir", "whole")
    loss, steps = training.classifier_loss, []

    def terminated(*args, **kwargs):
        if torch.is_grad_enabled():
            steps.append(1)
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGTERM)
        return loss(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(training, "classifier_loss", terminated)
        stopped = run(*flags, "--output-dir", "cut").status == 143
    assert stopped == (at <= len(steps))
    done(*flags, "--output-dir", "cut", "--resume")
    assert same(weights("cut"), weights("whole"))


def test_a_run_is_not_resumed_without_its_reconstructions_or_with_those_of_another_vae(trained, run, done):
    done(*FLAGS)
    line = run(*FLAGS[:-1], "--resume").error
    assert "id_recon = True, now it is False" in line
    done("train_vae", "--epochs", "1", "--seed", "9")
    assert "trained on other images or outliers" in run(*FLAGS, "--resume").error


def test_the_papers_batches_show_the_reconstructions(done, trained):
    done(*FLAGS, "--mode", "paper", "--batch_size", "18")
    found = configuration()
    assert [found[key] for key in ("n_train", "n_train_reconstructions")] == [72, 36]
    assert found["ood_weight_used"] == 0.1
    plain = len(checkpoints.load(Path("result/classifer/checkpoint.pt"))["progress"]["history"])
    assert plain == 2
