"""Words of the commands, tiny CIFAR-10, and a trained run that a test may break."""

import shutil

import pytest

QUICK = ["--num_workers", "0", "--merge_option", "merge", "--num_gpus", "0"]
DIGITS = ["--id-data", "digits", "--network.backbone.name", "lenet", "--optimizer.num_epochs", "1", *QUICK]
CIFAR = [
    *("--config", "configs/datasets/cifar10/cifar10.yml", "configs/networks/ascood_net.yml"),
    *("configs/pipelines/train/train_ascood.yml", "configs/preprocessors/ascood_preprocessor.yml", *QUICK),
    *("--network.backbone.name", "lenet", "--optimizer.num_epochs", "1"),
]
EVAL = ["--id-data", "folder:mine", "--wrapper-net", "ASCOODNet", "--device", "cpu", "--root", "run"]
OWN = ["--id-data", "folder:mine", "--network.backbone.name", "lenet", "--optimizer.num_epochs", "1", *QUICK]


@pytest.fixture
def cifar(place, make_benchmark):
    make_benchmark(place / "data", "cifar10")
    return place


@pytest.fixture
def trained(own_run, place):
    shutil.copytree(own_run, place, dirs_exist_ok=True)
    return place / "run"
