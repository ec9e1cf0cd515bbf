"""Evaluations that ask for what is not there: scores, roots, weights, sets, libraries."""

import sys
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.errors import InputError

from .conftest import EVAL


def test_an_unknown_score_names_the_nearest(trained, run):
    assert "Did you mean `scale`?" in run("eval_ood", *EVAL, "--postprocessor", "scal").error


@pytest.mark.parametrize("words", ["all,msp", "", " , "])
def test_no_score_or_all_among_others_is_refused(trained, run, words):
    line = run("eval_ood", *EVAL, "--postprocessor", words).error
    assert f"--postprocessor is `{words}`; expected names of scores separated by commas, or all alone." in line


def test_a_root_that_is_a_run_names_the_folder_above(trained, run):
    line = run("eval_ood", *EVAL[:-1], "run/s0", "--postprocessor", "msp").error
    assert "--root run/s0 is one run; pass the folder above it" in line


def test_covariate_shifts_that_are_not_there_are_told(trained, done):
    found = done("eval_ood", *EVAL, "--postprocessor", "msp", "--fsood")
    assert "note: --fsood adds nothing: folder:mine has no covariate-shifted sets." in found.out


def test_another_id_set_than_that_of_the_training_is_told(trained, place, done):
    config = Path("run/s0/config.yml")
    assert "was trained on" not in done("eval_ood", *EVAL, "--postprocessor", "msp").out
    config.write_text(config.read_text().replace("name: mine", "name: theirs", 1))
    found = done("eval_ood", *EVAL, "--postprocessor", "msp", "--fresh")
    assert "run/s0 was trained on theirs, the ID set is mine" in found.out
    config.write_text("a: [1\n")
    found = done("eval_ood", *EVAL, "--postprocessor", "msp", "--fresh", "--network", "lenet")
    assert "run/s0/config.yml is not read: " in found.out


@pytest.mark.parametrize("name", ["gram", "openmax", "vos"])
def test_a_score_out_of_scope_says_so(trained, run, name):
    assert "is not" in run("eval_ood", *EVAL, "--postprocessor", name).error


def test_a_root_that_is_not_there_lists_its_neighbours(trained, run):
    error = run("eval_ood", *EVAL[:-1], "rum").error
    assert "rum is missing" in error
    assert "run" in error


def test_a_root_that_is_not_there_says_what_belongs_there_and_where_it_comes_from(place, run):
    for root in ("absent", "."):
        error = run("eval_ood", "--root", root, "--device", "cpu").error
        assert "s0, s1, …, each with best.ckpt" in error
        assert "`ascood download --checkpoints all`" in error


def test_a_root_with_long_neighbours_is_told_whole(place, run):
    start = "results/cifar10_ascood_net_ascood_e100_lr0.1_w1.0_p0.15_otype_shuffle_nmg_300.0_30.0"
    for mark in ("random", "default", "again", "last"):
        (place / f"{start}_{mark}").mkdir(parents=True)
    error = run("eval_ood", "--root", f"{start}_agian", "--device", "cpu").error
    assert f"Did you mean `{start}_again`?" in error
    assert "published ones come from" in error
    assert " … " not in error


def test_a_root_without_runs_is_refused(place, run):
    Path("run").mkdir()
    assert "no subfolder s*" in run("eval_ood", *EVAL).error


def test_a_run_without_weights_is_refused(trained, run):
    (trained / "s0" / "best.ckpt").unlink()
    assert "best.ckpt is missing" in run("eval_ood", *EVAL).error


def test_a_forgotten_wrapper_is_named(trained, run):
    words = [word for word in EVAL if word not in ("--wrapper-net", "ASCOODNet")]
    assert "Pass --wrapper-net ASCOODNet" in run("eval_ood", *words).error


def test_a_checkpoint_of_another_number_of_classes_is_refused(trained, run):
    state = checkpoints.load(trained / "s0" / "best.ckpt")
    state["backbone.fc.weight"] = torch.zeros(3, 64)
    checkpoints.save(trained / "s0" / "best.ckpt", state)
    assert "`backbone.fc.weight` is (3, 64), expected (2, 64)" in run("eval_ood", *EVAL).error


def test_a_checkpoint_with_code_is_not_loaded(trained, run):
    torch.save({"a": Path()}, trained / "s0" / "best.ckpt")
    assert "could run code" in run("eval_ood", *EVAL).error


def test_a_set_to_drop_that_is_not_there_is_named(trained, run):
    assert "--drop `bar` is not known. Did you mean `bars`?" in run("eval_ood", *EVAL, "--drop", "bar").error


def test_imagenet_needs_weights_and_says_which(place, run):
    assert "Pass either" in run("eval_ood_imagenet").error
    error = run("eval_ood_imagenet", "--tvs-pretrained", "--device", "cpu").error
    assert "resnet50_imagenet1k_v1.pth or resnet50-0676ba61.pth in results/pretrained_weights" in error
    assert "python scripts/download/download.py --contents weights" in error
    other = run("eval_ood_imagenet", "--tvs-pretrained", "--device", "cpu", "--arch", "swin-t").error
    assert 'get_model("swin_t", weights="IMAGENET1K_V1")' in other
    assert (
        "no IMAGENET1K_V2"
        in run("eval_ood_imagenet", "--tvs-pretrained", "--arch", "vit-b-16", "--tvs-version", "2").error
    )
    words = ["--ckpt-path", "x.pth", "--arch", "regnet"]
    assert "of a resnet50" in run("eval_ood_imagenet", *words).error


@pytest.mark.parametrize("name", ["resnet50_imagenet1k_v1.pth", "resnet50-0676ba61.pth"])
def test_weights_are_found_under_the_name_of_the_download_command_and_of_torchvision(place, name):
    from ascood.imagenet import weights_file

    path = place / "results/pretrained_weights" / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert weights_file("resnet50", 1) == path.relative_to(place)
    with pytest.raises(InputError):  # these are version 1
        weights_file("resnet50", 2)


def test_a_bench_needs_a_folder_and_one_score(place, run):
    assert "--output-dir is missing" in run("bench", "--id", "digits", "--ood", "textures").error
    assert (
        "takes one score"
        in run("bench", "--id", "digits", "--ood", "textures", "--output-dir", "o", "--postprocessor", "all").error
    )


def test_a_score_of_the_library_says_when_it_is_not_installed(trained, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_ood.detector.scale", None)
    assert "pip install pytorch-ood" in run("eval_ood", *EVAL, "--postprocessor", "scale", "--no-aps").error
