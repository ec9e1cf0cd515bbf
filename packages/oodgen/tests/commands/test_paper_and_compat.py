"""The two other modes from the first step to the last, and result folders that the published code has left."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared import checkpoints
from ood_shared.results.record import read_result
from oodgen.classifier import Classifier, PaperClassifier
from oodgen.data.folders import read_generated
from oodgen.vae import VAE, PaperVAE
from PIL import Image

ID, OOD = "./data/train/mnist", "./data/test/fmnist"
TEN = tuple("0123456789")


def configuration(path):
    return json.loads((Path(path) / "configuration.json").read_text())


def test_the_papers_procedure_runs_from_the_first_step_to_the_last(done, place):
    done("train_vae", "--mode", "paper", "--epochs", "2", "--batch_size", "12", "--seed", "1")
    done("gen_ood", "--mode", "paper", "--dataset", "test", "--seed", "2")
    done("train_classi", "--mode", "paper", "--epochs", "2", "--seed", "3")
    done("test", "--mode", "paper", "--out_data", f"{OOD},sphere", "--seed", "4")

    vae, classifier = (checkpoints.load(Path("result", step, "model.pth")) for step in ("vae", "classifer"))
    assert list(vae) == list(PaperVAE(3, 8).state_dict())
    assert list(classifier) == list(PaperClassifier(3).state_dict())
    found = configuration("result/classifer")
    assert (found["normalize_used"], found["ood_weight_used"], found["batch_size"]) == ([0.0, 1.0], 0.1, 128)
    assert not Path(ID, "ood", "train").exists()  # the pools are made in memory
    assert len(read_generated(ID, "test")) == 24  # half of the 24 images for each type
    scores = [read_result(Path("result", folder))[0]["config"]["score"] for folder in ("", "score_max_in")]
    assert scores == ["one_minus_ood", "max_in"]


def test_a_single_score_in_paper_mode_is_the_only_one(done, trained):
    done("test", "--mode", "paper", "--score", "max_in")
    assert read_result(Path("result"))[0]["config"]["score"] == "max_in"
    assert not Path("result/score_max_in").exists()


def test_the_papers_classifier_can_take_the_documented_vae(done, trained):
    done("train_classi", "--mode", "paper", "--epochs", "1")
    assert configuration("result/classifer")["architecture"] == "paper"


def test_the_paper_takes_ten_dimensions_for_fashion_mnist(done, make_tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tree("data/train/fmnist")
    done("train_vae", "--mode", "paper", "--epochs", "1", "--in_data", "data/train/fmnist")
    assert configuration("result/vae")["latent_dim"] == 10
    assert checkpoints.load(Path("result/vae/model.pth"))["fc12.weight"].shape[0] == 10


def test_the_published_formulas_run_from_the_first_step_to_the_last(done, make_documented_trees, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_documented_trees(tmp_path, train=40, test=120)  # 360 images and 720 outliers fill a batch of 1000
    done("train_vae", "--compat", "--epochs", "1", "--seed", "1")
    for split in ("train", "test"):
        done("gen_ood", "--compat", "--dataset", split, "--seed", "2")
    done("train_classi", "--compat", "--epochs", "2", "--seed", "3")
    done("test", "--compat", "--out_data", "gaussian", "--seed", "4")

    vae, outliers, classifier = (configuration(p) for p in ("result/vae", f"{ID}/ood/train", "result/classifer"))
    assert (vae["loss"], vae["normalize_used"]) == ("mse", [0.1307, 0.3081])
    used = ("latent", "null_space", "direction", "sign", "base", "class_stats", "maha_factor")
    assert [outliers[key] for key in used] == ["sample", "none", "uniform", "uniform", "recon", "chunk", "seed"]
    assert outliers["normalize_used"] == [0.1307, 0.3081]  # the encoder sees what it was trained with
    assert (classifier["double_softmax"], classifier["ood_weight_used"]) == (True, 0.2)
    found = Path("result/auroc.log").read_text().splitlines()
    assert [re.sub(r"\d\.\d{4}", "#", line) for line in found] == [
        f"{ID} {epoch} ==> gen_ood :  # gaussian :  #" for epoch in ("001", "002")
    ]
    assert read_result(Path("result"))[0]["config"]["score"] == "max_all"


def test_the_published_normalisation_of_real_outliers_is_their_own_in_compat_mode_only(done, trained):
    scores = {}
    for mode in ("default", "compat"):
        flags = ("--average", "pooled", "--all_epochs", "no", "--score", "max_in")
        done("test", "--mode", mode, "--out_data", f"{OOD},uniform", *flags, "--seed", "1")
        _, arrays = read_result(Path("result"))
        scores[mode] = {k: arrays["scores"][arrays["dataset"] == k] for k in range(4)}
    same = [np.array_equal(scores["default"][k], scores["compat"][k]) for k in range(4)]
    assert same == [True, True, False, False]  # images, generated, fmnist and noise: 0.5, 0.5 instead of MNIST's


@pytest.fixture
def published(make_documented_trees, tmp_path, monkeypatch):
    """Folders as the published code leaves them: no added keys, no model.pth, other folder names."""
    monkeypatch.chdir(tmp_path)
    make_documented_trees(tmp_path, train=4, test=4, classes=TEN)
    flags = {"epochs": 2, "batch_size": 128, "gpu_id": "0", "in_data": ID, "save_path": "./result", "seed": True}
    torch.manual_seed(0)
    for step, network in (("vae", VAE()), ("classifier", Classifier())):
        folder = Path("result", step)
        folder.mkdir(parents=True)
        (folder / "configuration.json").write_text(json.dumps(flags, indent=2))
        for epoch in (1, 2):
            torch.save(network.state_dict(), folder / f"model_{epoch}.pth")
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        folder = Path(ID, "ood", split, "ood")
        folder.mkdir(parents=True)
        for number in range(30):
            grey = generator.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(np.stack([grey] * 3, axis=2)).save(
                folder / f"{4000 + number}.{number % 9}_0_{1 + number % 2}.png"
            )
    return tmp_path


def test_a_published_classifier_is_tested(done, published):
    done("test", "--model_epoch", "2", "--all_epochs")
    assert [line.split(" ")[1] for line in Path("result/auroc.log").read_text().splitlines()] == ["001", "002"]
    result, _ = read_result(Path("result"))
    assert [cells["n_ood"] for cells in result["metrics"].values()] == [30, 16]


def test_a_published_vae_is_fed_as_it_was_trained(done, published):
    done("gen_ood", "--model_epoch", "2", "--dataset", "train")
    assert configuration(f"{ID}/ood/train")["normalize_used"] == [0.1307, 0.3081]
    assert len(read_generated(ID, "train")) == 80
    assert not Path(ID, "ood", "train", "ood").exists()  # the published outliers were replaced
    done("gen_ood", "--model_epoch", "2", "--dataset", "train", "--normalize", "half")
    assert configuration(f"{ID}/ood/train")["normalize_used"] == [0.5, 0.5]


def test_published_outliers_train_a_classifier_beside_the_published_one(done, published):
    done("train_classi", "--epochs", "1")
    assert configuration("result/classifer")["n_train_outliers"] == 30
    assert sorted(path.name for path in Path("result/classifier").glob("*.pth")) == ["model_1.pth", "model_2.pth"]


def test_without_the_default_epoch_a_published_folder_lists_its_epochs(run, published):
    assert run("test").error.endswith("Pass --model_epoch; saved epochs: 1, 2.")


def test_a_published_folder_of_another_number_of_classes_is_refused(run, published):
    for split in ("train", "test"):
        shutil.rmtree(Path(ID, split, "9"))
    assert "has 9 classes" in run("test", "--model_epoch", "2").error
    assert "has 9 classes" in run("gen_ood", "--model_epoch", "2").error
