"""Which detector is named, by which rule, and what is said of it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ood_bench.isolated import project
from ood_bench.leaderboard import leaderboard
from ood_bench.operating import RATE, RATES, caught, table
from ood_bench.verdict import OPTIMISTIC, decide
from ood_shared.results.schema import split_scores
from ood_shared.testing.results import result
from ood_shared.thresholds import fit_threshold


def verdict(shifts, asked=None, files=None, seeds=(0,)):
    """Of methods whose OOD scores are shifted so far from those of ID."""
    results = [result(name, seed, shift=shift) for name, shift in shifts.items() for seed in seeds]
    places = leaderboard(results, [], np.random.default_rng(0), 200)
    return decide(results, places, list(asked or shifts), files or {})


def test_the_fused_detector_is_named_also_where_another_is_first_on_these_sets():
    found = verdict({"fused": 1.0, "other": 4.0})
    assert found.method == "fused"
    assert "looks at no OOD image" in found.why
    assert list(found.beaten_by) == ["other"]  # never a silent choice
    (said,) = [line for line in found.paragraphs() if "ahead" in line]
    assert said.startswith("On these OOD sets other is clearly ahead of it, by ")
    assert said.endswith("over images only, one training of each.")


def test_everybody_who_is_clearly_ahead_is_named_in_one_line():
    found = verdict({"fused": 0.5, "b": 2.0, "c": 4.0, "d": 6.0}, seeds=(0, 1, 2))
    (said,) = [line for line in found.paragraphs() if "ahead" in line]
    assert re.search(r"sets d is clearly ahead .*, 95 % over images and trainings; so are c \(\S+\), b \(\S+\)\.", said)


def test_nobody_is_called_ahead_who_is_not_clearly_so():
    found = verdict({"fused": 4.0, "other": 1.0})
    assert not found.beaten_by
    assert not any("ahead" in line for line in found.paragraphs())


def test_a_single_method_is_named_as_the_only_one():
    assert verdict({"other": 1.0}).why == "the only method that was asked for"


def test_without_the_fused_detector_the_best_is_called_an_optimistic_choice():
    found = verdict({"weak": 1.0, "strong": 4.0})
    assert (found.method, found.why) == ("strong", OPTIMISTIC)
    assert "optimistic" in found.paragraphs()[0]


def test_the_last_one_left_of_several_is_not_called_the_only_one_asked_for():
    assert verdict({"strong": 4.0}, asked=["strong", "failed"]).why == OPTIMISTIC


def test_a_fused_detector_that_failed_is_named_as_missing():
    found = verdict({"strong": 4.0}, asked=["strong", "fused"])
    assert found.paragraphs()[0] == "fused, which the rule names, failed."
    assert found.record(Path())["missing"] is not None


def test_a_training_of_seconds_is_not_recommended_for_use():
    found = verdict({"fused": 1.0})
    assert any("before using it" in line for line in found.paragraphs())
    assert not any("before using it" in line for line in replace(found, budget="quick").paragraphs())
    assert any("smoke, of at most 2,000 images: fit it" in line for line in replace(found, trained=False).paragraphs())


def test_no_result_gives_no_verdict():
    assert decide([], [], ["fused"], {}) is None


def test_what_is_caught_lies_above_the_conformal_threshold_of_each_seed():
    runs = [result("a", seed, shift=1.0) for seed in (0, 1)]
    shares = []
    for _, scores in runs:
        id_scores, near, _ = split_scores(scores)
        shares.append(float((near > fit_threshold(id_scores, 0.05).value).mean()))
    found = caught(runs)["near"]
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(shares), min(shares), max(shares)))


def test_over_seeds_mean_and_range_are_told_and_from_one_that_it_is_one():
    several, once = verdict({"fused": 1.0}, seeds=(0, 1)), verdict({"fused": 1.0})
    assert "(mean and range of 2 seeds)" in several.paragraphs()[1]
    assert "one training: how much a training varies is not known" in once.paragraphs()[1]


def test_too_few_id_images_are_said_instead_of_a_share():
    record, scores = result("a", 0)
    few = {name: array if name == "names" else array[50:] for name, array in scores.items()}  # 10 ID images
    assert caught([(record, few)]) == {}
    assert "near" in caught([(record, few)], 0.2)


def test_the_file_is_named_with_a_command_that_a_shell_takes(monkeypatch):
    found = verdict({"fused": 1.0}, files={"fused": Path("my runs/fused/seed-0/model.ood")})
    monkeypatch.delenv("UV", raising=False)
    assert found.command == "ood-detect score 'my runs/fused/seed-0/model.ood' ./new_images --csv out.csv"
    assert found.record(Path("my runs"))["file"] == "fused/seed-0/model.ood"


def test_the_command_runs_where_it_was_started_by_uv_inside_the_project_and_outside(tmp_path, monkeypatch):
    found = verdict({"fused": 1.0}, files={"fused": Path("out/model.ood")})
    home, other = tmp_path / "my project", tmp_path / "other"
    for folder in (home / "below", other):
        folder.mkdir(parents=True)
    (home / "pyproject.toml").touch()
    monkeypatch.setenv("UV", "/home/me/bin/uv")
    monkeypatch.setattr("sys.prefix", str(home / ".venv"))
    rest = "ood-detect score out/model.ood ./new_images --csv out.csv"
    for folder, start in ((home, "uv run"), (home / "below", "uv run"), (other, f"uv run --project '{home}'")):
        monkeypatch.chdir(folder)
        assert found.command == f"{start} {rest}"


def test_an_environment_elsewhere_belongs_to_the_checkout_or_to_no_project(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path / "environment"))
    root = tmp_path / "checkout"
    module = root / "packages" / "ood_bench" / "src" / "isolated.py"
    monkeypatch.setattr("ood_bench.isolated.__file__", str(module))
    assert project() is None
    (root / "shared").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["shared"]\n')
    (root / "shared" / "pyproject.toml").write_text('[project]\nname = "ood-shared"\n')
    assert project() == root


def test_the_table_holds_every_rate_and_shows_five_percent():
    runs = [result("a", seed, shift=1.0) for seed in (0, 1)]
    found = table(runs, ["a"], {"far": "far", "near": "near"})
    _, far, near = found.rows[0]
    assert found.slider.stops[found.slider.start] == "5 %"
    assert far.text == f"{100 * caught(runs)['far'].mean:.1f}"
    assert [far.stops[at] for at, rate in enumerate(RATES) if rate < 1 / 61] == ["–"] * 8  # 60 ID images
    values = [float(text) for text in near.stops[8:]]
    assert values == sorted(values)
    assert near.stops[-1] == f"{100 * caught(runs, RATES[-1])['near'].mean:.1f}"
    assert near.key == 100 * caught(runs, RATE)["near"].mean
