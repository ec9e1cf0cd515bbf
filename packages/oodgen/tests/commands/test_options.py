"""Flags and layouts beside the documented commands; the commands run in this process, on tiny images."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared import checkpoints
from ood_shared.results.record import read_result
from oodgen import defaults
from oodgen.data.folders import read_generated

ID, OOD = "./data/train/mnist", "./data/test/fmnist"


def configuration(path):
    return json.loads((Path(path) / "configuration.json").read_text())


def auroc_lines():
    return Path("result/auroc.log").read_text().splitlines()


@pytest.fixture
def two_epochs(monkeypatch):
    """Two epochs where the commands leave the flag out."""
    for table in (defaults.TRAIN_VAE, defaults.TRAIN_CLASSI):
        monkeypatch.setitem(table, "epochs", (2, 2, 2))


def test_the_short_forms_fit_together_on_roots_with_blanks(
    done, make_tree, make_documented_trees, tmp_path, monkeypatch, two_epochs
):
    monkeypatch.chdir(tmp_path)
    make_documented_trees(tmp_path)
    images = "./data/train/In-distribution data"
    outliers = "./data/test/Out-of-distribution data"
    make_tree(images)
    Path(OOD).rename(outliers)
    done("train_vae", "--in_data", images)
    for split in ("train", "test"):
        done("gen_ood", "--data", images, "--dataset", split, "--model_path", "./result")
    done("train_classi", "--in_data", images)
    done("test", "--in_data", images, "--out_data", outliers, "--model_path", "./result")
    assert re.fullmatch(
        rf"{images} 002 ==> gen_ood :  \d\.\d{{4}} {outliers} :  \d\.\d{{4}}\n", Path("result/auroc.log").read_text()
    )
    assert len(list(Path(images, "ood", "train").glob("*.png"))) == 72


def test_every_flag_may_be_left_out_where_the_documented_folders_are(done, place, two_epochs):
    done("train_vae")
    for split in ("train", "test"):
        done("gen_ood", "--dataset", split)
    done("train_classi")
    done("test")
    assert auroc_lines()[0].startswith(f"{ID} 002 ==> gen_ood : ")


def test_generating_again_replaces_the_split_and_leaves_the_other(done, trained):
    before = read_generated(ID, "test")
    done("gen_ood", "--dataset", "train", "--num_ood", "5", "--seed", "9")
    folder = Path(ID, "ood", "train")
    assert len(list(folder.glob("*.png"))) == 10
    assert sorted(path.name for path in folder.parent.iterdir()) == ["test", "train"]
    assert torch.equal(read_generated(ID, "test"), before)


def test_generating_with_the_same_seed_gives_the_same_files(done, trained):
    before = {path.name: path.read_bytes() for path in Path(ID, "ood", "train").glob("*.png")}
    done("gen_ood", "--dataset", "train", "--seed", "2")
    assert {path.name: path.read_bytes() for path in Path(ID, "ood", "train").glob("*.png")} == before


def test_flags_without_effect_on_the_outliers_are_named(done, trained):
    found = done("gen_ood", "--num_ood", "4", "--resume", "--normalize", "mnist")
    assert "note: --resume has nothing to go on with here: all outliers are made anew" in found.out
    assert "note: --normalize mnist has no effect: a VAE trained with --loss elbo takes [0, 1]" in found.out


def test_a_fraction_of_the_outliers_can_be_asked_for(done, trained):
    done("gen_ood", "--num_ood", "0.25", "--model_epoch", "1")
    found = configuration(Path(ID, "ood", "train"))
    assert (found["num_ood"], found["model_file"], found["model_epoch_used"]) == (0.25, "model_1.pth", 1)
    assert len(read_generated(ID, "train")) == 18


@pytest.mark.parametrize(
    "flags",
    [
        ("--latent", "sample", "--base", "recon"),
        ("--null_space", "none", "--direction", "uniform", "--sign", "uniform"),
        ("--class_stats", "chunk", "--batch_size", "18", "--maha_factor", "seed"),
        ("--class_stats", "train", "--eps_min", "0", "--eps_max", "2"),
    ],
)
def test_a_flag_of_the_generation_is_used_and_written_down(done, trained, flags):
    before = read_generated(ID, "train")
    done("gen_ood", "--seed", "2", *flags)
    found = configuration(Path(ID, "ood", "train"))
    for name, value in zip(flags[::2], flags[1::2], strict=True):
        assert str(found[name.lstrip("-")]).removesuffix(".0") == value
    after = read_generated(ID, "train")
    assert after.shape == before.shape
    assert not torch.equal(after, before)


def test_a_seed_decides_the_weights(done, place):
    for name, seed in (("one", "True"), ("two", "5"), ("three", "6")):
        done("train_vae", "--epochs", "1", "--save_path", name, "--seed", seed)
    one, two, three = (checkpoints.load(Path(name, "vae", "model.pth")) for name in ("one", "two", "three"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(one[key], three[key]) for key in one)


def test_an_open_seed_is_drawn_anew_and_written_down(done, place):
    for name in ("one", "two"):
        done("train_vae", "--epochs", "1", "--save_path", name, "--seed", "False")
    seeds = [configuration(Path(name, "vae"))["seed_used"] for name in ("one", "two")]
    assert seeds[0] != seeds[1]
    done("train_vae", "--epochs", "1", "--save_path", "again", "--seed", str(seeds[0]))
    one, again = (checkpoints.load(Path(name, "vae", "model.pth")) for name in ("one", "again"))
    assert all(torch.equal(one[key], again[key]) for key in one)


@pytest.mark.parametrize("optimizer", ["rmsprop", "ada"])
def test_the_vae_trains_with_each_of_its_optimizers(done, place, optimizer):
    found = done("train_vae", "--epochs", "1", "--opt", optimizer, "--momentum", "0.5", "--batch_size", "12")
    assert ("note: --momentum 0.5 has no effect: Adadelta has none" in found.out) == (optimizer == "ada")
    assert configuration("result/vae")["weight_decay"] == (0.001 if optimizer == "ada" else 0.0)


def test_the_classifier_trains_with_sgd_on_one_type_of_outliers(done, trained):
    done(
        "train_classi", "--epochs", "1", "--opt", "sgd", "--momentum", "0.9", "--ood_types", "2", "--ood_weight", "0.1"
    )
    found = configuration("result/classifer")
    assert (found["n_train"], found["n_train_outliers"], found["ood_weight_used"]) == (36, 36, 0.1)


@pytest.mark.parametrize(("given", "weight"), [("counts", 36 / 3 / 72), ("fixed", 0.2), ("0.5", 0.5)])
def test_the_weight_of_the_outlier_class(done, trained, given, weight):
    done("train_classi", "--epochs", "1", "--ood_weight", given)
    assert configuration("result/classifer")["ood_weight_used"] == pytest.approx(weight)


def test_a_running_loss_is_printed_every_ten_batches(done, place):
    found = done("train_vae", "--epochs", "1", "--batch_size", "3").out
    assert re.findall(r"epoch 1/1  batch (\d+)/12  loss \d+\.\d{4}  \d+\.\d s", found) == ["10"]


def test_models_are_thinned_out_on_request(done, place):
    done("train_vae", "--epochs", "3", "--save_every", "2")
    found = sorted(path.name for path in Path("result/vae").glob("*.pth"))
    assert found == ["model.pth", "model_2.pth", "model_3.pth"]


def test_training_again_does_not_mix_with_the_earlier_run(done, trained):
    done("train_vae", "--epochs", "1")
    assert sorted(path.name for path in Path("result/vae").glob("*.pth")) == ["model.pth", "model_1.pth"]
    assert len(Path("result/vae/train_loss.log").read_text().splitlines()) == 1


def test_output_dir_receives_the_files_of_a_step(done, trained):
    shutil.rmtree("result/classifer")
    done("train_classi", "--epochs", "1", "--output-dir", "elsewhere")
    assert Path("elsewhere/classifer/model.pth").is_file()
    assert not Path("result/classifer").exists()
    done("test", "--model_path", "elsewhere", "--output-dir", "third")
    assert Path("third/auroc.log").is_file()
    assert not Path("result/auroc.log").exists()


def test_tensorboard_gets_event_files_and_standard_error_stays_empty(done, place):
    found = done("train_vae", "--epochs", "1", "--log-to", "tensorboard")
    assert list(Path("result/vae").glob("events.out.tfevents.*"))
    assert found.err == ""


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_both_networks_train_in_a_shorter_precision(done, trained, precision):
    for step in ("train_vae", "train_classi"):
        done(step, "--epochs", "1", "--precision", precision, "--seed", "1", "--save_path", "short")
    done("test", "--model_path", "short", "--precision", precision)
    for folder in ("vae", "classifer"):
        weights = checkpoints.load(Path("short", folder, "model.pth"))
        assert all(value.isfinite().all() and value.dtype == torch.float32 for value in weights.values())


def test_several_outlier_sets_give_a_line_each(done, trained):
    done("test", "--out_data", f"gaussian, {OOD},sphere", "--seed", "1")
    found = [re.sub(r"\d\.\d{4}", "#", line) for line in auroc_lines()]
    assert found == [f"{ID} 002 ==> gen_ood :  # {name} :  #" for name in ("gaussian", OOD, "sphere")]
    result, arrays = read_result(Path("result"))
    assert result["ood_datasets"] == ["generated", "gaussian", OOD, "sphere"]
    assert [cells["n_ood"] for cells in result["metrics"].values()] == [48, 10_000, 16, 2000]
    assert arrays["scores"].dtype == np.float64


def test_own_outliers_may_be_an_archive_of_arrays_or_a_folder_with_a_comma(done, trained):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    np.savez(
        "notmnist.npz", **arrays, **{f"{split}_labels": np.zeros((5, 1), int) for split in ("train", "val", "test")}
    )
    shutil.copytree(OOD, "letters, small")
    done("test", "--out_data", "./notmnist.npz")
    done("test", "--out_data", "letters, small")
    assert "letters, small" in auroc_lines()[0]


@pytest.mark.parametrize("score", ["one_minus_ood", "max_in", "max_all"])
def test_each_score_gives_results_that_agree_with_its_scores(done, trained, score):
    done("test", "--score", score)
    result, _ = read_result(Path("result"))
    assert result["config"]["score"] == score


def test_all_epochs_gives_a_line_for_each_saved_one_up_to_the_given(done, trained):
    done("train_classi", "--epochs", "3", "--batch_size", "24")
    done("test", "--all_epochs", "--model_epoch", "2", "--out_data", f"uniform,{OOD}")
    assert [line.split(" ")[1] for line in auroc_lines()] == ["001", "001", "002", "002"]
    assert read_result(Path("result"))[0]["config"]["model_epoch_used"] == 2


def test_all_epochs_may_be_switched_off_again_in_a_mode_that_has_it(done, trained):
    done("test", "--compat", "--all_epochs", "False", "--average", "pooled")
    assert len(auroc_lines()) == 1


def test_classes_left_out_are_tested_as_the_set_held_out(done, place):
    done("train_vae", "--epochs", "1", "--classes", "0-1", "--batch_size", "12")
    for split in ("train", "test"):
        done("gen_ood", "--dataset", split)
    done("train_classi", "--epochs", "1")
    done("test", "--out_data", "uniform")
    for step in ("vae", "classifer"):
        assert configuration(Path("result", step))["class_names"] == ["a", "b"]
    result, _ = read_result(Path("result"))
    assert result["ood_datasets"] == ["generated", "uniform", "held_out"]
    assert result["metrics"]["held_out"]["n_ood"] == 8
    assert result["metrics"]["held_out"]["n_id"] == 16


def test_a_normalisation_is_stored_and_used_by_the_later_steps(done, trained):
    done("train_classi", "--epochs", "1", "--normalize", "0.2,0.4")
    assert configuration("result/classifer")["normalize_used"] == [0.2, 0.4]
    done("test", "--score", "max_in")
    as_trained = read_result(Path("result"))[1]["scores"]
    done("test", "--score", "max_in", "--normalize", "0.2,0.4")
    assert np.array_equal(read_result(Path("result"))[1]["scores"], as_trained)
    done("test", "--score", "max_in", "--normalize", "none")
    assert not np.array_equal(read_result(Path("result"))[1]["scores"], as_trained)


@pytest.mark.parametrize("gpu", ["-1", "", "cpu"])
def test_no_gpu_can_be_asked_for_without_a_warning(done, place, gpu):
    assert done("train_vae", "--epochs", "1", "--gpu_id", gpu).err == ""


def test_device_wins_over_gpu_id(done, place):
    assert done("train_vae", "--epochs", "1", "--gpu_id", "3", "--device", "cpu").err == ""
