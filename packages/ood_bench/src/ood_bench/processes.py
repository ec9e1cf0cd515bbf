"""One command as a process: its output goes to a log file, its end is reported, and it never outlives this program."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_shared.process import calm_threads
from ood_shared.signals import delayed, status_of

from ood_bench import guard
from ood_bench.guard import GRACE_SECONDS

LOG = "log.txt"
POLL_SECONDS = 0.05
TAIL_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """How a process ended: exit status (negative: by that signal), and duration in seconds when it is known."""

    status: int
    seconds: float | None


class Stopped(Exception):
    """The process was ended because the program is ending."""


def run(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    tick: Callable[[float], None] | None = None,
    inherit: Sequence[int] = (),
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a command to its end, with its output in a log.

    Whatever ends the wait early (Ctrl-C, SIGTERM, an error) first ends the process and all that it started. When this
    program is killed, a guard does that.

    Args:
        command: program and arguments.
        log: written anew; its folder is made when missing.
        environment: variables of the process; those of this one when None.
        tick: called about every second with the seconds passed.
        inherit: handles of files that the process keeps open.
        stop: when another thread sets it, the process is ended.

    Raises:
        Stopped: that happened.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    variables = {**(os.environ if environment is None else environment), "PYTHONUNBUFFERED": "1"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles torch's Python code anew
    calm_threads(variables)
    with log.open("w", encoding="utf-8") as output:
        output.write(f"$ {shlex.join([Path(command[0]).name, *command[1:]])}\n")
        output.flush()
        leader = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches this program only, which then ends the whole group
        )
        child = None
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                process_group=leader.pid,
                pass_fds=tuple(inherit),
            )
            _tell(leader, child.pid)
            _wait(child, start, tick, stop)
        finally:
            with delayed():
                _end(leader, child)
    return Outcome(child.returncode, time.monotonic() - start)


def last_lines(log: Path, count: int = TAIL_LINES) -> list[str]:
    """The last lines of a log that are not empty; what a progress bar overwrote is left out."""
    text = log.read_bytes().decode("utf-8", "replace")
    lines = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")[1:]]  # the first is the command
    return [line for line in lines if line][-count:]


def describe(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def _tell(leader: subprocess.Popen[bytes], process: int) -> None:
    """Name the process to the guard; the pipe stays open for as long as this program lives."""
    if leader.stdin is None:
        raise RuntimeError("the guard has no standard input")
    leader.stdin.write(str(process).encode())
    leader.stdin.flush()


def _wait(
    child: subprocess.Popen[bytes],
    start: float,
    tick: Callable[[float], None] | None,
    stop: threading.Event | None,
) -> None:
    said = 0
    while status_of(child) is None:
        if stop is not None and stop.is_set():
            raise Stopped
        passed = time.monotonic() - start
        if tick is not None and int(passed) > said:
            said = int(passed)
            tick(passed)
        time.sleep(POLL_SECONDS)


def _end(leader: subprocess.Popen[bytes], child: subprocess.Popen[bytes] | None) -> None:
    """End the process group: SIGTERM and time to save, then SIGKILL, also to what an ended process left behind."""
    try:
        if child is not None and child.poll() is None:
            _signal_group(leader, signal.SIGTERM)
            child.wait(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(leader, signal.SIGKILL)
        if child is not None:
            child.wait()
        leader.wait()
        if leader.stdin is not None:
            leader.stdin.close()


def _signal_group(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(leader.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS, when only a zombie is left in the group
        pass
