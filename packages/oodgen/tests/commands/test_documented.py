"""The commands of the document, unchanged but for the number of epochs, as processes in an otherwise empty folder."""

import json
import re
import shlex

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.results.record import read_result
from oodgen.classifier import Classifier
from oodgen.vae import VAE
from PIL import Image

COMMANDS = (
    "python train_vae.py --in_data './data/train/mnist' --save_path './result' --epochs 2 --batch_size 128 "
    "--opt rmsprop --lr 0.001 --momentum 0.0 --gpu_id 0 --seed False",
    "python gen_ood.py --data './data/train/mnist' --dataset train --model_epoch 2 --model_path './result' "
    "--batch_size 1000 --gpu_id 0",
    "python gen_ood.py --data './data/train/mnist' --dataset test --model_epoch 2 --model_path './result' "
    "--batch_size 1000 --gpu_id 0",
    "python train_classi.py --in_data './data/train/mnist' --save_path './result' --epochs 2 --batch_size 256 "
    "--opt ada --lr 0.05 --momentum 0.0 --gpu_id 0 --seed False",
    "python test.py --in_data './data/train/mnist' --out_data './data/test/fmnist' --model_path './result' "
    "--model_epoch 2 --save_path './result' --gpu_id 0 --seed False",
)
WARNING = "warning: GPU 0 was asked for, but no GPU is available; running on the CPU.\n"


@pytest.fixture(scope="module")
def documented(tmp_path_factory, script, make_documented_trees):
    """The folder after the commands, and what each of them printed."""
    at = tmp_path_factory.mktemp("documented")
    make_documented_trees(at)
    outcomes = []
    for command in COMMANDS:
        _, name, *argv = shlex.split(command)
        outcomes.append(script(name, *argv, cwd=at))
    return at, outcomes


@pytest.fixture(scope="module")
def folder(documented):
    return documented[0]


def lines(path):
    text = path.read_text()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_every_command_ends_with_status_0(documented):
    assert [(found.status, found.err) for found in documented[1] if found.status] == []


def test_standard_error_has_one_line_about_the_missing_gpu_and_no_other(documented):
    expected = "" if torch.backends.mps.is_built() else WARNING  # a Mac has a GPU that cannot be hidden
    assert {found.err for found in documented[1]} == {expected}


def test_the_documented_files_are_there_and_the_others_are_known(folder):
    run = ["checkpoint.pt", "config.json", "configuration.json", "loss_curve.png", "metrics.jsonl", "model.pth"]
    run += ["model_1.pth", "model_2.pth"]
    expected = {
        ".": ["auroc.log", "histograms.png", "report.html", "result.json", "roc.png", "scores.npz"],
        "vae": [*run, "train_loss.log", "vali_loss.log", "ood_samples_train.png", "ood_samples_test.png"],
        "classifer": [*run, "train_loss(accuracy).log", "vali_loss(accuracy).log", "accuracy_curve.png"],
    }
    found = {name: [p.name for p in (folder / "result" / name).iterdir() if p.is_file()] for name in expected}
    assert {name: sorted(files) for name, files in found.items()} == {k: sorted(v) for k, v in expected.items()}


