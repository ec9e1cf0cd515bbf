"""`ood-bench --launcher slurm` on a real cluster of two nodes, which `start.sh` makes on this machine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from ood_bench import command, conclusion, slurm_queue
from ood_shared.testing import commands
from ood_shared.testing.commands import clean_environment

from ..fakes import calls, install

slurm = pytest.importorskip("ood_bench.slurm", reason="submitit is not installed")

HERE = Path(__file__).parent
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
ABSENT = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(ABSENT), reason=f"SLURM is not installed (slurm-wlm, munge): no {', '.join(ABSENT)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="starting a SLURM cluster needs root"),
]
PATIENCE = 120.0
wait_until = partial(commands.wait_until, patience=PATIENCE, pause=0.1)

# Runs until the file `go` is there, and leaves a result then.
WAITING = """
import json, pathlib, shutil, sys, time

here = pathlib.Path(__file__).parent
out, seed = (sys.argv[sys.argv.index(flag) + 1] for flag in ("--output-dir", "--seed"))
with (here / "calls.txt").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
for _ in range(1000):
    if (here / "go").exists():
        break
    time.sleep(0.1)
for file in (here / f"stash-{seed}").iterdir():
    shutil.copy(file, pathlib.Path(out) / file.name)
"""


@pytest.fixture(scope="module")
def cluster():
    """The folder of a running cluster."""
    folder = Path(tempfile.mkdtemp(prefix="ood", dir="/tmp")) / "c"  # short: it holds sockets
    folder.parent.chmod(0o755)  # another user runs munged
    started = subprocess.run(["bash", str(HERE / "start.sh"), str(folder)], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    yield folder
    subprocess.run(["bash", str(HERE / "stop.sh"), str(folder)], check=True)
    folder.parent.rmdir()


@pytest.fixture
def site(cluster, tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("SLURM_CONF", str(cluster / "slurm.conf"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conclusion.page, "sections", lambda *_, **__: [])
    monkeypatch.setattr(slurm, "QUEUE_SECONDS", 0.5)
    monkeypatch.setattr(slurm, "SETTLE_SECONDS", 3.0)
    yield folder
    subprocess.run(["scancel", "--user", "root"])
    for node in ("n1", "n2"):
        if not is_running(int((cluster / f"slurmd-{node}.pid").read_text())):
            subprocess.run(["slurmd", "-N", node], check=True)
    wait_until(lambda: not any(map(slurm_queue.goes_on, (slurm_queue.ask() or {}).values())))
    wait_until(lambda: run("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == "2")


def bench(*arguments, output="out", launcher="slurm"):
    return command.main(["--ood", "gaussian", "--output-dir", output, "--launcher", launcher, *arguments])


def run(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout


@contextlib.contextmanager
def meanwhile(act):
    """Run `act` beside the block, an `ood-bench` here; what it raises ends that and is raised after it."""
    wrong = []

    def guarded():
        try:
            act()
        except BaseException as error:
            wrong.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    beside = threading.Thread(target=guarded)
    beside.start()
    yield
    beside.join()
    if wrong:
        raise wrong[0]


def results(folder="out"):
    return json.loads((Path(folder) / "results.json").read_text())


def starts(name, seed=0):
    path = Path(f"out/{name}/seed-{seed}/starts.json")
    return json.loads(path.read_text()) if path.exists() else []


def calls_of(package):
    return calls(package) if (package / "calls.txt").exists() else []


def started(package, times):
    return lambda: len(calls_of(package)) >= times


def is_running(process):
    return Path(f"/proc/{process}").exists()


def kill_node(cluster, node, job):
    """End a node as when its power fails: its daemon, and all that the job runs on it, at once."""
    roots = [int((cluster / f"slurmd-{node}.pid").read_text())]
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if (process / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}.".encode()):
                roots.append(int(process.name))
    assert len(roots) > 1
    below, new = set(roots), set(roots)
    while new:
        new = {child for child, parent in parents.items() if parent in below} - below
        below |= new
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in (*roots, *(below - set(roots))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def hurry(job):
    """SLURM lets a job that it queued again wait for two minutes; an administrator need not."""
    wait_until(lambda: (slurm_queue.ask() or {}).get(job, slurm_queue.State("GONE")).reason == "BeginTime")
    subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], check=True)


def without_times(found):
    settings = {name: value for name, value in found["settings"].items() if name not in SETTLED}
    runs = [{name: value for name, value in one.items() if name != "seconds"} for one in found["runs"]]
    return settings, runs, found["summary"]


SETTLED = ("launcher", "slurm", "retries", "started again", "threads")  # a job of a cluster takes what it is given


def test_the_grid_completes_over_both_nodes_with_the_results_of_a_local_one(site):
    for name in ("fake_a", "fake_b"):
        install(site, name, behaviours=("ok", "ok"))
    flags = ("--methods", "fake_a,fake_b", "--seeds", "2")
    assert bench(*flags) == 0
    assert {start["node"] for name in ("fake_a", "fake_b") for seed in (0, 1) for start in starts(name, seed)} == {
        "n1",
        "n2",
    }
    assert bench(*flags, "--jobs", "1", output="local", launcher="local") == 0
    assert without_times(results()) == without_times(results("local"))
    assert Path("out/leaderboard.json").read_bytes() == Path("local/leaderboard.json").read_bytes()
    assert results()["settings"]["retries"] == "at most 3, of a run whose job is lost"
    assert bench(*flags, "--resume") == 0
    assert len(calls(site / "fake_a")) == 4  # two of them local


def test_a_failing_method_is_reported_as_a_local_one_and_not_tried_again(site, capsys):
    install(site, "fake_a", behaviours=("fail",))
    install(site, "fake_b")
    assert bench("--methods", "fake_a,fake_b") == 1
    assert "line 29\n      boom: <b>out of memory</b>" in capsys.readouterr().err
    failed, done = results()["runs"]
    assert (failed["status"], failed["attempts"], done["status"]) == ("failed", 1, "done")
    assert failed["failure"][0] == "exit status 1"
    assert len(calls(site / "fake_a")) == 1


@pytest.mark.parametrize("who", ["slurm", "ood-bench"])
def test_a_node_killed_half_way_is_retried_and_the_report_is_complete(site, cluster, who, capsys):
    package = install(site, "fake_a", behaviours=("ok", "ok"), bench=WAITING)
    install(site, "fake_b", behaviours=("ok", "ok"))

    def fail_power():
        wait_until(lambda: any("0" in call for call in calls_of(package)))
        (start,) = starts("fake_a")
        kill_node(cluster, start["node"], start["job"])
        (package / "go").touch()
        if who == "slurm":
            hurry(start["job"])

    with meanwhile(fail_power):
        flags = ["--slurm", "no-requeue"] if who == "ood-bench" else []
        assert bench("--methods", "fake_b,fake_a", "--seeds", "2", *flags) == 0
    found = results()
    first, second = starts("fake_a")
    assert first["node"] != second["node"]
    assert (first["job"] == second["job"]) == (who == "slurm")
    assert [one["status"] for one in found["runs"]] == ["done"] * 4
    assert [one["attempts"] for one in found["runs"]] == [1, 1, 2, 1]
    assert found["settings"]["started again"] == {"fake_a, seed 0": "2 times"}
    assert calls(package)[-1][-1] == "--resume"
    assert ("submitted again" in capsys.readouterr().err) == (who == "ood-bench")


def test_a_preempted_job_is_queued_again_and_continues(site):
    package = install(site, "fake_a", bench=WAITING)

    def preempt():
        wait_until(started(package, 1))
        job = starts("fake_a")[0]["job"]
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        hurry(job)
        (package / "go").touch()

    with meanwhile(preempt):
        assert bench("--methods", "fake_a") == 0
    assert [call[-1] for call in calls(package)] == ["out/fake_a/seed-0", "--resume"]
    assert results()["runs"][0]["attempts"] == 2


def test_a_job_that_somebody_cancels_has_failed(site):
    package = install(site, "fake_a", bench=WAITING)

    def interfere():
        wait_until(started(package, 1))
        subprocess.run(["scancel", starts("fake_a")[0]["job"]], check=True)

    with meanwhile(interfere):
        assert bench("--methods", "fake_a") == 1
    assert "CANCELLED" in results()["runs"][0]["failure"][0]
    assert len(calls(package)) == 1


def begin(*arguments):
    words = ["-m", "ood_bench", "--ood", "gaussian", "--output-dir", "out", "--launcher", "slurm", *arguments]
    return subprocess.Popen([sys.executable, *words], env=clean_environment(), stderr=subprocess.PIPE, text=True)


def test_a_stopped_ood_bench_cancels_its_jobs_and_resume_keeps_what_is_finished(site):
    finished, package = install(site, "fake_a"), install(site, "fake_b", bench=WAITING)
    process = begin("--methods", "fake_a,fake_b")
    wait_until(started(package, 1))
    wait_until(lambda: Path("out/fake_a/seed-0/outcome.json").exists())
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    states = slurm_queue.ask()
    assert states[starts("fake_b")[0]["job"]].code == "CANCELLED"
    (package / "go").touch()
    assert bench("--methods", "fake_a,fake_b", "--resume") == 0
    assert len(calls(finished)) == 1
    assert [call[-1] for call in calls(package)] == ["out/fake_b/seed-0", "--resume"]


def test_the_jobs_of_a_killed_ood_bench_go_on_and_resume_takes_them_up(site, capsys):
    package = install(site, "fake_a", bench=WAITING)
    process = begin("--methods", "fake_a")
    wait_until(started(package, 1))
    process.kill()
    process.communicate()

    def go_later():
        time.sleep(3)
        (package / "go").touch()

    with meanwhile(go_later):
        assert bench("--methods", "fake_a", "--resume") == 0
    assert "of an earlier ood-bench is still there, and taken up" in capsys.readouterr().err
    assert len(calls(package)) == 1


def test_another_request_cancels_the_job_that_a_killed_ood_bench_has_left(site):
    package = install(site, "fake_a", bench=WAITING)
    process = begin("--methods", "fake_a")
    wait_until(started(package, 1))
    process.kill()
    process.communicate()
    left = starts("fake_a")[0]["job"]
    with meanwhile(lambda: (wait_until(started(package, 2)), (package / "go").touch())):
        assert bench("--methods", "fake_a", "--budget", "quick", "--resume") == 0
    assert slurm_queue.ask()[left].code == "CANCELLED"
    first, second = calls(package)
    assert ("smoke" in first, "quick" in second, "--resume" in second) == (True, True, False)


def test_what_sbatch_refuses_is_one_line_and_status_2(site, capsys):
    install(site, "fake_a")
    assert bench("--methods", "fake_a", "--slurm", "partition=nowhere") == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "sbatch refuses the job of fake_a, seed 0" in said
    assert "nvalid partition" in said
