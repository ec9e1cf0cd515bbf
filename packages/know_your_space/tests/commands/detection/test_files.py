"""`ood_detection.py`: the documented command, its files and lines."""

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
from ood_shared.testing.commands import finish, start

from .conftest import LOGS, SCRIPT, SHORT, Run


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


def test_output_dir_takes_the_place_of_the_working_directory(place: Path, builders: ModuleType, run: Run) -> None:
    builders.write_checkpoint("bloodmnist", 6, root=place / "elsewhere")
    run("--output-dir", "elsewhere", "--out_test_dataset", "octmnist")
    assert (place / "elsewhere" / LOGS / "result.json").is_file()
    assert not LOGS.exists()
