"""`python -m know_your_space.bench`."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from know_your_space import bench, cli
from ood_shared import checkpoints
from ood_shared.contract import COMMON, Common
from ood_shared.results.record import read_result
from ood_shared.results.thumbnails import read_pictures

PAPER = bench.Schedule(120, 40, 12, 10, 1, 0.0, 24, 2e-3, 4)
COMMON_22, COMMON_10 = Common(120, 40, 12, 24, "smallresnet22"), Common(60, 40, 10, 12, "smallresnet10")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A schedule of seconds; the test runs in an empty folder."""
    monkeypatch.setitem(bench.SCHEDULES, "smoke", PAPER)
    monkeypatch.setitem(COMMON, "smoke", COMMON_22)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*argv: str) -> int:
    return cli.main(["bench", "--id", "digits", "--seed", "0", "--device", "cpu", *argv])


@pytest.mark.parametrize(("backbone", "model"), [("common", "smallresnet22"), ("paper", "wrn")])
def test_the_result_has_every_set_and_is_accepted_by_the_shared_reader(small, backbone, model):
    words = ["--ood", "letters,gaussian,sphere", "--novel-classes", "8,9", "--output-dir", "out"]
    assert run(*words, "--backbone", backbone) == 0
    record, scores = read_result("out")
    assert record["method"] == "know_your_space"
    assert record["ood_datasets"] == ["novel", "letters", "gaussian", "sphere"]
    assert record["config"]["n_classes"] == 8
    assert (record["config"]["backbone"], record["config"]["model_type"]) == (backbone, model)
    assert record["config"]["augmentation"] == ("crop" if backbone == "common" else "affine")
    weights = checkpoints.load(small / "out" / "know_your_space-ckpt_last.pth.tar")["state_dict"]
    assert ("blocks.8.conv2.weight" in weights) == (backbone == "common")  # three blocks in each of three stages
    assert list(read_pictures("out", scores).sets) == ["digits", "novel", "letters", "gaussian", "sphere"]
    assert np.isfinite(scores["scores"]).all()
    assert record["timings"]["train_step_seconds"] > 0


def test_the_same_seed_gives_the_same_scores_and_a_finished_training_is_scored_again(small, monkeypatch):
    monkeypatch.setitem(COMMON, "smoke", COMMON_10)
    for folder in ("first", "second"):
        assert run("--ood", "letters", "--output-dir", folder) == 0
    first, second = (read_result(folder)[1]["scores"] for folder in ("first", "second"))
    assert np.array_equal(first, second)
    (small / "first" / "result.json").unlink()
    assert run("--ood", "letters", "--output-dir", "first", "--resume") == 0
    assert np.array_equal(read_result("first")[1]["scores"], second)


def test_a_missing_output_folder_is_one_line(small, capsys):
    assert run("--ood", "letters") == 2
    assert "--output-dir is missing" in capsys.readouterr().err


def test_ood_bench_finds_the_method():
    found = {entry.name: entry.value for entry in metadata.entry_points(group="ood_shared.bench")}
    assert found["know_your_space"] == "know_your_space.bench"


@pytest.mark.parametrize("module", ["know_your_space.bench", "know_your_space"])
def test_help_is_answered_without_torch(module):
    code = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "usage: know_your_space" in out
    assert out.splitlines()[-1] == "False"
