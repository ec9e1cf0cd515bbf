"""`tools/lanes.py`: the sessions of all packages side by side, each shown whole, and none lost."""

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ood_shared.testing.modules import module_of

FILE = Path(__file__).parents[2] / "tools" / "lanes.py"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="ood-shared stands here without the tools of the repository")


@pytest.fixture(scope="module")
def tool():
    return module_of(FILE)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import time, pathlib, sys\n{code}"]


def test_two_run_at_a_time_and_each_is_shown_whole(tool, tmp_path, capsys):
    def meets(own: str, other: str) -> list[str]:
        wait = f"while not pathlib.Path({str(tmp_path / other)!r}).exists(): time.sleep(0.01)"
        return python(f"print({own!r}, 1)\npathlib.Path({str(tmp_path / own)!r}).touch()\n{wait}\nprint({own!r}, 2)")

    found = tool.Lanes(2).run({"a": meets("a", "b"), "b": meets("b", "a"), "c": python("sys.exit(3)")})
    assert [(one.name, one.status) for one in found] == [("a", 0), ("b", 0), ("c", 3)]
    printed = capsys.readouterr().out
    assert "a 1\na 2\n" in printed
    assert "b 1\nb 2\n" in printed


def test_what_failed_is_in_the_summary(tool):
    lines = tool.summary([tool.Ended("a", 0, 3.0, ""), tool.Ended("b", 1, 70.0, "")]).splitlines()
    assert [line.split() for line in lines] == [["b", "failed", "(1)", "70", "s"], ["a", "passed", "3", "s"]]


def test_the_sessions_that_run_are_ended_when_a_lane_breaks(tool, monkeypatch):
    started = []
    popen = subprocess.Popen

    def broken(words, **rest):
        if started:
            raise OSError("no more processes")
        started.append(popen(words, **rest))
        return started[0]

    monkeypatch.setattr(tool.subprocess, "Popen", broken)
    begun = time.monotonic()
    with pytest.raises(OSError, match="no more processes"):
        tool.Lanes(2).run({"long": python("time.sleep(60)"), "broken": python("")})
    assert started[0].wait() < 0
    assert time.monotonic() - begun < 30


# Holds a lock for as long as it lives, and cannot be ended by asking.
HOLDER = """
import fcntl, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
pathlib.Path(sys.argv[1] + ".begun").touch()
time.sleep(60)
"""
# The tool, with a session that starts a process of its own and waits for it, as nox starts pytest.
DRIVER = """
import signal, sys
from pathlib import Path
from ood_shared.testing.modules import module_of
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background
tool = module_of(Path(sys.argv[1]))
tool.GRACE_SECONDS = 0.2
session = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sys.argv[2]!r}, {sys.argv[3]!r}])"
tool.command = lambda name, arguments: [sys.executable, "-c", session]
sys.argv = ["lanes.py", "one"]
sys.exit(tool.main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_sessions_and_all_that_they_started(tmp_path, number):
    lock = tmp_path / "lock"
    words = [sys.executable, "-c", DRIVER, str(FILE), HOLDER, str(lock)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
        while not Path(f"{lock}.begun").exists():
            assert tool.poll() is None, tool.communicate()
            time.sleep(0.01)
        tool.send_signal(number)
        tool.communicate(timeout=30)
    assert tool.returncode in (128 + number, -number)  # Python ends itself by the signal of Ctrl-C
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_session_of_a_package_is_one_process_and_types_take_no_arguments(tool):
    words = tool.command("oodgen", ["-k", "vae"])
    assert words[1:5] == ["-m", "nox", "--session", "tests(package='oodgen')"]
    assert words[-5:] == ["--", "-n", "0", "-k", "vae"]
    assert tool.command("types", ["-k", "vae"])[1:] == ["-m", "nox", "--session", "types"]
