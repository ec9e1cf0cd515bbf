"""`ood_detection.py`: the documented command, its files and lines, and every flag."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from know_your_space import evaluate as detect
from know_your_space.cli import detect_main
from know_your_space.data import layout, paths
from know_your_space.data.parts import load_part
from know_your_space.data.sets import EIGHT
from know_your_space.legacy_metrics import NAMES, legacy_metrics
from know_your_space.networks import build_model
from know_your_space.transforms import evaluation_transform
from ood_shared.checkpoints import load
from ood_shared.metrics import evaluate
from ood_shared.results.record import read_result
from ood_shared.testing.commands import clean_environment, finish, start
from ood_shared.testing.ranks import run_ranks

SCRIPT = Path(__file__).parents[2] / "ood_detection.py"
LOGS = Path("logs/wrn/bloodmnist/in_latent_out_pix")
SHORT = ("--layers", "10", "--device", "cpu", "--no_download")

Run = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, builders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as the authors' archive makes it, with a network of 10 layers; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OOD_DATA_DIR", raising=False)
    builders.write_eight(tmp_path / "data")
    builders.write_checkpoint("bloodmnist", 6)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with a network of 10 layers and without drawing the report; returns what it printed."""
    monkeypatch.setattr("know_your_space.run_files.write_page", lambda *_: None)

    def call(*words: str) -> str:
        capsys.readouterr()
        status = detect_main([*SHORT, *words])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out + captured.err

    return call


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, builders: ModuleType) -> Path:
    """The log folder of a run over the eight sets, without pictures; not to be changed."""
    at = tmp_path_factory.mktemp("eight")
    builders.write_eight(at / "data")
    builders.write_checkpoint("bloodmnist", 6, root=at)
    assert detect_main([*SHORT, "--output-dir", str(at), "--data_dir", str(at / "data")]) == 0
    return at / LOGS


def test_the_documented_command_scores_the_eight_sets(place: Path, builders: ModuleType) -> None:
    builders.write_checkpoint("bloodmnist", 6, depth=40)
    words = ["--in_dataset", "bloodmnist", "--model_type", "wrn", "--dir_name", "in_latent_out_pix"]
    done = finish(start([str(SCRIPT), *words], place))
    assert done.status == 0, done.err
    assert sorted(path.parent.name for path in (place / LOGS).glob("*/scores_energy_In.txt")) == sorted(EIGHT)
    lines = done.out.splitlines()
    rows = [line.split() for before, line in pairwise(lines) if before.split() == list(NAMES)]
    assert len(rows) == 8
    for name, row in zip(EIGHT, rows, strict=True):
        known, novel = builders.read_scores(place / LOGS / name)
        expected = legacy_metrics(known, novel)
        assert row == [f"{100 * expected[metric]:.2f}" for metric in NAMES]


def test_in_images_are_the_known_validation_and_out_images_the_novel_ones(eight: Path, builders: ModuleType) -> None:
    sizes = {name: tuple(map(len, builders.read_scores(eight / name))) for name in EIGHT}
    assert sizes["bloodmnist"] == (12, 6)  # 2 of 6 known classes, 3 of 2 novel ones
    assert sizes["octmnist"] == (12, 6)  # 2 of 3 known classes
    assert sizes["organamnist"] == (12, 16)
    first = (eight / "bloodmnist" / "scores_energy_In.txt").read_bytes()
    assert all((eight / name / "scores_energy_In.txt").read_bytes() == first for name in EIGHT)


def test_files_hold_the_confidence_of_each_image_in_order(place: Path, builders: ModuleType, run: Run) -> None:
    run("--T", "1", "--out_test_dataset", "bloodmnist")
    network = build_model("wrn", 6, 10).eval()
    network.load_state_dict(
        load(paths.find_checkpoint(Path(), "wrn", "bloodmnist", paths.RUN, -20, -7, 1, True))["state_dict"]
    )
    for found, part in zip(builders.read_scores(LOGS / "bloodmnist"), ("val", "novel"), strict=True):
        with torch.no_grad():
            logits = network(evaluation_transform(load_part("bloodmnist", part).images))[0].double()
        np.testing.assert_allclose(found, torch.logsumexp(logits, dim=1), rtol=1e-5)  # float32 sums over 20 layers


