"""Keys, values and files of a configuration that are wrong: one clear line each."""

import json
import os

import pytest
from ascood.data.splits import SetSettings
from ascood.settings import Training
from ood_shared.errors import InputError

from .conftest import DIGITS, OWN, QUICK


def test_a_misspelt_key_names_the_nearest(place, run):
    error = run("train", *DIGITS, "--trainer.trainer_args.ood_typ", "shuffle").error
    assert "Did you mean `trainer.trainer_args.ood_type`?" in error
    assert not (place / "results").exists()


def test_a_misspelt_key_of_a_yml_file_is_told(trained, place, done):
    (place / "own.yml").write_text("optimiser:\n  lr: 0.5\ntrainer:\n  trainer_args:\n    p_in: 0.5\n")
    base = "configs/networks/ascood_net.yml configs/pipelines/train/train_ascood.yml"
    found = done("train", "--config", *base.split(), "own.yml", *OWN)
    assert "`optimiser` is not used. Did you mean `optimizer`?" in found.err
    assert "trainer.trainer_args.p_in is not used. Did you mean `p_inv`?" in found.err


def test_a_missing_yml_file_names_the_nearest(place, run):
    error = run("train", "--config", "configs/datasets/cifar10/cifar_10.yml").error
    assert "is missing" in error
    assert "configs/datasets/cifar10/cifar10.yml" in error


def test_no_config_at_all_says_what_to_pass(place, run):
    assert "--id-data digits" in run("train").error


def test_a_key_that_stands_twice_is_refused(place, run):
    (place / "twice.yml").write_text("a: 1\na: 2\n")
    assert "stands twice" in run("train", "--config", "twice.yml").error


def test_a_pipe_in_place_of_a_yml_file_is_called_one_and_not_waited_for(place, run):
    os.mkfifo(place / "pipe.yml")
    assert "pipe.yml is a pipe, not a regular file" in run("train", "--config", "pipe.yml").error


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ood_type", "shufle", "Did you mean `shuffle`?"),
        ("p_inv", "1.5", "fraction from 0 to 1"),
        ("w", "-1", "0 or more"),
        ("sigma", "0", "above 0"),
        ("alpha_min", "-1", "alpha_min is -1.0; expected 0 or more"),
        ("alpha_max", "0.1", "alpha_max is 0.1; expected alpha_min (30.0) or more"),
    ],
)
def test_a_bad_hyper_parameter_is_refused_before_anything_is_written(place, run, key, value, says):
    assert says in run("train", *DIGITS, f"--trainer.trainer_args.{key}", value).error
    assert list(place.iterdir()) == []


def test_a_text_is_no_switch():
    with pytest.raises(InputError, match=r"^shuffle is 'no'; expected true or false"):
        SetSettings.of({"shuffle": "no"})
    with pytest.raises(InputError, match=r"^recorder\.save_all_models is 'no'; expected true or false"):
        Training.of({"trainer": {"name": "base"}, "recorder": {"save_all_models": "no"}}, "cifar10")


def test_a_date_under_a_key_that_nothing_reads_is_kept_as_text(trained, place, done):
    (place / "own.yml").write_text("zz: 2001-01-02\nyy: !!set {a}\n")
    base = "configs/networks/ascood_net.yml configs/pipelines/train/train_ascood.yml"
    found = done("train", "--config", *base.split(), "own.yml", *OWN, "--output-dir", "dated")
    assert "`zz` is not used" in found.err
    assert json.loads((place / "dated/config.json").read_text())["settings"]["zz"] == "2001-01-02"


def test_classes_that_no_training_image_has_are_told(place, done):
    found = done("train", *DIGITS, "--dataset.num_classes", "12")
    assert "2 of dataset.num_classes 12 have no training image (10, 11)" in found.out


def test_an_unknown_trainer_or_network_names_the_known(place, run):
    assert "Did you mean `ascood`?" in run("train", *DIGITS, "--trainer.name", "ascod").error
    error = run("train", *DIGITS, "--network.backbone.name", "resnet5").error
    assert "network.backbone.name `resnet5` is not known. Did you mean `resnet50`?" in error


def test_a_momentum_of_1_is_refused_and_one_of_0_trains(place, run, done):
    assert (
        "optimizer.momentum is 1.0; expected a number from 0 on and below 1"
        in run("train", *DIGITS, "--optimizer.momentum", "1").error
    )
    done("train", *DIGITS, "--optimizer.momentum", "0")


def test_what_another_trainer_does_not_read_is_told(place, done):
    base = "configs/networks/lenet.yml configs/pipelines/train/train_ascood.yml configs/datasets/digits/digits.yml"
    words = ["--trainer.name", "base", "--network.name", "lenet", "--optimizer.fc_lr_factor", "0.5"]
    found = done("train", "--config", *base.split(), *words, *QUICK, "--optimizer.num_epochs", "1")
    assert "warning: optimizer.fc_lr_factor is not used: it is of the trainer ascood, not of base." in found.err


def test_pretrained_without_weights_says_what_to_name(place, run):
    line = run("train", *DIGITS, "--network.backbone.pretrained", "True").error
    assert "network.backbone.pretrained needs a file of weights: name it by network.backbone.checkpoint." in line


def test_a_rate_that_yaml_reads_as_text_is_refused(place, run):
    (place / "lr.yml").write_text("optimizer:\n  lr: 1e-2\n")
    base = "configs/datasets/digits/digits.yml configs/networks/ascood_net.yml configs/pipelines/train/train_ascood.yml"
    assert "optimizer.lr is '1e-2'" in run("train", "--config", *base.split(), "lr.yml", *QUICK).error


@pytest.mark.parametrize(
    "flag", ["--seed=-1", "--num_workers=-1", "--num_workers=99999999", "--num_gpus=-5", "--num_machines=0"]
)
def test_counts_of_a_config_are_bounded(place, run, flag):
    assert "expected a whole number from" in run("train", "--id-data", "digits", flag).error
