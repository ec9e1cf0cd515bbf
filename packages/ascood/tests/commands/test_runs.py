"""Training and evaluation on tiny own data: files, resuming, the other trainers and pipelines."""

import json
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ascood import cli, loop
from ascood.scores.names import SCORES
from ood_shared import checkpoints
from ood_shared.contract import COMMON, Common
from ood_shared.results.record import read_result
from ood_shared.results.thumbnails import read_pictures

from ..conftest import EVAL, equal, weights_of

QUICK = ["--num_workers", "0", "--merge_option", "merge", "--num_gpus", "0", "--device", "cpu"]
OWN = ["--id-data", "folder:mine", "--network.backbone.name", "lenet", "--optimizer.lr", "0.05", *QUICK]
NAME = "mine_ascood_net_ascood_e{}_lr0.05_w1.0_p0.1_otype_{}_nmg_30.0_300.0_default"


def test_a_run_folder_holds_the_files_of_the_original_and_ours(own, done, drawn):
    found = done("train", *OWN, "--optimizer.num_epochs", "2", "--recorder.save_all_models", "True")
    folder = Path("results") / NAME.format(2, "gradient") / "s0"
    names = {path.name.split("_acc")[0] for path in folder.iterdir()}
    best = next(name for name in names if name.startswith("best_epoch"))
    ours = {"config.json", "metrics.jsonl", "checkpoint.pt", "report.html", "outliers.png"}
    expected = {"config.yml", "log.txt", "best.ckpt", best, "last_epoch2", "model_epoch1.ckpt", "model_epoch2.ckpt"}
    assert names == expected | ours
    assert (folder / "log.txt").read_text() == found.out
    lines = found.out.splitlines()
    assert lines[0].startswith("Epoch 001 | Time ")
    assert [part.split()[0] for part in lines[0].split(" | ")] == ["Epoch", "Time", "Train", "Val", "Val"]
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert config["dataset"]["num_classes"] == 2
    assert config["output_dir"] == f"./results/{NAME.format(2, 'gradient')}/s0"
    assert [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(own, done):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        done("train", *OWN, "--optimizer.num_epochs", "1", "--seed", seed, "--output-dir", name)
    assert equal(weights_of("a"), weights_of("b"))
    assert not equal(weights_of("a"), weights_of("c"))


TRAINERS = {
    "gradient": [],
    "shuffle": ["--trainer.trainer_args.ood_type", "shuffle"],
    "gaussian": ["--trainer.trainer_args.ood_type", "gaussian"],
    "oe": ["--config", "configs/networks/lenet.yml", "configs/pipelines/train/baseline.yml"],
    "mixoe": ["--config", "configs/networks/lenet.yml", "configs/pipelines/train/baseline.yml"],
}


def command(name, place):
    """The words of a trainer on own data; oe and mixoe get the embedded photographs as outliers."""
    words = [*OWN, *TRAINERS[name], "--optimizer.num_epochs", "2", "--resume"]
    if name in ("oe", "mixoe"):
        (place / "oe.yml").write_text(
            "dataset:\n  oe:\n    dataset_class: SharedDataset\n    source: photos\n    split: val\n    batch_size: 3\n"
        )
        (place / "small.yml").write_text("dataset:\n  train:\n    batch_size: 4\n")
        at = words.index("--config")
        words[at + 3 : at + 3] = [f"configs/pipelines/train/train_{name}.yml", "oe.yml", "small.yml"]
        at = words.index("--network.backbone.name")
        del words[at : at + 2]
    return words


@pytest.mark.parametrize("name", TRAINERS)
def test_a_run_that_was_stopped_between_two_batches_ends_with_the_same_weights(own, run, monkeypatch, name):
    base = Path("own.yml")
    base.write_text("dataset:\n  train:\n    batch_size: 4\n")
    words = command(name, own)
    if name not in ("oe", "mixoe"):
        words += ["--config", "configs/networks/ascood_net.yml", "configs/pipelines/train/train_ascood.yml", "own.yml"]
    assert run("train", *words, "--output-dir", "whole").status == 0

    class Stop:
        calls = 0

        @property
        def requested(self):
            Stop.calls += 1
            return Stop.calls == 5  # in the second epoch of three batches, or between them

    @contextmanager
    def deferred():
        yield Stop()

    with monkeypatch.context() as patched:
        patched.setattr(loop, "deferred_sigterm", deferred)
        assert run("train", *words, "--output-dir", "cut").status == 143
    assert not list(Path("cut").glob("last_epoch*"))
    assert run("train", *words, "--output-dir", "cut").status == 0
    assert equal(weights_of("whole"), weights_of("cut"))
    rows = [
        [json.loads(line) for line in Path(at, "metrics.jsonl").read_text().splitlines()] for at in ("whole", "cut")
    ]
    assert [[row["train_loss"], row["val_loss"]] for row in rows[0]] == [
        [row["train_loss"], row["val_loss"]] for row in rows[1]
    ]


def test_a_terminated_process_saves_and_resumes_to_the_same_weights(own, start, process):
    words = ["python", "-m", "ascood", "train", *OWN, "--optimizer.num_epochs", "12"]
    started = start(*words, "--output-dir", "cut", cwd=own)
    for line in started.stdout:
        if line.startswith("Epoch 003"):
            started.send_signal(signal.SIGTERM)
            break
    started.communicate(timeout=120)
    assert started.returncode == 143
    assert not list(Path("cut").glob("last_epoch*"))
    resumed = process(*words, "--output-dir", "cut", "--resume", cwd=own)
    assert "Epoch 001" not in resumed.out
    assert process(*words, "--output-dir", "whole", cwd=own).status == 0
    assert equal(weights_of("whole"), weights_of("cut"))


@pytest.mark.parametrize(
    ("name", "network", "pipeline", "folder"),
    [
        ("base", "lenet", "baseline", "mine_lenet_base_e1_lr0.05_default"),
        ("logitnorm", "lenet", "train_logitnorm", "mine_lenet_logitnorm_e1_lr0.05_alpha0.04_default"),
        ("t2fnorm", "t2fnorm_net", "train_t2fnorm", "mine_t2fnorm_net_t2fnorm_e1_lr0.05_alpha0.1_default"),
    ],
)
def test_the_other_trainers_run_and_are_judged(own, done, name, network, pipeline, folder):
    files = [f"configs/networks/{network}.yml", f"configs/pipelines/train/{pipeline}.yml"]
    words = ["--id-data", "folder:mine", "--config", *files, "configs/preprocessors/ascood_preprocessor.yml", *QUICK]
    backbone = ["--network.backbone.name", "lenet"] if name == "t2fnorm" else []
    done("train", *words, *backbone, "--optimizer.num_epochs", "1", "--optimizer.lr", "0.05")
    root = Path("results") / folder
    evaluate = ["--id-data", "folder:mine", "--device", "cpu", "--num-workers", "0", "--root", str(root), "--save-csv"]
    if name == "t2fnorm":
        done("eval_ood", *evaluate, "--wrapper-net", "T2FNormNet", "--postprocessor", "t2fnorm")
        assert (root / "ood" / "t2fnorm.csv").is_file()
    else:
        done("eval_ood", *evaluate, "--postprocessor", "ebo,scale")
        assert sorted(path.name for path in (root / "ood").glob("*.csv")) == ["ebo.csv", "scale.csv", "summary.csv"]


def test_the_pipelines_test_acc_and_test_ood_run(own, own_run, done):
    shutil.copytree(own_run / "run", "run")
    shared = ["--num_gpus", "0", "--num_workers", "0", "--device", "cpu"]
    network = ["--network.checkpoint", "run/s0/best.ckpt", "--network.backbone.name", "lenet"]
    files = ["configs/networks/ascood_net.yml", "configs/pipelines/test/test_acc.yml"]
    found = done("train", "--id-data", "folder:mine", "--config", *files, *network, *shared)
    assert found.out.startswith("Test accuracy: ")
    assert not Path("results").exists()
    Path("ood.yml").write_text(
        "ood_dataset:\n  dataset_class: SharedDataset\n  nearood:\n    datasets: [letters]\n"
        "    letters:\n      source: letters\n"
    )
    files = ["configs/networks/ascood_net.yml", "configs/pipelines/test/test_ood.yml", "ood.yml"]
    words = ["--config", *files, "configs/postprocessors/mls.yml", *network, *shared, "--merge_option", "merge"]
    for _ in range(2):
        done("train", "--id-data", "folder:mine", *words)
    folder = Path("results/mine_ascood_net_test_ood_ood_mls_default/s0/ood")
    rows = (folder / "ood.csv").read_text().splitlines()
    assert rows[0] == "dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC"
    assert [row.split(",")[0] for row in rows[1:]] == ["letters", "nearood"] * 2
    with np.load(folder / "scores" / "letters.npz") as scores:
        assert set(scores.files) == {"pred", "conf", "label"}
        assert (scores["label"] == -1).all()


def test_all_scores_come_from_one_pass_over_each_set(own, own_run, done, monkeypatch):
    shutil.copytree(own_run / "run", "run")
    from ascood import extraction

    passes = []
    real = extraction.extract
    monkeypatch.setattr(extraction, "extract", lambda *a, **k: passes.append(1) or real(*a, **k))
    found = done("eval_ood", *EVAL, "--root", "run", "--postprocessor", "all", "--save-csv", "--save-score")
    assert len(passes) == 6  # id train, val, test; ood val; near; far
    names = {path.stem for path in Path("run/ood").glob("*.csv")} - {"summary"}
    assert names == set(SCORES) - {"t2fnorm"}
    assert "all scores, percent" in found.out
    record, arrays = read_result(Path("run/s0/results/scale"))
    assert record["ood_datasets"] == ["bars", "more"]
    assert arrays["names"].tolist() == ["mine", "bars", "more"]
    trials = json.loads(Path("run/s0/postprocessors/gen.json").read_text())
    assert len(trials["trials"]) == 42
    assert Path("run/ood/report.html").is_file()


def test_lists_made_from_a_folder_train_and_test(own, done):
    shutil.rmtree(own / "mine" / "val")
    pairs = ["--ood", "bars=mine/ood/near/bars", "--far", "more=mine/ood/far/more"]
    found = done("build_imglist", "mine", "--name", "birds", *pairs, "--val-fraction", "0.3")
    assert "4 training images are kept" in found.out
    lists = Path("data/benchmark_imglist/birds")
    assert {path.name: len(path.read_text().splitlines()) for path in lists.iterdir()} == {
        "train_birds.txt": 8, "val_birds.txt": 4, "test_birds.txt": 12, "test_bars.txt": 5, "test_more.txt": 5,
    }  # fmt: skip
    name = "configs/datasets/birds/birds.yml"
    done("train", "--id-data", name, *OWN[2:], "--optimizer.num_epochs", "1", "--output-dir", "run/s0")
    done("eval_ood", *EVAL[2:], "--id-data", name, "--root", "run", "--postprocessor", "msp", "--save-csv")
    assert [row.split(",")[0] for row in Path("run/ood/msp.csv").read_text().splitlines()[1:]] == [
        "bars", "nearood", "more", "farood",
    ]  # fmt: skip


def test_the_picture_shows_every_type(own, own_run, done, drawn):
    words = ["--root", str(own_run / "run" / "s0"), "--id-data", "folder:mine", "--images", "2", "--device", "cpu"]
    done("picture", *words, "--output", "out/picture.png")
    assert Path("out/picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_embedded_default_trains_and_is_judged_offline(digits_run, place, done):
    shutil.copytree(digits_run, "run")
    words = ["--id-data", "digits", "--wrapper-net", "ASCOODNet", "--device", "cpu"]
    found = done("eval_ood", *words, "--root", "run", "--postprocessor", "scale", "--no-aps")
    assert "letters" in found.out
    assert "farood" in found.out


@pytest.mark.parametrize(("backbone", "network"), [("common", "smallresnet10"), ("paper", "lenet")])
def test_the_bench_leaves_a_checked_result(place, done, monkeypatch, backbone, network):
    from ascood import bench

    small = bench.Schedule("lenet", 60, 40, 2, 20, 0.05)
    monkeypatch.setitem(bench.SCHEDULES, "smoke", small)
    monkeypatch.setitem(COMMON, "smoke", Common(60, 40, 2, 20, "smallresnet10"))
    words = ["--id", "digits", "--ood", "textures,gaussian", "--novel-classes", "3,7", "--output-dir", "out"]
    done("bench", *words, "--device", "cpu", "--backbone", backbone)
    record, scores = read_result(Path("out"))
    assert record["ood_datasets"] == ["novel", "textures", "gaussian"]
    assert record["config"]["backbone"] == backbone
    assert record["config"]["train"]["network"]["backbone"]["name"] == network
    assert list(read_pictures("out", scores).sets) == ["digits", "novel", "textures", "gaussian"]
    assert record["timings"]["train_step_seconds"] > 0
    assert record["config"]["score"]["name"] == "nnguide"
    assert list(record["other_scores"]) == ["scale"]
    assert list(record["other_scores"]["scale"]) == record["ood_datasets"]
    assert {"auroc", "aupr_out", "fpr95"} <= set(record["other_scores"]["scale"]["novel"])
    preprocessor = {"common": "common", "paper": "ascood"}[backbone]
    assert record["config"]["train"]["preprocessor"]["name"] == preprocessor
    assert record["config"]["mirror"] == (backbone == "paper")
    weights = Path("out/run") / record["config"]["weights"]
    assert record["checkpoint_sha256"] == checkpoints.sha256(weights)
    assert weights.name.startswith({"common": "last_epoch", "paper": "best"}[backbone])


def test_in_common_all_training_images_are_trained_on():
    """As every method of a comparison does; with the paper's network one of ten is kept to choose the epoch."""
    from ascood.in_memory import split_for_validation

    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 3, 32, 32).contiguous()
    for hold_out in (False, True):
        sets = split_for_validation(images, torch.arange(20) % 2, torch.Generator().manual_seed(0), hold_out)
        train, val = sets["train"], sets["val"]
        seen = {int(pixels[0, 0, 0]) for pixels in train.pixels}
        kept = {int(pixels[0, 0, 0]) for pixels in val.pixels}
        assert len(kept) == 2
        assert seen == set(range(20)) - (kept if hold_out else set())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_is_answered_without_torch(process, name):
    code = (
        f"import sys; sys.argv = ['ascood', {name!r}, '--help']\nfrom ascood import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    assert 'torch' not in sys.modules"
    )
    found = process("python", "-c", code)
    assert found.status == 0, found.err
    assert "usage" in found.out


@pytest.mark.parametrize(
    "script", ["main.py", "scripts/eval_ood.py", "scripts/eval_ood_imagenet.py", "scripts/download/download.py"]
)
def test_scripts_run_from_any_folder(process, tmp_path, script):
    path = Path(__file__).parents[2] / script
    assert process("python", str(path), "--help", cwd=tmp_path).status == 0
