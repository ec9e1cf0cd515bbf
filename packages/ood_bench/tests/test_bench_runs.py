"""A run of `ood-bench`: the flags that methods get, its seeds, the files and the table that it leaves; resuming."""

import json
import re

import numpy as np
import pytest
from ood_bench import summary
from ood_bench.run_folder import read_request
from ood_shared.testing.results import result

from .fakes import bench, calls, install

RUN_FILES = ("log.txt", "outcome.json", "request.json", "result.json", "scores.npz")


def test_a_run_leaves_report_results_and_the_files_of_the_method(site, tmp_path, capsys):
    install(site, "fake_a")
    assert bench("--methods", "fake_a") == 0
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    of_the_run = {f"fake_a/seed-0/{name}" for name in RUN_FILES}
    assert names == {"report.html", "results.json", "leaderboard.json", "leaderboard.csv"} | of_the_run
    assert "report: out/report.html" in capsys.readouterr().out


def test_the_table_fits_120_columns_and_has_every_number(site, capsys):
    install(site, "fake_a", ood=("near", "/a/long/path/to/some/scans"))
    assert bench("--methods", "fake_a") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    record, _ = result("fake_a", 0)
    auroc = {part: f"{100 * value:.1f}" for part, value in record["metrics"]["near"]["auroc"].items()}
    row = next(line for line in printed.splitlines() if line.startswith("fake_a") and "near" in line)
    assert f"{auroc['value']} [{auroc['low']}, {auroc['high']}]" in row
    assert len(re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", row)) == 4
    assert re.search(r"fake_a +\d+\.\d \[.*\] +1 min 15 s +0\.043 s +300 MiB", printed)
    assert "…some/scans" in printed


def test_the_widest_row_fits_120_columns():
    record, _ = result("know_your_space", 0, ood=("a" * 40,))
    for name in summary.MAIN:
        record["metrics"]["a" * 40][name] = {"value": 1.0, "low": 1.0, "high": 1.0}
    assert max(map(len, summary.as_lines([record]))) <= 120


def test_results_json_holds_every_run_and_the_summary(site, tmp_path):
    install(site, "fake_a")
    bench("--methods", "fake_a")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    record, _ = result("fake_a", 0)
    (run,) = found["runs"]
    assert (run["status"], run["folder"], run["results"][0]["metrics"]) == ("done", "fake_a/seed-0", record["metrics"])
    near, far = found["summary"]
    assert (near["ood_dataset"], far["ood_dataset"]) == ("near", "far")
    assert near["metrics"]["fpr95"] == record["metrics"]["near"]["fpr95"]
    assert near["span"] == "95 % bootstrap interval over test images only; one training"
    assert found["score_convention"] == "higher = more OOD"


def test_the_method_gets_the_flags_that_were_given_and_no_others(site):
    package = install(site, "fake_a")
    bench("--methods", "fake_a", "--novel-classes", "none")
    plain = ["--id", "digits", "--ood", "gaussian,uniform", "--budget", "smoke", "--seed", "0"]
    given = ["--novel-classes", "8,9", "--device", "cpu", "--data-dir", "d", "--compile"]
    bench("--methods", "fake_a", *given)
    folder = ["--output-dir", "out/fake_a/seed-0"]
    assert calls(package) == [plain + folder, plain[:6] + given + plain[6:] + folder]


def test_digits_keep_three_classes_out_unless_told_otherwise(site):
    package = install(site, "fake_a")
    bench("--methods", "fake_a")
    bench("--methods", "fake_a", "--ood", "novel,uniform")
    first, second = calls(package)
    assert first[first.index("--novel-classes") + 1] == "7,8,9"
    assert second[second.index("--ood") + 1] == "uniform"


def test_novel_needs_classes_and_a_far_set_beside_it(site, capsys):
    install(site, "fake_a")
    assert bench("--methods", "fake_a", "--ood", "novel,uniform", "--novel-classes", "none") == 2
    assert "no classes are kept out. Pass --novel-classes." in capsys.readouterr().err
    assert bench("--methods", "fake_a", "--ood", "novel") == 2
    assert "nothing but `novel`" in capsys.readouterr().err


def test_the_leaderboard_is_written_for_programs_too(site, tmp_path, drawn):
    for name in ("fake_a", "fake_b"):
        install(site, name, behaviours=("ok", "ok"))
    bench("--methods", "fake_a,fake_b", "--seeds", "2")
    entries = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert [entry["place"] for entry in entries] == [1, 2]
    assert entries[1]["p"] == 1.0  # the same scores
    lines = (tmp_path / "out" / "leaderboard.csv").read_text().splitlines()
    assert lines[0].startswith("place,method,seeds,all_auroc,all_auroc_low")
    assert len(lines) == 3


def test_seeds_are_brought_together_as_mean_and_range(site, tmp_path, capsys):
    package = install(site, "fake_a", behaviours=("ok", "ok", "ok"))
    assert bench("--methods", "fake_a", "--seeds", "0,1,2") == 0
    assert sorted(call[call.index("--seed") + 1] for call in calls(package)) == ["0", "1", "2"]
    values = [result("fake_a", seed)[0]["metrics"]["near"]["auroc"]["value"] for seed in range(3)]
    near = json.loads((tmp_path / "out" / "results.json").read_text())["summary"][0]
    expected = {"value": np.mean(values), "low": min(values), "high": max(values)}
    assert near["metrics"]["auroc"] == pytest.approx(expected)
    assert (near["seeds"], near["span"]) == (3, "lowest and highest over seeds")
    assert f"{100 * np.mean(values):.1f} ({100 * min(values):.1f}–{100 * max(values):.1f})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "seeds"),
    [
        ([], ["0"]),
        (["--seeds", "3"], ["0", "1", "2"]),
        (["--seeds", "2,0"], ["2", "0"]),
        (["--seed", "2"], ["2"]),
    ],
)
def test_seeds_is_a_number_of_seeds_or_a_list_and_seed_is_one(site, flags, seeds):
    package = install(site, "fake_a", behaviours=("ok", "ok", "ok"))
    assert bench("--methods", "fake_a", "--jobs", "1", *flags) == 0
    assert [call[call.index("--seed") + 1] for call in calls(package)] == seeds