def test_nothing_is_written_elsewhere(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["data", "result"]
    assert sorted(path.name for path in (folder / "data/train/mnist").iterdir()) == ["ood", "test", "train"]
    assert sorted(path.name for path in (folder / "data/train/mnist/ood").iterdir()) == ["test", "train"]
    assert sorted(path.name for path in (folder / "data/test/fmnist").iterdir()) == ["test"]


@pytest.mark.parametrize("name", ["train_loss.log", "vali_loss.log"])
def test_vae_logs_have_the_epoch_and_the_loss(folder, name):
    found = lines(folder / "result/vae" / name)
    assert [line.split(" ")[0] for line in found] == ["001", "002"]
    assert all(re.fullmatch(r"\d{3} \d+\.\d{4}", line) for line in found), found


@pytest.mark.parametrize("name", ["train_loss(accuracy).log", "vali_loss(accuracy).log"])
def test_classifier_logs_have_the_epoch_the_loss_and_the_accuracy_in_percent(folder, name):
    found = lines(folder / "result/classifer" / name)
    assert [line.split(" ")[0] for line in found] == ["001", "002"]
    assert all(re.fullmatch(r"\d{3} \d+\.\d{4} \d{1,3}\.\d{4}", line) for line in found), found
    assert all(0 <= float(line.split(" ")[2]) <= 100 for line in found)


def test_auroc_log_is_the_documented_line_with_the_true_epoch(folder):
    result, _ = read_result(folder / "result")
    area = {name: cells["auroc"]["value"] for name, cells in result["metrics"].items()}
    generated, real = area["generated"], area["./data/test/fmnist"]
    expected = f"./data/train/mnist 002 ==> gen_ood :  {generated:.4f} ./data/test/fmnist :  {real:.4f}\n"
    assert (folder / "result/auroc.log").read_text() == expected


@pytest.mark.parametrize(
    ("step", "keys"),
    [
        ("vae", "epochs batch_size gpu_id lr opt momentum in_data save_path seed"),
        ("classifer", "epochs batch_size gpu_id lr opt momentum in_data save_path seed"),
    ],
)
def test_configuration_has_the_documented_keys_first_and_what_was_used(folder, step, keys):
    text = (folder / "result" / step / "configuration.json").read_text()
    found = json.loads(text)
    assert list(found)[:9] == keys.split()
    assert text == json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    assert found["epochs"] == 2
    assert found["gpu_id"] == "0"
    assert found["n_classes"] == 3
    assert found["class_names"] == ["a", "b", "c"]
    assert found["normalize_used"] == [0.1307, 0.3081]
    assert isinstance(found["seed_used"], int)
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_no_value_in_use_is_left_open_in_a_configuration(folder):
    may_be_open = {"seed", "output_dir", "data_dir", "num_ood", "normalize"}
    open_values = set()
    for path in ("result/vae", "result/classifer", "data/train/mnist/ood/train", "data/train/mnist/ood/test"):
        found = json.loads((folder / path / "configuration.json").read_text())
        open_values |= {key for key, value in found.items() if value is None}
    assert open_values <= may_be_open


@pytest.mark.parametrize(("step", "network"), [("vae", VAE), ("classifer", Classifier)])
def test_model_pth_holds_the_weights_of_the_last_epoch_under_the_published_keys(folder, step, network):
    last, of_epoch = (checkpoints.load(folder / "result" / step / name) for name in ("model.pth", "model_2.pth"))
    assert list(last) == list(network(3).state_dict())
    assert all(torch.equal(last[key], of_epoch[key]) for key in last)


@pytest.mark.parametrize(("split", "count"), [("train", 36), ("test", 24)])
def test_each_image_has_an_outlier_of_each_type_as_a_grey_png(folder, split, count):
    found = sorted((folder / "data/train/mnist/ood" / split).glob("*.png"))
    expected = [f"{index:06d}_{kind}.png" for index in range(count) for kind in (1, 2)]
    assert [path.name for path in found] == expected
    for path in found[:4]:
        with Image.open(path) as image:
            assert (image.size, image.mode, image.format) == ((28, 28), "L", "PNG")


def test_the_result_has_every_metric_of_every_set_with_an_interval(folder):
    result, arrays = read_result(folder / "result")
    assert result["ood_datasets"] == ["generated", "./data/test/fmnist"]
    for cells in result["metrics"].values():
        for key in ("auroc", "fpr95_id_positive", "fpr80_id_positive", "detection_error", "aupr_in", "aupr_out"):
            assert cells[key]["low"] <= cells[key]["value"] <= cells[key]["high"]
    assert (result["metrics"]["generated"]["n_id"], result["metrics"]["generated"]["n_ood"]) == (24, 48)
    assert len(arrays["scores"]) == 24 + 48 + 16
    assert result["checkpoint_sha256"] == checkpoints.sha256(folder / "result/classifer/model_2.pth")


@pytest.mark.parametrize(
    "name",
    ["vae/loss_curve.png", "classifer/loss_curve.png", "classifer/accuracy_curve.png", "vae/ood_samples_train.png"],
)
def test_pictures_can_be_opened(folder, name):
    with Image.open(folder / "result" / name) as image:
        image.load()
        assert min(image.size) >= 200


def test_the_console_tells_of_epochs_files_and_metrics(documented):
    vae, made, _, classifier, tested = (found.out for found in documented[1])
    assert "epoch 2/2  validation loss" in vae
    assert "72 outliers written to data/train/mnist/ood/train" in made
    assert re.search(r"epoch 2/2  validation loss \d+\.\d+  accuracy \d+\.\d+ %", classifier)
    assert re.search(r"AUROC +FPR95 +FPR80 +det\. error +AUPR in +AUPR out", tested)
