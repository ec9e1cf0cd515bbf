"""The flags of `ood-bench --launcher slurm`; the jobs themselves are tested in `slurm/`, on a cluster."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ood_bench import command, launchers, slurm_queue
from ood_bench.settings import Comparison
from ood_bench.slurm_queue import State, read_options
from ood_shared.testing.commands import clean_environment, is_alive, wait_until

from .fakes import install

# Ends well only when another of its kind runs at the same time; says how many threads it has.
TOGETHER = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent.parent
out = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
(here / f"met-{pathlib.Path(__file__).parent.name}").touch()
for _ in range(600):
    if len(list(here.glob("met-*"))) == 2:
        break
    time.sleep(0.05)
else:
    sys.exit("alone")
(here / "threads.txt").write_text(os.environ["OMP_NUM_THREADS"])
for name in ("scores.npz", "result.json"):
    (out / name).write_bytes((pathlib.Path(__file__).parent / "stash-0" / name).read_bytes())
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    install(folder, "fake_a")
    return folder


def one_line(capsys, *arguments):
    assert command.main(["--methods", "fake_a", "--output-dir", "out", "--launcher", "slurm", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_options_go_to_sbatch_as_they_are():
    words = ["partition=gpu", "--gres=gpu:1", "exclude=n1,n2", "exclusive"]
    assert read_options(words, "smoke")["additional_parameters"] == {
        "cpus-per-task": 2,
        "requeue": True,
        "partition": "gpu",
        "gres": "gpu:1",
        "exclude": "n1,n2",
        "exclusive": True,
    }


def test_a_user_may_keep_slurm_from_queueing_a_job_again():
    assert "requeue" not in read_options(["no-requeue"], "smoke")["additional_parameters"]


@pytest.mark.parametrize(
    ("words", "budget", "minutes"),
    [
        ([], "smoke", 30),
        ([], "full", 1440),
        (["time=90"], "smoke", 90),
        (["time=10:30"], "smoke", 11),
        (["time=2:00:00"], "smoke", 120),
        (["time=1-12"], "smoke", 2160),
        (["time=1-12:30"], "smoke", 2190),
        (["time=1-12:30:01"], "smoke", 2191),
    ],
)
def test_the_time_limit_is_read_as_sbatch_does_and_has_a_default_for_every_budget(words, budget, minutes):
    assert read_options(words, budget)["time"] == minutes


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("mem 8G", "`mem 8G` is not an option of sbatch by its long name"),
        ("p=gpu", "`p=gpu` is not an option of sbatch"),
        ("output=log.txt", "ood-bench settles output itself"),
        ("time=soon", "time=soon is not a time of sbatch"),
        ("time=0:30", "is less than a minute"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(site, capsys, word, said):
    assert said in one_line(capsys, "--slurm", word)


def test_without_sbatch_one_line_says_so(site, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "--launcher slurm needs `sbatch`, which is not found" in one_line(capsys)


def test_without_submitit_one_line_names_the_extra(site, capsys, monkeypatch):
    find = launchers.util.find_spec
    monkeypatch.setattr(launchers.util, "find_spec", lambda name: None if name == "submitit" else find(name))
    assert "needs submitit, which is not installed: pip install submitit (extra `slurm` of ood-bench)" in one_line(
        capsys
    )


def test_a_cluster_that_does_not_answer_is_one_line(site, capsys, monkeypatch, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (programs / name).write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    assert "the cluster does not answer squeue: slurm_load_jobs error: Unable to contact" in one_line(capsys)
    assert slurm_queue.ask() is None


@pytest.mark.parametrize(
    ("code", "started", "lost"),
    [
        ("NODE_FAIL", False, True),
        ("PREEMPTED", True, True),
        ("GONE", False, True),
        ("FAILED", True, True),  # without a result: what a method does wrong comes back as one
        ("TIMEOUT", True, True),
        ("FAILED", False, False),  # the job's Python did not come up
        ("CANCELLED", True, False),
        ("OUT_OF_MEMORY", True, False),
    ],
)
def test_only_what_the_cluster_lost_is_submitted_again(code, started, lost):
    slurm = pytest.importorskip("ood_bench.slurm", reason="submitit is not installed")
    assert slurm._is_lost(State(code), started) == lost


def test_a_state_is_said_with_its_node_or_the_reason_for_waiting():
    assert str(State("RUNNING", "n1", "None")) == "RUNNING (n1)"
    assert str(State("PENDING", "", "Resources")) == "PENDING (Resources)"
    assert str(State("PENDING", "", "None")) == "PENDING"


def test_nothing_is_written_where_the_cluster_is_missing(site, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "/nowhere")
    one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "given", "cores", "threads"),
    [
        ((), None, 2, "1"),
        ((), "3", 6, "3"),
        (("--jobs", "2"), None, 1, "1"),
        (("--jobs", "2", "--threads", "4"), "3", 4, "4"),
        (("--jobs", "2"), " 8,2", 2, "2"),
    ],
)
def test_runs_go_side_by_side_with_threads_that_do_not_depend_on_the_cores(
    site, monkeypatch, capsys, flags, given, cores, threads
):
    for name in ("fake_b", "fake_c"):
        install(site, name, bench=TOGETHER)
    monkeypatch.setattr(launchers, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setenv("PYTHONPATH", str(site))
    words = ["--methods", "fake_b,fake_c", "--ood", "gaussian", "--output-dir", "out", "--device", "cpu"]
    assert command.main([*words, *flags]) == 0, capsys.readouterr().err
    report = json.loads(Path("out/results.json").read_text())
    assert [run["method"] for run in report["runs"]] == ["fake_b", "fake_c"]
    assert "Runs went side by side: the times of the methods do not compare." in report["settings"]["notes"]
    assert (report["settings"]["jobs"], report["settings"]["threads"]) == (2, int(threads))
    assert (site / "threads.txt").read_text() == threads


@pytest.mark.parametrize(
    ("flags", "given", "said"),
    [
        ((), "abc", "OMP_NUM_THREADS is `abc`; expected a number from 1"),
        ((), "0", "OMP_NUM_THREADS is `0`"),
        (("--threads", "3"), "1", "--threads 3: this process has 2 core(s). Pass at most 2."),
    ],
)
def test_threads_that_cannot_be_are_one_line_before_anything_runs(site, monkeypatch, capsys, flags, given, said):
    monkeypatch.setattr(launchers, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    words = ["--methods", "fake_a", "--ood", "gaussian", "--output-dir", "out", "--device", "cpu", *flags]
    assert command.main(words) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_run_with_other_threads_is_not_kept_and_a_note_on_times_is(site, monkeypatch, capsys):
    install(site, "fake_b")
    monkeypatch.setattr(launchers, "cpu_count", lambda: 2)
    monkeypatch.setenv("PYTHONPATH", str(site))
    words = ["--methods", "fake_a,fake_b", "--ood", "gaussian", "--output-dir", "out", "--device", "cpu"]
    assert command.main([*words, "--threads", "1"]) == 0
    capsys.readouterr()
    assert command.main([*words, "--threads", "1", "--jobs", "1", "--resume"]) == 0
    assert capsys.readouterr().err.count("finished before, kept") == 2
    notes = json.loads(Path("out/results.json").read_text())["settings"]["notes"]
    assert "Runs went side by side: the times of the methods do not compare." in notes
    assert command.main([*words, "--threads", "2", "--resume"]) == 0
    assert "kept" not in capsys.readouterr().err
    report = json.loads(Path("out/results.json").read_text())["settings"]
    assert (report["threads"], report["jobs"]) == (2, 1)
    assert not [note for note in report["notes"] if "side by side" in note]


@pytest.mark.parametrize(
    ("device", "cores", "runs", "expected"),
    [("cpu", 64, 9, 4), ("cpu", 64, 2, 2), ("cpu", 1, 9, 1), ("cuda", 64, 9, 1)],
)
def test_as_many_runs_at_a_time_as_there_is_room_for(monkeypatch, device, cores, runs, expected):
    monkeypatch.setattr(launchers, "cpu_count", lambda: cores)
    monkeypatch.setattr(launchers, "resolve_device", torch.device)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = Comparison.from_options(command._parser().parse_args(["--device", device]))
    found = launchers.settled(asked, runs)
    assert (found.jobs, found.threads) == (expected, 1 if device == "cpu" else None)


def test_all_that_go_side_by_side_end_with_the_program(site, monkeypatch):
    packages = [install(site, name, ("sleep",)) for name in ("fake_b", "fake_c")]
    words = ["-m", "ood_bench", "--methods", "fake_b,fake_c", "--ood", "gaussian", "--output-dir", "out", "--jobs", "2"]
    environment = clean_environment(PYTHONPATH=str(site))
    started = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_until(lambda: all((package / "pid.txt").exists() for package in packages), patience=90)
        below = [int((package / "pid.txt").read_text()) for package in packages]
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=60) == 143
        wait_until(lambda: not any(is_alive(process) for process in below))
    finally:
        if started.poll() is None:
            os.kill(started.pid, signal.SIGKILL)


def test_a_cluster_takes_no_number_of_jobs(site, capsys):
    assert "--jobs is for --launcher local" in one_line(capsys, "--jobs", "1")
