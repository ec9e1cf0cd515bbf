"""`ood_detection.py`: every flag, two processes, and a GPU."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from know_your_space.data import paths
from know_your_space.data.parts import load_part
from ood_shared.results.record import read_result
from ood_shared.testing.commands import clean_environment
from ood_shared.testing.ranks import run_ranks

from .conftest import LOGS, SCRIPT, SHORT, Run


def test_the_temperature_is_that_of_the_score_and_of_the_file_name(place: Path, builders: ModuleType, run: Run) -> None:
    run("--out_test_dataset", "octmnist")
    cold, _ = builders.read_scores(LOGS / "octmnist")
    file = paths.checkpoint_path(Path(), "wrn", "bloodmnist", paths.RUN, -20, -7, 1, True)
    file.rename(file.with_name(file.name.replace("T_1.0", "T_10.0")))
    run("--out_test_dataset", "octmnist", "--T", "10")
    warm, _ = builders.read_scores(LOGS / "octmnist")
    assert (warm > cold + 10).all()  # 10 log 6 = 17.9 and logits near 0


def test_the_last_checkpoint_is_the_default_and_best_a_choice(place: Path, builders: ModuleType, run: Run) -> None:
    best = builders.write_checkpoint("bloodmnist", 6, last=False, seed=1)
    last = best.with_name(best.name.replace("ckpt.", "ckpt_last."))
    assert f"checkpoint: {last}," in run("--out_test_dataset", "octmnist")
    assert f"checkpoint: {best}," in run("--out_test_dataset", "octmnist", "--checkpoint", "best")


@pytest.mark.parametrize("prefix", ["my_run", paths.RUN])
def test_a_run_of_another_name_is_found_under_both_prefixes(
    place: Path, builders: ModuleType, run: Run, prefix: str
) -> None:
    builders.write_checkpoint("bloodmnist", 6, run="my_run", prefix=prefix)
    run("--dir_name", "my_run", "--out_test_dataset", "octmnist")
    assert (LOGS.with_name("my_run") / "octmnist" / "scores_energy_Out.txt").is_file()


def test_sets_may_be_given_by_name_and_path(place: Path, builders: ModuleType, run: Run) -> None:
    folder = builders.write_folder(place / "scans", {"test": 4}, side=64)
    run("--out_test_dataset", f"faces,{folder},digits")
    record, _ = read_result(LOGS)
    assert {name: found["n_ood"] for name, found in record["metrics"].items()} == {
        "faces": 100,
        "scans": 8,
        "digits": 217,
    }
    assert record["novel_classes"] is None


def test_all_classes_of_other_sets_are_scored_on_request(place: Path, builders: ModuleType, run: Run) -> None:
    run("--out_test_dataset", "octmnist,bloodmnist", "--ood_classes", "all")
    assert len(builders.read_scores(LOGS / "octmnist")[1]) == 6 + 3
    assert len(builders.read_scores(LOGS / "bloodmnist")[1]) == 6


def test_colours_of_pathmnist_change_its_scores(place: Path, builders: ModuleType, run: Run) -> None:
    run("--out_test_dataset", "pathmnist")
    as_bgr = builders.read_scores(LOGS / "pathmnist")[1]
    run("--out_test_dataset", "pathmnist", "--path_channels", "rgb")
    assert not np.allclose(builders.read_scores(LOGS / "pathmnist")[1], as_bgr)


def test_digits_need_no_files(tmp_path: Path, builders: ModuleType, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    builders.write_checkpoint("digits", 8)
    run("--in_dataset", "digits")
    record, _ = read_result("logs/wrn/digits/in_latent_out_pix")
    assert record["ood_datasets"] == ["digits-novel", "textures", "faces", "photos", "letters"]
    assert record["metrics"]["digits-novel"]["n_ood"] == 354
    assert not (tmp_path / "data").exists()


def test_the_test_split_can_be_the_id_set(
    tmp_path: Path, builders: ModuleType, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    builders.write_checkpoint("digits", 8)
    run("--in_dataset", "digits", "--id_part", "test", "--out_test_dataset", "faces")
    record, _ = read_result("logs/wrn/digits/in_latent_out_pix")
    assert record["metrics"]["faces"]["n_id"] == len(load_part("digits", "test"))


def test_a_set_without_novel_classes_has_modality_shift_only(
    tmp_path: Path, builders: ModuleType, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    builders.write_medmnist(tmp_path / "data", "pneumoniamnist")
    builders.write_eight(tmp_path / "data", ["octmnist"])
    builders.write_checkpoint("pneumoniamnist", 2)
    out = run("--in_dataset", "pneumoniamnist")
    assert "pneumoniamnist has no novel classes: modality shift only." in out
    record, _ = read_result("logs/wrn/pneumoniamnist/in_latent_out_pix")
    assert record["ood_datasets"] == ["octmnist"]
    assert len(record["missing"]) == 7


def test_half_precision_scores_are_close(place: Path, builders: ModuleType, run: Run) -> None:
    run("--out_test_dataset", "octmnist")
    full = builders.read_scores(LOGS / "octmnist")[0]
    run("--out_test_dataset", "octmnist", "--precision", "bf16")
    half = builders.read_scores(LOGS / "octmnist")[0]
    np.testing.assert_allclose(half, full, atol=0.1)  # 8 binary digits, logits near 1
    assert not np.array_equal(half, full)


def test_two_processes_give_the_scores_of_one(place: Path, run: Run) -> None:
    words = ["--out_test_dataset", "bloodmnist,organamnist,faces", "--batch_size", "3"]
    run(*words)
    files = ("bloodmnist/scores_energy_Out.txt", "faces/scores_energy_In.txt", "faces/scores_energy_Out.txt")
    alone = {file: (LOGS / file).read_bytes() for file in files}
    before = json.loads((LOGS / "result.json").read_text())["metrics"]
    ranks = run_ranks([str(SCRIPT), *words, *SHORT], cwd=place)
    assert [rank.status for rank in ranks] == [0, 0], ranks
    assert "".join(rank.out for rank in ranks).count("method: energy") == 3
    for file, text in alone.items():
        found, expected = ([float(line) for line in words.split()] for words in ((LOGS / file).read_bytes(), text))
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # other rows share a batch
    after = json.loads((LOGS / "result.json").read_text())["metrics"]
    assert {name: (m["n_id"], m["n_ood"]) for name, m in after.items()} == {
        name: (m["n_id"], m["n_ood"]) for name, m in before.items()
    }


def test_help_and_mistyped_flags_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    for words, status in ((["--help"], 0), (["--in_datset", "x"], 2), (["--checkpoint", "lst"], 2)):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *words],
            env=clean_environment(PYTHONPATH=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        assert "torch was imported" not in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_gives_the_scores_of_a_cpu(place: Path, builders: ModuleType, run: Run, precision: str) -> None:
    run("--out_test_dataset", "octmnist,faces")
    expected = builders.read_scores(LOGS / "faces")
    run("--out_test_dataset", "octmnist,faces", "--device", "cuda", "--precision", precision)
    for found, wanted in zip(builders.read_scores(LOGS / "faces"), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-2 if precision == "fp32" else 0.1)  # TF32 has 10 digits
