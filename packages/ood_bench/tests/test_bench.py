import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ood_bench import command, methods, page, processes, summary
from ood_shared.errors import InputError
from ood_shared.report import PNG_SIGNATURE
from ood_shared.results import record as schema
from ood_shared.results.schema import PICTURES
from ood_shared.run_model import MODEL
from ood_shared.testing.commands import ctrl_c_is_heard, is_alive
from ood_shared.testing.results import result

from .fakes import calls, install

RUN_FILES = ("log.txt", "outcome.json", "request.json", "result.json", "scores.npz")


@pytest.fixture
def drawn():
    """Asked for by the tests that look at the figures."""


@pytest.fixture
def site(tmp_path, monkeypatch, request):
    """A folder on the path of this process and of the methods'; and an empty working folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.chdir(tmp_path)
    if "drawn" not in request.fixturenames:  # drawing takes longer than everything else
        for name in ("roc", "histograms"):
            monkeypatch.setattr(page.plots, name, lambda *_: PNG_SIGNATURE)
    return folder


def bench(*arguments):
    return command.main(["--ood", "gaussian,uniform", "--output-dir", "out", *arguments])


# Which methods


def test_a_package_with_an_entry_point_is_found(site):
    install(site, "fake_a")
    assert methods.installed()["fake_a"] == "fake_a.bench"


def test_a_mistyped_method_is_answered_with_the_nearest(site, capsys):
    install(site, "fake_a")
    assert bench("--methods", "fakea") == 2
    assert "--methods `fakea` is not known. Did you mean `fake_a`?" in capsys.readouterr().err


def test_without_any_method_one_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods.metadata, "entry_points", lambda **_: ())
    assert bench() == 2
    assert "No method is installed" in capsys.readouterr().err


def test_all_installed_methods_run_when_none_is_named(site, monkeypatch):
    both = [install(site, name) for name in ("fake_b", "fake_a")]
    monkeypatch.setattr(methods, "installed", lambda: {"fake_b": "fake_b.bench", "fake_a": "fake_a.bench"})
    monkeypatch.setattr(methods, "_has_library", lambda: False)  # the baselines would train
    monkeypatch.setattr(methods, "OURS", ())  # and so would the fused detector
    assert bench() == 0
    assert [len(calls(package)) for package in both] == [1, 1]


def test_methods_come_by_name(site):
    for name in ("fake_a", "fake_c", "fake_b"):
        install(site, name, behaviours=())
    assert [name for name in methods.installed() if name.startswith("fake")] == ["fake_a", "fake_b", "fake_c"]


def test_a_distribution_name_with_dashes_is_accepted(site):
    install(site, "fake_a")
    assert [(one.name, one.module) for one in methods.choose(["fake-a"])] == [("fake_a", "fake_a.bench")]


# A run


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


def test_the_report_refers_to_nothing_outside_and_holds_every_section(site, tmp_path, drawn):
    for name in ("fake_a", "fake_b"):
        install(site, name)
    bench("--methods", "fake_a,fake_b")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert headings[:4] == ["Verdict", "Leaderboard", "What is caught", "AUROC side by side"]
    assert headings[4:6] == ["Accuracy and cost", "ROC: near"]
    assert {"ROC: far", "Scores: fake_a", "Scores: fake_b", "Every OOD set", "Other metrics"} <= set(headings)
    assert headings.index("ROC: near") < headings.index("Scores: fake_a") < headings.index("How it was run")
    assert "95 % bootstrap interval over test images only" in text
    assert "share of ID flagged at the threshold that catches 95 % of OOD" in text
    assert text.count("data:image/png;base64,") == 4


def test_from_one_training_no_p_is_told_and_no_interval_but_over_images_only(site, tmp_path, capsys, drawn):
    for name in ("fake_a", "fake_b"):
        install(site, name, behaviours=("ok", "ok"))
    bench("--methods", "fake_a,fake_b")
    once, printed = (tmp_path / "out" / "report.html").read_text(), capsys.readouterr().out
    bench("--methods", "fake_a,fake_b", "--seeds", "2")
    twice = (tmp_path / "out" / "report.html").read_text()
    assert "how much a training varies is not known; run --seeds 3" in once
    assert "how much a training varies is not known; run --seeds 3" in " ".join(printed.split())
    assert "over trainings" not in once
    assert "over trainings" in twice
    assert "how much a training varies" not in twice
    for words, there in ((once, False), (twice, True)):
        board = words[words.index("Leaderboard</h2>") : words.index("What is caught</h2>")]
        assert (">p\N{NO-BREAK SPACE}↑<" in board) is there
        assert (re.search(r"\[\d", board) is not None) is there


def test_the_verdict_ends_the_run_and_stands_in_the_results_and_first_in_the_report(
    site, tmp_path, capsys, drawn, monkeypatch
):
    package = install(site, "fake_a")
    monkeypatch.delenv("UV", raising=False)
    (package / "stash-0" / MODEL).write_bytes(b"a detector")
    assert bench("--methods", "fake_a") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  ood-detect score out/fake_a/seed-0/model.ood ./new_images --csv out.csv"
    verdict = json.loads((tmp_path / "out" / "results.json").read_text())["verdict"]
    assert (verdict["method"], verdict["file"], verdict["alarm_rate"]) == ("fake_a", "fake_a/seed-0/model.ood", 0.05)
    assert verdict["command"] == last.strip()
    assert list(verdict["caught"]) == ["near", "far"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.index("Verdict</h2>") < text.index(last.strip()) < text.index("1 of 1 runs finished")


def test_without_a_file_the_verdict_names_none(site, tmp_path, capsys):
    install(site, "fake_a")
    bench("--methods", "fake_a")
    verdict = json.loads((tmp_path / "out" / "results.json").read_text())["verdict"]
    assert (verdict["method"], verdict["file"], verdict["command"]) == ("fake_a", None, None)
    assert "model.ood" not in capsys.readouterr().out


def test_when_nothing_finished_there_is_no_verdict(site, tmp_path, capsys):
    install(site, "fake_a", behaviours=("fail",))
    bench("--methods", "fake_a")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["verdict"] is None
    assert "Verdict" not in capsys.readouterr().out


def test_a_single_method_has_one_roc_figure_with_every_set(site, tmp_path, drawn):
    install(site, "fake_a")
    bench("--methods", "fake_a")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", (tmp_path / "out" / "report.html").read_text())
    assert [heading for heading in headings if heading.startswith("ROC")] == ["ROC: fake_a"]


def test_names_in_the_report_are_escaped(site, tmp_path, drawn):
    install(site, "fake_a", ood=("<b>", "$x_{"))
    assert bench("--methods", "fake_a") == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


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


# Failures


def test_one_failing_method_does_not_stop_the_others(site, tmp_path, capsys):
    install(site, "fake_a", behaviours=("fail",))
    install(site, "fake_b")
    assert bench("--methods", "fake_a,fake_b") == 1
    captured = capsys.readouterr()
    assert "exit status 1" in captured.err
    assert "out/fake_a/seed-0/log.txt" in captured.err
    assert "line 29\n      boom: <b>out of memory</b>" in captured.err
    assert "line 3\n" not in captured.err
    assert "fake_b" in captured.out
    runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert [run["status"] for run in runs] == ["failed", "done"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Failed: fake_a, seed 0" in text
    assert "boom: &lt;b&gt;out of memory" in text


def test_when_every_method_fails_the_report_says_why(site, tmp_path):
    install(site, "fake_a", behaviours=("fail",))
    assert bench("--methods", "fake_a") == 1
    assert "0 of 1 runs finished" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("behaviour", "said"), [("broken", "result.json is not valid JSON"), ("silent", "result.json is missing")]
)
def test_a_method_without_a_valid_result_has_failed(site, capsys, behaviour, said):
    install(site, "fake_a", behaviours=(behaviour,))
    assert bench("--methods", "fake_a") == 1
    assert said in capsys.readouterr().err


def test_a_result_of_an_earlier_run_does_not_pass_for_a_new_one(site):
    package = install(site, "fake_a")
    assert bench("--methods", "fake_a") == 0
    (package / "behaviour-0.txt").write_text("silent")
    assert bench("--methods", "fake_a") == 1


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_pictures_of_an_earlier_result_do_not_outlive_it(site, flags):
    package = install(site, "fake_a")
    assert bench("--methods", "fake_a") == 0
    folder = Path("out/fake_a/seed-0")
    (folder / PICTURES).write_bytes(b"of the earlier result")
    (folder / "result.json").unlink()
    (package / "behaviour-0.txt").write_text("silent")
    assert bench("--methods", "fake_a", *flags) == 1
    assert not (folder / PICTURES).exists()


def test_a_result_of_another_method_is_refused(site, capsys):
    package = install(site, "fake_a")
    schema.write_result(package / "stash-0", *result("other", 0))
    assert bench("--methods", "fake_a") == 1
    assert "is of other, seed 0; expected fake_a, seed 0" in capsys.readouterr().err


def test_a_module_that_is_not_there_is_a_failure_of_that_method(site, capsys):
    package = install(site, "fake_a")
    (package / "bench.py").unlink()
    assert bench("--methods", "fake_a") == 1
    assert "No module named fake_a.bench" in capsys.readouterr().err


# Resuming


def test_resume_keeps_what_is_finished_and_resumes_the_rest(site):
    package = install(site, "fake_a", behaviours=("ok", "fail"))
    assert bench("--methods", "fake_a", "--seeds", "0,1", "--jobs", "1") == 1
    (package / "behaviour-1.txt").write_text("ok")
    assert bench("--methods", "fake_a", "--seeds", "0,1", "--jobs", "1", "--resume") == 0
    assert len(calls(package)) == 3
    assert calls(package)[2] == [*calls(package)[1], "--resume"]


def test_resume_with_another_request_starts_anew(site):
    package = install(site, "fake_a")
    bench("--methods", "fake_a")
    assert bench("--methods", "fake_a", "--budget", "quick", "--resume") == 0
    assert len(calls(package)) == 2
    assert "--resume" not in calls(package)[1]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--id", "digitss"], "--id: data set `digitss` is not known. Did you mean `digits`?"),
        (["--ood", "texturs,faces"], "Did you mean `textures`?"),
        (["--id", "./nowhere"], "--id ./nowhere is missing"),
        (["--ood", "faces,,photos"], "separated by single commas"),
        (["--ood", "faces,faces"], "different names"),
        (["--seeds", "0,x"], "`x` is not a seed"),
        (["--seeds", "2", "--seed", "1"], "not allowed with"),
        (["--seeds", "0"], "`0` is not a number of seeds from 1 to 1000. --seed 0 runs once with that seed"),
        (["--seeds", "3,3"], "different names"),
        (["--budget", "fast"], "--budget `fast` is not known"),
        (["--launcher", "cluster"], "--launcher `cluster` is not known. Known: local, slurm."),
        (["--slurm", "mem=8G"], "--slurm mem=8G is for --launcher slurm, but the launcher is local."),
    ],
)
def test_bad_input_is_one_line_and_status_2(site, capsys, arguments, said):
    install(site, "fake_a")
    try:
        status = command.main(["--methods", "fake_a", "--output-dir", "out", *arguments])
    except SystemExit as end:
        status = end.code
    errors = capsys.readouterr().err
    assert status == 2
    assert said in errors
    assert errors.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("flag", ["--help", "--budgett=smoke"])
def test_flags_are_answered_without_torch(flag):
    code = f"import sys\nfrom ood_bench.command import main\ntry:\n    main(['{flag}'])\nfinally:\n"
    code += "    print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "False", ended.stderr


def test_a_name_that_nothing_is_near_to_is_refused_too(capsys):
    assert command.main(["--ood", "svhn_cropped_by_me"]) == 2
    assert "--ood: data set `svhn_cropped_by_me` is not known. Known:" in capsys.readouterr().err


# Signals


def processes_of(site, number):
    program = [sys.executable, "-m", "ood_bench", "--methods", "fake_a", "--output-dir", "out"]
    with ctrl_c_is_heard():
        started = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    pid_file, patience = site / "fake_a" / "pid.txt", time.monotonic() + 60
    while not pid_file.exists():
        assert started.poll() is None, started.stderr.read()
        assert time.monotonic() < patience
        time.sleep(0.05)
    started.send_signal(number)
    _, errors = started.communicate(timeout=30)
    return started.returncode, errors, int(pid_file.read_text())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the state of a process from /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_method_and_all_that_it_started(site, number, status):
    install(site, "fake_a", behaviours=("sleep",))
    returned, errors, grandchild = processes_of(site, number)
    assert returned == status, errors
    assert "Traceback" not in errors
    assert not is_alive(grandchild)


def test_a_method_that_ends_by_a_signal_is_described_by_it():
    assert processes.describe(-signal.SIGKILL) == "ended by SIGKILL"
    assert processes.describe(3) == "exit status 3"


def test_what_a_progress_bar_overwrites_is_left_out_of_the_last_lines(tmp_path):
    (tmp_path / "log.txt").write_text("$ python\nstart\r 10 %\r 100 %\n\nend\n")
    assert processes.last_lines(tmp_path / "log.txt") == [" 100 %", "end"]


# Words


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


def test_choose_keeps_the_order_of_the_request(site):
    for name in ("fake_a", "fake_b"):
        install(site, name)
    assert [one.name for one in methods.choose(["fake_b", "fake_a"])] == ["fake_b", "fake_a"]
    with pytest.raises(InputError):
        methods.choose(["fake_c"])


def test_windows_is_refused_in_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.sys, "platform", "win32")
    assert command.main(["--output-dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines() == [f"ood-bench: error: {command.NO_WINDOWS}"]
    assert not (tmp_path / "out").exists()
