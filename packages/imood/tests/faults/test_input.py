"""Bad input: one line that says what was found, exit status 2, nothing half-written."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from ood_shared.files import write_text
from PIL import Image

from ..conftest import SMALL

CIFAR = ("train", *SMALL, "--ds", "cifar10", "-e", "1")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ood_metric", "ada_pascl"], ["ada_bin_disc --aux_ood_loss pascl"]),
        (["--ood_metric", "ada_bindisc"], ["Did you mean `ada_bin_disc`?"]),
        (["--logit_adjust", "-1"], ["`-1` is not a number from 0 on"]),
        (["--tau", "nan"], ["nan"]),
        (["--tau", "x"], ["`x`"]),
        (["--k", "0"], ["above 0"]),
        (["--k", "1.2"], ["at most 1"]),
        (["--T", "0"], ["above 0"]),
        (["--imbalance_ratio", "0"], ["above 0"]),
        (["--imbalance_ratio", "2"], ["at most 1"]),
        (["--batch_size", "0"], ["from 1 on"]),
        (["--num_ood_samples", "0.5"], ["whole number"]),
        (["--aux_ood_loss", "moco"], ["Known: none, pascl, simclr"]),
        (["--md", "WRN40"], ["Known: ResNet18"]),
        (["--ds", "cifar11"], ["`cifar11` is not known"]),
        (["--ood_metrics", "oe"], ["Did you mean `--ood_metric`?"]),
        (["--resume", "nowhere"], ["nowhere is not a folder"]),
        (["-b", "100"], ["64 auxiliary outlier images, fewer than one batch of 100"]),
        (["--num_ood_samples", "7"], ["7 auxiliary outlier images", "--batch_size 7 or less"]),
        (["--device", "cuda"], ["no CUDA device"]),
        (["--gpu", "first"], ["GPU `first` is not a number"]),
        (["--ood_aux", "nothing"], ["`nothing`"]),
        (["--ood_aux", "cifar10"], ["--ood_aux cifar10 is the ID set"]),
        (["--opt", "sgd", "--momentum", "2"], ["`2` is not a number from 0 on and below 1"]),
    ],
)  # fmt: skip
def test_wrong_flags_of_the_training_are_one_line(place, run, flags, words):
    error = run(*CIFAR, *flags).error
    assert all(word in error for word in words), error
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ood_metric", "mps"], ["`mps` is not known", "msp"]),
        (["--ood_metric", "msp"], ["needs 10 outputs, the checkpoint has 11", "bin_disc"]),
        (["--ood_metric", "mc_disc"], ["needs 12 outputs"]),
        (["--ood_metric", ","], ["names no metric"]),
        (["--model", "WRN40"], ["no implementation"]),
        (["--model", "ResNet34"], ["does not fit this network"]),
        (["--model", "ResNet50"], ["is of a ResNet18 or ResNet34"]),
        (["--logit_adjust", "-0.5"], ["from 0 on"]),
        (["--ckpt_path", ""], ["--ckpt_path is missing", "id_feats.pth"]),
        (["--ckpt_path", "weights/cifar10/ada_bin_disc"], ["latest.pth is missing", "train first"]),
        (["--ood_test", "a=nowhere/x"], ["nowhere/x"]),
        (["--rho", "7"], ["at most 1"]),
        (["--maha_sign", "other"], ["Known: fixed, legacy"]),
    ],
)
def test_wrong_flags_of_the_test_are_one_line(place, run, trained, flags, words):
    base = ("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--output-dir", "out")
    error = run(*base, *flags).error
    assert all(word in error for word in words), error
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("cifar-10-batches-py/data_batch_2", ["data_batch_2 is missing"]),
        ("tinyimages80m", ["300K_random_images.npy", "hendrycks"]),
    ],
)
def test_missing_training_files_say_where_to_get_them(data, tmp_path, monkeypatch, run, missing, words):
    shutil.copytree(data, tmp_path / "data")
    gone = tmp_path / "data" / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    monkeypatch.chdir(tmp_path)
    error = run(*CIFAR).error
    assert all(word in error for word in words), error


def test_a_missing_scood_list_and_image_are_named(data, tmp_path, monkeypatch, run, trained):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    words = ("test", "--gpu", "cpu", "--ds", "cifar10", "--ckpt_path", str(trained), "--output-dir", "out")
    (tmp_path / "data/SCOOD/data/images/tin/0002.png").unlink()
    assert "0002.png is missing" in run(*words).error
    (tmp_path / "data/SCOOD/data/imglist/benchmark_cifar10/test_svhn.txt").unlink()
    assert "test_svhn.txt is missing" in run(*words).error


def test_a_damaged_image_is_named(data, tmp_path, monkeypatch, run, trained):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/SCOOD/data/images/tin/0002.png").write_bytes(b"no image")
    error = run("test", "--gpu", "cpu", "--ds", "cifar10", "--ckpt_path", str(trained), "--output-dir", "out").error
    assert "0002.png is damaged or no image" in error


def test_an_outlier_set_without_true_outliers_is_refused(data, tmp_path, monkeypatch, run, trained):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data/SCOOD/data/imglist/benchmark_cifar10/test_svhn.txt"
    write_text(path, path.read_text().replace("-1", "3"))
    error = run("test", "--gpu", "cpu", "--ds", "cifar10", "--ckpt_path", str(trained), "--output-dir", "out").error
    assert "svhn has no image that is truly OOD" in error


def test_a_run_of_other_classes_is_refused(trained, place, run):
    """Else a class that the data lacks could be taken for the logit of a detector."""
    for name in ("train/a", "train/b", "train/c", "test/a", "test/b", "test/c"):
        (place / "mine" / name).mkdir(parents=True)
        for item in range(4):
            Image.new("RGB", (32, 32), (40 * item, 0, 0)).save(place / "mine" / name / f"{item}.png")
    words = ("--ds", "folder:mine", "--ood_metric", "bin_disc", "--ood_test", "faces", "--output-dir", "out")
    error = run("test", "--gpu", "cpu", "--ckpt_path", str(trained), *words).error
    assert "was trained on 10 classes, folder:mine has 3" in error


def test_a_missing_imagenet_list_is_named(place, run):
    error = run("train", "--gpu", "cpu", "--ds", "imagenet").error
    assert "ImageNet_LT_train.txt is missing" in error
    assert "CVPR 2019" in error


class Hostile:
    def __reduce__(self):
        return (print, ("this must not be printed",))


@pytest.mark.parametrize("form", ["torch", "pickle", "cut", "empty"])
def test_hostile_and_damaged_checkpoints_are_refused(place, run, trained, form):
    shutil.copytree(trained, place / "run")
    path = place / "run/latest.pth"
    if form == "torch":
        torch.save({"model": {"conv1.weight": Hostile()}}, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(Hostile()))
    else:
        path.write_bytes(path.read_bytes()[:5000] if form == "cut" else b"")
    found = run("test", "--gpu", "cpu", "--ckpt_path", "run")
    assert "latest.pth" in found.error
    assert "must not be printed" not in found.out


def test_hostile_cifar_pickles_are_refused(place, tmp_path, run):
    (tmp_path / "other/cifar-10-batches-py").mkdir(parents=True)
    for name in (*[f"data_batch_{n}" for n in range(1, 6)], "test_batch"):
        (tmp_path / "other/cifar-10-batches-py" / name).write_bytes(pickle.dumps(Hostile()))
    found = run(*CIFAR, "--drp", "other")
    assert "arrays only" in found.error
    assert "must not be printed" not in found.out


def test_another_pool_of_features_is_refused(place, run, trained, done):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--ood_metric", "maha", "--output-dir", "run")
    torch.save(torch.zeros(10, 3, 5), place / "run/id_feats.pth")
    assert "feature pool has shape" in run("test", "--gpu", "cpu", "--ckpt_path", "run").error


def test_a_result_folder_that_is_a_file_is_named(place, run, trained):
    (place / "out").write_text("x")
    found = run("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--output-dir", "out")
    assert "out" in found.error


def test_class_counts_that_differ_from_the_training_are_mentioned(place, done, trained):
    found = done("test", "--gpu", "cpu", "--ckpt_path", str(trained), "--rho", "0.2", "--output-dir", "out")
    assert "was trained with the class counts" in found.out


def test_flags_without_effect_in_this_training_are_named(place, done):
    common = ("train", "--gpu", "cpu", "-e", "1", "--width", "2", "--ds", "digits")
    found = done(*common, "--T", "0.5", "--momentum", "0.5", "--maha_capacity", "max", "--output-dir", "a")
    assert "note: without effect in this training: --T, --momentum, --maha_capacity" in found.out
    found = done(
        *common, "--Lambda2", "5", "--aux_ood_loss", "pascl", "--opt", "sgd", "--momentum", "0.5", "--output-dir", "b"
    )
    assert "without effect" not in found.out


def test_testing_on_what_was_trained_with_is_warned_of(place, run, done):
    done("train", "--gpu", "cpu", "-e", "1", "--width", "2", "--ds", "digits", "--ood_aux", "letters",
         "--output-dir", "run")  # fmt: skip
    found = run("test", "--gpu", "cpu", "--ckpt_path", "run", "--ood_test", "letters")
    assert found.status == 0
    assert "letters was trained with" in found.err
    found = run("test", "--gpu", "cpu", "--ckpt_path", "run", "--ood_test", "a=digits,faces")
    assert found.status == 0
    assert "warning: digits is the ID set and is tested as an OOD set; its numbers mean nothing." in found.err


def test_random_images_of_another_form_are_refused(data, tmp_path, monkeypatch, run):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "data/tinyimages80m/300K_random_images.npy", np.zeros((4, 3, 32, 32), np.float32))
    assert "expected uint8 (n, 32, 32, 3)" in run(*CIFAR).error
