"""Single flags that override the paper's mode: of the generation, in both steps that make outliers."""

import json
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from oodgen import classifier_step, defaults
from oodgen.data.folders import read_generated

ID = "./data/train/mnist"
PAPER = ("train_classi", "--mode", "paper", "--epochs", "1", "--seed", "3")
OTHER = {
    "latent": "sample",
    "null_space": "none",
    "direction": "normal",
    "sign": "uniform",
    "eps_min": 0.5,
    "eps_max": 2.0,
    "base": "recon",
    "class_stats": "chunk",
    "maha_factor": "seed",
}


def configuration(folder: str = "result/classifer") -> dict:
    return json.loads(Path(folder, "configuration.json").read_text())


@pytest.fixture
def settings_used(monkeypatch):
    """The settings that the paper's batches were made with, and what else they got."""
    seen = []
    batches = classifier_step.PaperBatches

    def remembering(vae, train, settings, **kwargs):
        seen.append(settings)
        return batches(vae, train, settings, **kwargs)

    monkeypatch.setattr(classifier_step, "PaperBatches", remembering)
    return seen


def test_the_flags_are_those_of_the_generation():
    assert set(OTHER) == set(defaults.IN_MEMORY) < set(defaults.GEN_OOD)


def test_without_flags_the_paper_makes_its_own_outliers(done, trained, settings_used):
    done(*PAPER)
    found = configuration()
    assert {name: found[name] for name in OTHER} == {
        "latent": "mu",
        "null_space": "jacobian",
        "direction": "rref",
        "sign": "binary",
        "eps_min": 0.1,
        "eps_max": 28.0,
        "base": "data",
        "class_stats": "train",
        "maha_factor": "rank",
    }
    assert (settings_used[0].direction, settings_used[0].chunk) == ("rref", 1000)


@pytest.mark.parametrize("name", OTHER)
def test_a_single_flag_overrides_the_mode_and_the_others_stay(done, trained, settings_used, name):
    done(*PAPER)
    done(*PAPER, f"--{name}", str(OTHER[name]))
    plain, changed = settings_used
    assert getattr(changed, name) == OTHER[name]
    assert all(getattr(changed, other) == getattr(plain, other) for other in OTHER if other != name)
    assert configuration()[name] == OTHER[name]


def test_another_direction_gives_other_weights(done, trained):
    found = []
    for direction in ("rref", "normal", "rref"):
        done(*PAPER, "--direction", direction)
        found.append(checkpoints.load(Path("result/classifer/model.pth")))
    same = [all(torch.equal(found[0][key], other[key]) for key in other) for other in found]
    assert same == [True, False, True]


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("mode", ["default", "compat"])
def test_where_the_outliers_are_files_the_flags_are_refused(trained, run, name, mode):
    line = run("train_classi", "--mode", mode, f"--{name}", str(OTHER[name])).error
    assert f"--{name}: with --mode {mode} the outliers are read from files. Give the flag to gen_ood.py" in line


def test_where_the_outliers_are_files_the_flags_are_not_written_down(done, trained):
    done("train_classi", "--epochs", "1")
    assert not set(OTHER) & set(configuration())


def test_distances_that_are_no_range_are_refused(trained, run):
    assert "--eps_min 3.0 is above --eps_max 2.0" in run(*PAPER, "--eps_min", "3", "--eps_max", "2").error


def test_a_run_is_not_resumed_with_another_direction(done, trained, run):
    done(*PAPER)
    line = run(*PAPER, "--resume", "--direction", "normal").error
    assert "was started with generation.direction = 'rref', now it is 'normal'." in line


@pytest.mark.parametrize("name", [name for name in OTHER if name != "class_stats"])
def test_gen_ood_takes_them_in_the_papers_mode_too(done, trained, name):
    done("gen_ood", "--mode", "paper", "--seed", "1")
    before = read_generated(ID, "train")
    done("gen_ood", "--mode", "paper", "--seed", "1", f"--{name}", str(OTHER[name]))
    found = configuration(f"{ID}/ood/train")
    assert found[name] == OTHER[name]
    assert found["class_stats"] == "train"
    assert not torch.equal(read_generated(ID, "train"), before)
