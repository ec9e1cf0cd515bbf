"""Kills at random points, `--resume`, and who may write to a folder."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ood_bench import command, comparison, conclusion, jobs
from ood_shared import locks
from ood_shared.testing.commands import clean_environment, is_alive, wait_until

from .fakes import calls, install

ROUNDS = Path(__file__).parent / "kill_rounds.py"
METHODS, SEEDS, TIMES = ("fake_a", "fake_b", "fake_c"), 2, 5

# In steps that survive a kill; it notes in `wrong.txt` what must not happen to a method.
STEPWISE = """
import argparse, fcntl, pathlib, shutil, signal, sys, time

parser = argparse.ArgumentParser()
for flag in ("id", "ood", "seed", "budget", "output-dir", "novel-classes"):
    parser.add_argument(f"--{flag}")
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()
here, out = pathlib.Path(__file__).parent, pathlib.Path(options.output_dir)

def note(file, text):
    with (here / file).open("a") as notes:
        notes.write(f"{out.parts[0]} {options.seed} {text}\\n")

mine = open(out / "mine", "w")
try:
    fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("wrong.txt", "two at once")
if (out / "result.json").exists():
    note("wrong.txt", "started although finished")
steps = out / "steps"
if steps.exists() and not options.resume:
    note("wrong.txt", "not told to resume")
done = len(steps.read_text()) if steps.exists() else 0
for step in range(done, 4):
    time.sleep(0.03)
    with steps.open("a") as file:
        file.write(".")
stash = here / f"stash-{options.seed}"
for name in ("scores.npz", "result.json"):
    shutil.copy(stash / name, out / f"{name}.part")
    (out / f"{name}.part").rename(out / name)
note("finished.txt", "finished")
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conclusion.page, "sections", lambda *_, **__: [])
    return folder


def bench(*arguments):
    return command.main(["--methods", "fake_a", "--ood", "gaussian", "--output-dir", "out", *arguments])


def without_times(path):
    found = json.loads(path.read_text())
    for name in ("finished", "command_line"):
        found.pop(name)
    for run in found["runs"]:
        run.pop("seconds")
    return found