def test_a_method_that_uses_the_schema_itself_is_compared(site, tmp_path):
    """The one test whose method writes its result in its own process, as the packages do."""
    program = """
import argparse, pathlib
import numpy as np
from ood_shared.results.record import measure, pack_scores, write_result
parser = argparse.ArgumentParser()
for flag in ("--id", "--ood", "--novel-classes", "--seed", "--budget", "--output-dir"):
    parser.add_argument(flag)
options = parser.parse_args()
random = np.random.default_rng(int(options.seed))
names = options.ood.split(",")
id_set = random.normal(size=20), np.zeros(20, int), None
scores = pack_scores(options.id, id_set, {name: (random.normal(size=10), None) for name in names})
metrics, id_accuracy = measure(scores, random, 20)
record = {"method": "own", "paper": "P", "id_dataset": options.id, "ood_datasets": names, "seed": int(options.seed)}
record |= {"budget": options.budget, "config": {}, "metrics": metrics, "id_accuracy": id_accuracy}
record |= {"timings": dict.fromkeys(("train_seconds", "train_step_seconds", "score_seconds_per_1000"))}
record |= dict.fromkeys(("peak_memory_bytes", "commit", "checkpoint_sha256"))
write_result(options.output_dir, record | {"hardware": {}, "versions": {}}, scores)
"""
    install(site, "own", behaviours=(), bench=program)
    assert bench("--methods", "own", "--budget", "quick", "--seed", "3") == 0
    (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert (run["results"][0]["budget"], run["results"][0]["ood_datasets"]) == ("quick", ["gaussian", "uniform"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0432, "0.043 s"),
        (9.94, "9.9 s"),
        (31.2, "31 s"),
        (725.0, "12 min 5 s"),
        (11_520.0, "3 h 12 min"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert summary.duration(seconds) == text


# Resuming


def test_resume_keeps_what_is_finished_and_resumes_the_rest(site):
    package = install(site, "fake_a", behaviours=("ok", "fail"))
    assert bench("--methods", "fake_a", "--seeds", "0,1", "--jobs", "1") == 1
    (package / "behaviour-1.txt").write_text("ok")
    assert bench("--methods", "fake_a", "--seeds", "0,1", "--jobs", "1", "--resume") == 0
    assert len(calls(package)) == 3
    assert calls(package)[2] == [*calls(package)[1], "--resume"]


def test_resume_with_another_request_starts_anew_and_says_what_was_asked_before(site, capsys):
    package = install(site, "fake_a")
    bench("--methods", "fake_a")
    assert "anew" not in capsys.readouterr().err
    assert bench("--methods", "fake_a", "--budget", "quick", "--novel-classes", "none", "--resume") == 0
    said = "fake_a, seed 0: out/fake_a/seed-0 is of --budget smoke, --novel-classes 7,8,9; it is run anew\n"
    assert said in capsys.readouterr().err
    assert len(calls(package)) == 2
    assert "--resume" not in calls(package)[1]


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "3", '{"module": "m"}'])
def test_a_request_that_makes_no_sense_is_of_nothing(tmp_path, content):
    (tmp_path / "request.json").write_text(content)
    assert read_request(tmp_path) == {}
