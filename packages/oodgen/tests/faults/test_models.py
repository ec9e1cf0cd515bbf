"""Networks and run folders that are missing, damaged, hostile, or of another kind."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from oodgen.classifier import Classifier
from oodgen.vae import VAE

ID = "./data/train/mnist"
LOADERS = [("gen_ood", "vae"), ("test", "classifer")]


@pytest.fixture(autouse=True)
def _trained(trained):
    """Steps that have run, in which each test spoils something."""


class Hostile:
    def __reduce__(self):
        return os.system, ("touch stolen",)


@pytest.mark.parametrize(("step", "folder"), LOADERS)
def test_an_epoch_that_was_not_saved_comes_with_those_that_were(refused, step, folder):
    line = refused(step, "--model_epoch", "7")
    assert f"--model_epoch 7: result/{folder}/model_7.pth is missing. Saved epochs: 1, 2." in line


@pytest.mark.parametrize(("step", "folder"), LOADERS)
def test_without_model_pth_and_the_default_epoch_the_saved_ones_are_listed(refused, step, folder):
    Path("result", folder, "model.pth").unlink()
    assert "Pass --model_epoch; saved epochs: 1, 2." in refused(step)


def test_all_epochs_without_the_models_of_epochs_is_refused(refused):
    for path in Path("result/classifer").glob("model_*.pth"):
        path.unlink()
    assert "has no model_<epoch>.pth up to epoch 2" in refused("test", "--all_epochs")


@pytest.mark.parametrize(
    ("words", "made_by"),
    [
        (("gen_ood", "--model_path", "no where"), f"python train_vae.py --in_data {ID} --save_path 'no where'"),
        (("test", "--model_path", "no where"), f"python train_classi.py --in_data {ID} --save_path 'no where'"),
        (
            ("train_classi", "--mode", "paper", "--save_path", "no where"),
            f"python train_vae.py --in_data {ID} --save_path 'no where'",
        ),
    ],
)
def test_a_missing_folder_comes_with_the_command_that_makes_it(refused, words, made_by):
    assert refused(*words).endswith(made_by)


@pytest.mark.parametrize(("step", "folder"), LOADERS)
@pytest.mark.parametrize("keep", [0, 100, 20_000, -10])
def test_a_model_that_was_cut_short_is_named(refused, step, folder, keep):
    path = Path("result", folder, "model_2.pth")
    path.write_bytes(path.read_bytes()[:keep])
    line = refused(step, "--model_epoch", "2")
    assert f"{path} is damaged or no checkpoint" in line
    assert f"It has {path.stat().st_size} bytes" in line
    assert "Make or fetch it again." in line


@pytest.mark.parametrize(("step", "folder"), LOADERS)
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_model_that_would_run_code_is_not_loaded(refused, step, folder, writer):
    path = Path("result", folder, "model_2.pth")
    if writer == "torch":
        torch.save({"conv1.weight": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": Hostile()}))
    line = refused(step, "--model_epoch", "2")
    assert f"{path} holds Python objects that could run code, not only weights; it was not loaded." in line
    assert not Path("stolen").exists()


def test_a_script_says_so_in_one_line(script, trained):
    Path("result/vae/model_2.pth").write_bytes(pickle.dumps({"conv1.weight": Hostile()}))
    assert "could run code" in script("gen_ood.py", "--model_epoch", "2", cwd=trained).error
    assert not Path("stolen").exists()


@pytest.mark.parametrize(("step", "folder"), LOADERS)
@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"weights": torch.zeros(3)}])
def test_a_file_of_something_else_is_named(refused, step, folder, content):
    path = Path("result", folder, "model_2.pth")
    torch.save(content, path)
    line = refused(step, "--model_epoch", "2")
    assert f"{path} " in line
    assert "expected a dictionary of weights" in line or "does not fit this network" in line


def test_a_vae_of_another_latent_dimension_is_refused(refused):
    checkpoints.save(Path("result/vae/model_2.pth"), VAE(3, 10).state_dict())
    line = refused("gen_ood", "--model_epoch", "2")
    assert (
        "latent dimension 10, configuration.json beside it says 8. Put the matching file there or train again" in line
    )


def test_a_vae_of_other_classes_is_refused(refused):
    checkpoints.save(Path("result/vae/model_2.pth"), VAE(10, 8).state_dict())
    assert "written for 10 classes, configuration.json beside it says 3" in refused("gen_ood", "--model_epoch", "2")


def test_a_classifier_of_other_classes_is_refused(refused):
    checkpoints.save(Path("result/classifer/model_2.pth"), Classifier(10).state_dict())
    assert "written for 10 classes, this run has 3" in refused("test", "--model_epoch", "2")


@pytest.mark.parametrize(("step", "folder"), LOADERS)
@pytest.mark.parametrize(
    "content", ["{", "[]", '{"class_names": 3}', '{"native": []}', '{"native": {}}', '{"native": [8.5, 8]}']
)
def test_a_configuration_that_cannot_be_read_is_named(refused, step, folder, content):
    Path("result", folder, "configuration.json").write_text(content)
    assert f"result/{folder}/configuration.json " in refused(step)


def test_a_network_of_the_other_mode_is_refused(refused):
    path = Path("result/classifer/configuration.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": "paper"}))
    assert "does not fit this network" in refused("test")


RESUME = ("train_vae", "--epochs", "3", "--batch_size", "12", "--resume")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("checkpoint.pt", b"", "checkpoint.pt is damaged or no checkpoint"),
        ("checkpoint.pt", b"PK\x03\x04", "checkpoint.pt is damaged or no checkpoint"),
        ("config.json", b"{", "config.json is not valid JSON"),
        ("config.json", b"[]", "config.json does not hold the settings of a run"),
    ],
)
def test_a_damaged_run_folder_is_not_resumed(refused, name, content, message):
    Path("result/vae", name).write_bytes(content)
    assert message in refused(*RESUME)


def test_a_checkpoint_that_holds_weights_only_is_not_resumed(refused):
    shutil.copy("result/vae/model.pth", "result/vae/checkpoint.pt")
    assert "checkpoint.pt is no checkpoint of a training: it lacks `network`" in refused(*RESUME)


def test_a_checkpoint_that_would_run_code_is_not_resumed(refused):
    torch.save({"network": Hostile()}, "result/vae/checkpoint.pt")
    assert "could run code" in refused(*RESUME)
    assert not Path("stolen").exists()


def test_the_checkpoint_of_the_other_step_is_not_resumed(refused):
    shutil.copy("result/classifer/checkpoint.pt", "result/vae/checkpoint.pt")
    assert "checkpoint.pt does not fit this network" in refused(*RESUME)