@pytest.mark.slow
def test_killed_at_random_points_and_resumed_no_finished_result_is_lost_run_again_or_doubled(site, tmp_path):
    packages = [install(site, name, ("ok",) * SEEDS, STEPWISE) for name in METHODS]
    words = ["--methods", ",".join(METHODS), "--ood", "gaussian", "--seeds", str(SEEDS)]
    command_line = [sys.executable, str(ROUNDS), "1", str(TIMES), *words]
    ended = subprocess.run(command_line, env=clean_environment(), capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    found, said = json.loads(ended.stdout), Path("attempts.txt").read_text()

    assert [found["calm"], *(one["statuses"][-1] for one in found["rounds"])] == [0] * TIMES, said
    statuses = {status for one in found["rounds"] for status in one["statuses"]}
    assert -signal.SIGKILL in statuses, found
    assert statuses <= {0, 143, -signal.SIGKILL, -signal.SIGTERM}, found  # the last: before it was ready to be stopped
    assert [one["changed"] for one in found["rounds"]] == [[]] * (TIMES - 1)
    for package in packages:
        wrong = package / "wrong.txt"
        assert not wrong.exists(), (wrong.read_text(), found)
        noted = (package / "finished.txt").read_text().splitlines()  # a kill may come between a result and its note
        assert len(set(noted)) == len(noted), found
    for number in range(1, TIMES):
        folder = Path(f"out-{number}")
        assert without_times(folder / "results.json") == without_times(Path("out-0/results.json"))
        for name in ("leaderboard.json", "leaderboard.csv"):
            assert (folder / name).read_bytes() == Path("out-0", name).read_bytes()
    assert "Traceback" not in said


def test_a_second_ood_bench_in_the_same_folder_is_one_line_and_status_2(site, capsys, monkeypatch):
    package = install(site, "fake_a")
    monkeypatch.setattr(comparison, "LOCK_SECONDS", 0.1)
    with locks.held(Path("out"), 0):
        assert bench() == 2
        said = capsys.readouterr().err
        assert re.fullmatch(r"ood-bench: error: out is in use by another ood-bench [^\n]*process \d+ on [^\n]*\n", said)
        assert not (package / "calls.txt").exists()
    assert bench() == 0


def test_a_folder_is_free_once_its_holder_has_ended(tmp_path):
    with locks.held(tmp_path, 0):
        pass
    with locks.held(tmp_path, 0), pytest.raises(locks.Busy), locks.held(tmp_path, 0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_that_wait_has_a_folder_at_a_time(tmp_path):
    inside, most = [], []

    def take():
        for _ in range(20):
            with locks.held(tmp_path, 30):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    monkeys = [threading.Thread(target=take) for _ in range(6)]
    for one in monkeys:
        one.start()
    for one in monkeys:
        one.join()
    assert (len(most), max(most)) == (120, 1)


def test_a_method_that_still_writes_is_waited_for(site):
    install(site, "fake_a")
    taken = threading.Event()

    def write():
        with locks.held(Path("out/fake_a/seed-0"), 0):
            taken.set()
            time.sleep(0.5)
            ended.append(True)

    ended = []
    other = threading.Thread(target=write)
    other.start()
    taken.wait()
    assert bench() == 0
    assert ended
    other.join()


# What is left when ood-bench is killed


@pytest.fixture
def sleeping(site):
    """An ood-bench with a method that sleeps: its process, and that of a process that the method has started."""
    package = install(site, "fake_a", behaviours=("sleep",))
    words = ["-m", "ood_bench", "--methods", "fake_a", "--ood", "gaussian", "--output-dir", "out"]
    started = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL, env=clean_environment())
    wait_until((package / "pid.txt").exists)
    below = int((package / "pid.txt").read_text())
    group = os.getpgid(below)
    yield started, below
    started.kill()
    started.wait()
    if is_alive(below):
        os.killpg(group, signal.SIGKILL)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the state of a process from /proc")


@needs_proc
def test_a_killed_ood_bench_takes_the_method_and_all_that_it_started_with_it(sleeping):
    started, below = sleeping
    started.kill()
    started.wait()
    wait_until(lambda: not is_alive(below))
    with locks.held(Path("out/fake_a/seed-0"), 10):
        pass


@needs_proc
def test_a_method_that_outlives_everything_keeps_its_folder(site, sleeping, monkeypatch, capsys):
    started, below = sleeping
    guard = os.getpgid(below)
    os.kill(guard, signal.SIGKILL)
    started.kill()
    started.wait()
    monkeypatch.setattr(jobs, "PATIENCE_SECONDS", 0.2)
    assert bench("--resume") == 1
    said = capsys.readouterr().err
    assert "out/fake_a/seed-0 is in use by another ood-bench or a method of it" in said
    assert "Traceback" not in said
    assert is_alive(below)
    os.killpg(guard, signal.SIGKILL)
    (site / "fake_a" / "behaviour-0.txt").write_text("ok")
    monkeypatch.setattr(jobs, "PATIENCE_SECONDS", 10)
    assert bench("--resume") == 0
    first, second = calls(site / "fake_a")
    assert second == [*first, "--resume"]


# What a new request finds


def test_nothing_of_another_request_is_left_for_resume_to_continue(site):
    """Killed before its first checkpoint, a run must not continue from that of the request before it."""
    package = install(site, "fake_a", behaviours=("ok",))
    assert bench() == 0
    Path("out/fake_a/seed-0/checkpoint.pt").write_text("of budget smoke")
    (package / "behaviour-0.txt").write_text("silent")
    assert bench("--budget", "quick") == 1
    assert not Path("out/fake_a/seed-0/checkpoint.pt").exists()
    assert "--resume" not in calls(package)[1]


def test_files_that_are_not_of_ood_bench_stay(site):
    install(site, "fake_a")
    other = Path("out/fake_a/seed-0/notes.txt")
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert bench() == 0
    assert other.read_text() == "mine"


def test_a_kept_result_keeps_its_seconds(site):
    install(site, "fake_a")
    bench()
    first = json.loads(Path("out/results.json").read_text())["runs"][0]["seconds"]
    bench("--resume")
    assert json.loads(Path("out/results.json").read_text())["runs"][0]["seconds"] == first > 0


def test_a_file_system_without_locks_is_said_once_per_folder(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.held(tmp_path, 0):
        pass
    assert capsys.readouterr().err.startswith(f"warning: {tmp_path} is on a file system without locks")
