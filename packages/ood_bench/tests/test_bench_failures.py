"""Methods of `ood-bench` that fail, leave no result, or are ended by a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ood_bench import processes
from ood_shared.results import record as schema
from ood_shared.results.schema import PICTURES
from ood_shared.signals import Terminated, raise_on_sigterm
from ood_shared.testing.commands import ctrl_c_is_heard, is_alive
from ood_shared.testing.results import result

from .fakes import bench, install


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


class Watched(subprocess.Popen):
    """A process at whose first look a signal arrives; it knows how many looks came to their end, and after it died."""

    looks, begun = 0, 0

    def poll(self):
        self.begun += 1
        if self.args[-1] == "30" and self.begun == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        found = super().poll()
        self.looks += 1
        return found


def test_a_signal_is_heard_between_two_looks_at_a_process_and_not_inside_of_one(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda *words, **more: made.append(Watched(*words, **more)) or made[-1]
    )
    with raise_on_sigterm(), pytest.raises(Terminated):
        processes.run(["sleep", "30"], tmp_path / "log.txt")
    assert made[1].looks == made[1].begun > 1
    assert made[1].returncode == -signal.SIGTERM


def test_a_method_that_ends_by_a_signal_is_described_by_it():
    assert processes.describe(-signal.SIGKILL) == "ended by SIGKILL"
    assert processes.describe(3) == "exit status 3"


def test_what_a_progress_bar_overwrites_is_left_out_of_the_last_lines(tmp_path):
    (tmp_path / "log.txt").write_text("$ python\nstart\r 10 %\r 100 %\n\nend\n")
    assert processes.last_lines(tmp_path / "log.txt") == [" 100 %", "end"]
