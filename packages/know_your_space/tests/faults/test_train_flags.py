"""What the training command refuses, with one line and status 2, and what it leaves untouched."""

import pytest


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--select", "65", "--sample_from", "64"), "--select 65 is more than --sample_from 64"),
        (("--layers", "12"), "--layers 12 makes no wide residual network"),
        (("--model_type", "resnet50"), "--model_type `resnet50` is not known. Known: wrn."),
        (("--rand_conv_kernel_size", "8"), "--rand_conv_kernel_size takes one or more positive odd numbers, got [8]"),
        (("--T", "0"), "--T 0.0 is not a temperature"),
        (("--sample_number", "1"), "--sample_number 1 is too small for a covariance"),
        (("--droprate", "1.5"), "--droprate 1.5 is no probability"),
        (("--m_in", "5"), "--m_in 5 is not below --m_out -7"),
        (("--resume", "--restart"), "--resume goes on with a run, --restart begins anew. Pass one of them."),
        (("--beta1=-1",), "--beta1: `-1` is not a number from 0 on"),
        (("--inlier_space", "latant"), "--inlier_space `latant` is not known. Did you mean `latent`?"),
        (("--in_datset", "x"), "--in_datset"),
        (("--ckpt_name", "a/b"), "Run name `a/b` is not the name of a folder"),
        (("--distributed",), "--dist turns distributed training off, --distributed asks for it"),
        (("--precision", "fp8"), "--precision `fp8` is not known"),
        (("--novel_classes", "0,1,2"), "No class of tiny is left to train on"),
        (("--novel_classes", "7"), "tiny has no class `7`"),
    ],
)
def test_bad_flags_are_one_line(place, runs, flags, words):
    assert words in runs.train(*runs.PAPER, *flags).error
    assert not (place / "ckpts").exists()


def test_no_outlier_operator_is_refused(place, runs):
    assert "No outlier operator is chosen" in runs.train("--dist").error
    assert "No outlier operator is chosen" in runs.train("--dist", "--rand_conv").error


def test_distributed_without_a_launcher_names_torchrun(place, runs):
    assert "torchrun --nproc-per-node N" in runs.train("--augmix", "--distributed").error


def test_without_dist_and_launcher_one_process_trains_and_says_so(place, runs):
    found = runs.train("--augmix", epochs=1)
    assert found.status == 0
    assert "No launcher started several processes" in found.out


def test_dist_under_a_launcher_is_refused(place, runs, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "a launcher started several processes" in runs.train("--dist", "--augmix").error


def test_a_missing_set_is_one_line(place, runs):
    (place / "data" / "tiny.npz").unlink()
    assert "data/tiny.npz" in runs.train(*runs.PAPER).error


def test_an_unknown_set_comes_with_the_nearest_name(place, runs):
    assert "Did you mean `bloodmnist`?" in runs.train(*runs.PAPER, "--in_dataset", "bloodmnits").error


def test_a_class_without_training_images_is_refused(place, runs, builders):
    import numpy as np

    with np.load("data/tiny.npz") as archive:
        arrays = dict(archive)
    kept = arrays["train_labels"][:, 0] != 1
    arrays["train_images"], arrays["train_labels"] = arrays["train_images"][kept], arrays["train_labels"][kept]
    np.savez("data/tiny.npz", **arrays)
    found = runs.train(*runs.PAPER)
    assert "1" in found.error


def test_a_checkpoint_of_another_class_count_is_refused(place, runs):
    import shutil

    runs.trained(epochs=1)
    shutil.rmtree(runs.run_folder())
    error = runs.train(*runs.PAPER, "--novel_classes", "2", epochs=3).error
    assert "ckpt.pth.tar does not fit this network: `fc.weight` is (3, 64), expected (2, 64)" in error