def test_the_text_of_a_score_is_the_shortest_of_its_float32(place: Path, run: Run) -> None:
    run("--out_test_dataset", "bloodmnist")
    _, arrays = read_result(LOGS)
    lines = (LOGS / "bloodmnist" / "scores_energy_In.txt").read_text().split("\n")
    assert lines[-1] == ""
    expected = -arrays["scores"][arrays["dataset"] == 0]
    assert arrays["scores"].dtype == np.float32
    assert [np.float32(line) for line in lines[:-1]] == expected.tolist()
    assert max(map(len, lines)) <= 11  # 9 digits are enough for any float32


def test_result_json_has_the_other_sign_and_the_correct_metrics(eight: Path, builders: ModuleType) -> None:
    record, _ = read_result(eight)
    assert record["ood_datasets"] == ["bloodmnist-novel", *EIGHT[1:]]
    assert record["novel_classes"] == "bloodmnist-novel"
    for name, ood in zip(EIGHT, record["ood_datasets"], strict=True):
        known, novel = builders.read_scores(eight / name)
        for metric, value in evaluate(-known, -novel).items():
            assert record["metrics"][ood][metric]["value"] == pytest.approx(value, abs=1e-12)
        assert record["legacy"][ood] == pytest.approx(legacy_metrics(known, novel))
    shift = record["modality_shift_mean"]
    assert shift["datasets"] == list(EIGHT[1:])
    assert shift["auroc"] == pytest.approx(np.mean([record["metrics"][name]["auroc"]["value"] for name in EIGHT[1:]]))
    assert shift["legacy"]["FPR"] == pytest.approx(np.mean([record["legacy"][name]["FPR"] for name in EIGHT[1:]]))
    assert 0 <= record["id_balanced_accuracy"] <= 1
    assert record["config"]["trained_epochs"] == 100
    report = (eight / "report.html").read_text()
    assert "Metrics of the original" in report
    assert report.count("data:image/png") >= 2


def test_lines_name_samples_progress_sets_and_method(place: Path, run: Run) -> None:
    out = run("--out_test_dataset", "octmnist", "--batch_size", "5")
    for words in ("bloodmnist: 12 samples", "5/12\t", "10/12\t", "12/12\t", "octmnist: 6 samples", "6/6\t"):
        assert words in out
    assert "in_distribution: bloodmnist\tout_distribution: octmnist\nmethod: energy\n" in out


def test_each_set_is_loaded_and_scored_once(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scored, read = [], []
    real_score, real_read = detect.score, layout.read_images
    monkeypatch.setattr(detect, "score", lambda n, i, name, *o: scored.append(name) or real_score(n, i, name, *o))
    monkeypatch.setattr(layout, "read_images", lambda folder: read.append(folder.name) or real_read(folder))
    run()
    assert scored == ["bloodmnist", "bloodmnist-novel", *EIGHT[1:]]
    assert read == list(EIGHT)


def test_a_second_run_overwrites_the_first(place: Path, builders: ModuleType, run: Run) -> None:
    run("--out_test_dataset", "octmnist")
    before = (LOGS / "octmnist" / "scores_energy_Out.txt").read_text()
    run("--out_test_dataset", "octmnist")
    assert (LOGS / "octmnist" / "scores_energy_Out.txt").read_text() == before
    builders.write_checkpoint("bloodmnist", 6, seed=1)
    run("--out_test_dataset", "octmnist")
    assert (LOGS / "octmnist" / "scores_energy_Out.txt").read_text() != before


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


def test_output_dir_takes_the_place_of_the_working_directory(place: Path, builders: ModuleType, run: Run) -> None:
    builders.write_checkpoint("bloodmnist", 6, root=place / "elsewhere")
    run("--output-dir", "elsewhere", "--out_test_dataset", "octmnist")
    assert (place / "elsewhere" / LOGS / "result.json").is_file()
    assert not LOGS.exists()


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
