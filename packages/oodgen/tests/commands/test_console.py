"""The console command, its sub-commands `prepare` and `bench`, help texts, and runs without any folder."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import load
from ood_shared.results.record import read_result
from ood_shared.results.thumbnails import read_pictures
from oodgen import bench, cli
from oodgen.data.folders import read_id
from oodgen.defaults import GEN_OOD, TEST, TRAIN_CLASSI, TRAIN_VAE
from PIL import Image

STEPS = {"train_vae": TRAIN_VAE, "gen_ood": GEN_OOD, "train_classi": TRAIN_CLASSI, "test": TEST}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_bench(monkeypatch):
    monkeypatch.setitem(bench.SCHEDULES, "smoke", bench.Schedule(200, 100, 12, 8, 0.5, 0.1))
    monkeypatch.setitem(COMMON, "smoke", Common(200, 100, 8, 32, "smallresnet10"))


def test_the_four_steps_run_on_embedded_images_in_an_empty_folder(done, empty):
    flags = ("--seed", "1", "--batch_size", "500")
    assert "embedded digits were written to ./data/train/digits" in done("train_vae", "--epochs", "1", *flags).out
    for split in ("train", "test"):
        assert "using the embedded digits" in done("gen_ood", "--dataset", split, "--num_ood", "100", "--seed", "1").out
    done("train_classi", "--epochs", "1", *flags)
    found = done("test", "--seed", "1")
    assert "using the embedded sets and noise" in found.out
    assert "./data/train/digits" in found.out
    result, _ = read_result(Path("result"))
    names = ["generated", "textures", "faces", "photos", "letters", "gaussian", "uniform", "sphere"]
    assert result["ood_datasets"] == names


def test_the_console_command_is_installed():
    (found,) = metadata.entry_points(group="console_scripts", name="oodgen")
    assert found.load() is cli.main


KNOWN = f"Known: {', '.join(cli.COMMANDS)}."


def test_the_commands_are_those_of_the_paper_and_the_verbs_of_all_packages():
    assert KNOWN.startswith("Known: train_vae, gen_ood, train_classi, test, prepare, bench, calibrate, score, check")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], f"oodgen: error: no command given. {KNOWN}"),
        (["trainvae"], f"oodgen: error: command `trainvae` is not known. Did you mean `train_vae`? {KNOWN}"),
    ],
)
def test_an_unknown_command_is_one_line(words, message, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message + "\n")


@pytest.mark.parametrize("name", STEPS)
def test_help_of_a_step_names_every_flag_with_its_default(name, run, empty):
    found = run(name, "--help")
    assert (found.status, found.err) == (0, "")
    text = " ".join(found.out.split())
    for flag, (default, _, _) in STEPS[name].items():
        shown = "default: by experiment" if callable(default) else f"default: {default}"
        described = re.search(rf"--{flag} .*?\(({re.escape(shown)}[^)]*)\)", text)
        assert described, flag
    for flag in ("--mode", "--gpu_id", "--device", "--precision", "--log-to"):
        assert re.search(rf"{flag} .*?\(default: ", text), flag
    assert list(empty.iterdir()) == []


def test_help_of_a_script_ends_with_status_0(script, empty):
    found = script("test.py", "--help")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith("usage: test.py ")


@pytest.mark.parametrize("command", ["prepare", "bench"])
def test_help_of_the_other_commands(command, run):
    found = run(command, "--help")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith(f"usage: oodgen {command}")


def test_a_command_line_is_read_without_the_heavy_libraries():
    code = "import sys, oodgen.cli; oodgen.cli.vae_parser(); print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "torchvision",
        "matplotlib",
        "sklearn",
        "scipy",
        "skimage",
        "medmnist",
        "pooch",
        "jinja2",
        "tensorboard",
    }
    assert not heavy & set(run.stdout.split())


def test_prepare_writes_a_known_set_as_the_tree_that_the_steps_read(done, empty):
    found = done("prepare", "digits", "data/train/digits", "--resize")
    assert "10 classes" in found.out
    written = read_id("data/train/digits")
    for split, pixels in zip(("train", "test"), written, strict=False):
        assert pixels.classes == tuple("0123456789")
        assert len(pixels) == len(load("digits", split))


def test_prepare_keeps_the_order_of_labels_and_names_that_no_folder_can_have(done, empty):
    names = ("T-shirt/top", "Trouser", "../Bag", "Bag")
    images = np.arange(8, dtype=np.uint8).repeat(28 * 28).reshape(8, 28, 28)
    labels = np.arange(8) % 4
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    labels = {f"{split}_labels": labels[:, None] for split in ("train", "val", "test")}
    np.savez("clothes.npz", **arrays, **labels, classes=np.array(names))
    done("prepare", "clothes.npz", "tree")
    train, _, _ = read_id("tree")
    assert [name.split("-", 1)[0] for name in train.classes] == ["0", "1", "2", "3"]
    assert sorted(zip(train.labels.tolist(), train.images[:, 0, 0, 0].tolist(), strict=True)) == [
        (label, value) for label in range(4) for value in (label, label + 4)
    ]
    assert sorted(path.name for path in empty.iterdir()) == ["clothes.npz", "tree"]


def test_prepare_of_an_unknown_name_says_which_are_known(run, empty):
    assert "`mnits` is not known. Did you mean `mnist`?" in run("prepare", "mnits", "tree").error
    assert list(empty.iterdir()) == []


def test_prepare_does_not_write_over_a_tree(run, done, empty):
    done("prepare", "digits", "tree", "--resize")
    assert "tree/train is there already" in run("prepare", "digits", "tree", "--resize").error


def test_prepare_of_another_size_asks_for_resize(run, empty):
    assert "--resize" in run("prepare", "digits", "tree").error
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(("backbone", "architecture"), [("common", "smallresnet10"), ("paper", "doc")])
def test_bench_leaves_a_result_that_the_shared_reader_accepts(done, empty, small_bench, backbone, architecture):
    words = ("--id", "digits", "--ood", "gaussian,faces", "--seed", "3", "--budget", "smoke", "--output-dir", "out")
    found = done("bench", *words, "--backbone", backbone)
    assert re.search(r"faces +AUROC \d\.\d{4}  FPR95 \d\.\d{4}", found.out)
    result, arrays = read_result(Path("out"))
    assert (result["method"], result["seed"], result["budget"]) == ("oodgen", 3, "smoke")
    assert (result["id_dataset"], result["ood_datasets"]) == ("digits", ["gaussian", "faces"])
    assert result["config"]["n_train"] == 200
    assert np.bincount(arrays["dataset"]).tolist() == [100, 100, 100]
    assert all(value > 0 for value in result["timings"].values())
    assert (result["config"]["backbone"], result["config"]["classifier"]["architecture"]) == (backbone, architecture)
    assert result["config"]["classifier"]["views"] == ("crop" if backbone == "common" else "none")
    assert list(read_pictures("out", arrays).sets) == ["digits", "gaussian", "faces"]


def test_bench_gives_the_same_scores_for_the_same_seed(done, empty, small_bench):
    for folder in ("one", "two"):
        done("bench", "--id", "digits", "--ood", "uniform", "--seed", "0", "--output-dir", folder)
    one, two = (read_result(Path(folder))[1]["scores"] for folder in ("one", "two"))
    assert np.array_equal(one, two)


def test_bench_tests_classes_kept_out_of_the_training_as_novel(done, empty, small_bench):
    done("bench", "--id", "digits", "--ood", "sphere", "--novel-classes", "8,9", "--output-dir", "out")
    result, _ = read_result(Path("out"))
    assert result["ood_datasets"] == ["novel", "sphere"]


@pytest.mark.parametrize("backbone", ["common", "paper"])
def test_bench_can_show_reconstructions_as_in_distribution(done, empty, small_bench, backbone):
    flags = ("--id", "digits", "--ood", "uniform", "--backbone", backbone, "--seed", "0")
    scores = []
    for extra in ((), ("--id_recon",)):
        done("bench", *flags, "--output-dir", "out", *extra)
        result, arrays = read_result(Path("out"))
        assert result["config"]["classifier"]["id_recon"] is bool(extra)
        assert result["config"]["n_train"] == 200
        scores.append(arrays["scores"])
    assert not np.array_equal(*scores)


def test_bench_is_found_by_the_shared_command():
    (found,) = metadata.entry_points(group="ood_shared.bench", name="oodgen")
    assert callable(found.load().main)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--id", "digits", "--ood", "gaussian"], "--output-dir is missing"),
        (["--id", "digits", "--ood", "gaussian,gaussian", "--output-dir", "o"], "more than once"),
        (["--id", "digits", "--ood", ",", "--output-dir", "o"], "names no set"),
        (["--id", "digts", "--ood", "gaussian", "--output-dir", "o"], "Did you mean `digits`?"),
        (["--id", "digits", "--ood", "gausian", "--output-dir", "o"], "Did you mean `gaussian`?"),
        (["--ood", "gaussian", "--output-dir", "o"], "--id"),
        (["--id", "digits", "--ood", "gaussian", "--output-dir", "o", "--seed", "True"], "not a seed"),
        (["--id", "digits", "--ood", "gaussian", "--output-dir", "o", "--novel-classes", "8,77"], "77"),
    ],
)
def test_bench_refuses_bad_input_before_it_writes(run, empty, words, message):
    assert message in run("bench", *words).error
    assert list(empty.iterdir()) == []


def test_bench_takes_own_folders_of_any_sizes(done, small_bench, tmp_path, monkeypatch, make_tree):
    monkeypatch.chdir(tmp_path)
    make_tree("own", train=12, test=8, side=40)
    for number, path in enumerate(sorted(Path("own").rglob("*.png"))):
        image = Image.open(path)
        image.resize((40 + number % 3, 36)).save(path)
    make_tree("other", side=64)
    found = done("bench", "--id", "own", "--ood", "other", "--output-dir", "out")
    assert "note: own: images of different sizes: their centre squares are taken at 28 x 28" in found.out
    record, _ = read_result(Path("out"))
    assert record["metrics"]["other"]["n_ood"] == 24


def test_bench_begins_anew_when_the_encoder_died(done, empty, small_bench, monkeypatch):
    seen = []

    def dead_with_seed_0(vae, train):
        seen.append(len(seen))
        return len(seen) == 1

    monkeypatch.setattr("oodgen.fitting.all_codes_equal", dead_with_seed_0)
    found = done("bench", "--id", "digits", "--ood", "uniform", "--seed", "0", "--output-dir", "out")
    assert "the VAE's encoder died with seed 0; beginning anew" in found.out
    record, _ = read_result("out")
    assert record["config"]["vae"]["seed"] == 1000


def test_bench_gives_up_when_the_encoder_dies_with_every_seed(run, empty, small_bench, monkeypatch):
    monkeypatch.setattr("oodgen.fitting.all_codes_equal", lambda vae, train: True)
    found = run("bench", "--id", "digits", "--ood", "uniform", "--seed", "0", "--output-dir", "out")
    assert "died with 4 seeds" in found.error
