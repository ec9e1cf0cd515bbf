"""One method as a process: its output goes to a log file, its end is reported, and it never outlives this program."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_shared.process import calm_threads

LOG = "log.txt"
GRACE_SECONDS = 15.0  # between SIGTERM, which saves, and SIGKILL
POLL_SECONDS = 0.1
TAIL_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """How a process ended: exit status, duration in seconds, and the log it left."""

    status: int
    seconds: float
    log: Path


def run(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    tick: Callable[[float], None] | None = None,
) -> Outcome:
    """Run `python -m module arguments` to its end, with its output in `folder/log.txt`.

    Whatever ends the wait early (Ctrl-C, SIGTERM, an error) first ends the process and all that it started.

    Args:
        module: the module to run.
        arguments: its command line.
        folder: where the log goes; made when missing.
        tick: called about every second with the seconds passed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    command = [sys.executable, "-m", module, *arguments]
    start = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    calm_threads(environment)
    with log.open("w", encoding="utf-8") as output:
        output.write(f"$ {shlex.join(['python', *command[1:]])}\n")
        output.flush()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this program only, which then ends the whole group
        )
        try:
            _wait(child, start, tick)
        finally:
            _end(child)
    return Outcome(child.returncode, time.monotonic() - start, log)


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


def _wait(child: subprocess.Popen[bytes], start: float, tick: Callable[[float], None] | None) -> None:
    said = 0
    while child.poll() is None:
        passed = time.monotonic() - start
        if tick is not None and int(passed) > said:
            said = int(passed)
            tick(passed)
        try:
            child.wait(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the process group: SIGTERM and time to save, then SIGKILL, also to what an ended process left behind."""
    try:
        if child.poll() is None:
            _signal_group(child, signal.SIGTERM)
            child.wait(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)  # the child leads its group
    except ProcessLookupError:
        pass
    except PermissionError:  # macOS, when only a zombie is left in the group
        pass
