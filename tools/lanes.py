"""Types and the tests of several packages side by side: a nox session for each, as many at a time as there are cores.

    python tools/lanes.py mood_dpa ood_bench types         # in the order in which they are begun
    python tools/lanes.py shared -- -k locks               # arguments after -- go to pytest

A package is tested by one process here, not by pytest-xdist: that imports torch in three, and its cores wait for each
other at the beginning and the end of each package. What a session printed is shown when it has ended.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
TYPES = "types"
MOST = 4  # lanes; a process takes about 1.5 GB
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Ended:
    """A session that has ended: its name, exit status, seconds, and what it printed."""

    name: str
    status: int
    seconds: float
    text: str


class Lanes:
    """Sessions that run at the same time; when one cannot be started, or at Ctrl-C, the others are ended.

    Each is a process group, as nox does not hand SIGTERM on to what it started: pytest would go on.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._over = False

    def run(self, commands: dict[str, Sequence[str]]) -> list[Ended]:
        """Run the command of each name; returns what ended, in the order given."""
        with ThreadPoolExecutor(self.lanes) as pool:
            try:
                futures = [pool.submit(self._one, name, words) for name, words in commands.items()]
                for future in as_completed(futures):
                    print(future.result().text, end="", flush=True)
            except BaseException:
                self._end()
                raise
        return [future.result() for future in futures]

    def _one(self, name: str, words: Sequence[str]) -> Ended:
        started = time.monotonic()
        with self._guard:
            if self._over:
                raise RuntimeError(f"{name} was not begun")  # beside the error that ended the others
            print(f"{name}: begun\n", end="", flush=True)  # in one piece, as another lane may print
            process = subprocess.Popen(
                words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
            )
            self._running.add(process)
        text = process.communicate()[0]
        with self._guard:
            self._running.discard(process)
        return Ended(name, process.returncode, time.monotonic() - started, text)

    def _end(self) -> None:
        with self._guard:
            self._over = True
            groups = [process.pid for process in self._running]
        end = time.monotonic() + GRACE_SECONDS
        try:
            _signal(groups, signal.SIGTERM)
            while _signal(groups, 0) and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
        finally:
            _signal(groups, signal.SIGKILL)


def _signal(groups: Iterable[int], number: int) -> bool:
    """Send a signal to process groups, 0 for none; whether one of them is still there."""
    there = False
    for group in groups:
        try:
            os.killpg(group, number)
            there = True
        except (ProcessLookupError, PermissionError):  # the latter on macOS, when only a zombie is left in it
            continue
    return there


def command(name: str, arguments: Sequence[str]) -> list[str]:
    """The nox session `types`, or the one that tests a package in one process."""
    if name == TYPES:
        return [sys.executable, "-m", "nox", "--session", TYPES]
    return [sys.executable, "-m", "nox", "--session", f"tests(package='{name}')", "--", "-n", "0", *arguments]


def summary(sessions: Sequence[Ended]) -> str:
    """One line for each session, the longest first."""
    words = [
        f"{one.name:<16} {'passed' if one.status == 0 else f'failed ({one.status})':<12} {one.seconds:5.0f} s"
        for one in sorted(sessions, key=lambda one: -one.seconds)
    ]
    return "\n".join(words)


def _stop(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    """Run the command line; returns the exit status."""
    own = sys.argv[1:]
    cut = own.index("--") if "--" in own else len(own)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a package, or types")
    parser.add_argument("--lanes", type=int, default=min(MOST, os.cpu_count() or 1), help="at a time (default: cores)")
    options = parser.parse_args(own[:cut])
    for number in (signal.SIGTERM, signal.SIGHUP):  # the sessions, in groups of their own, do not hear a terminal's end
        signal.signal(number, _stop)
    sessions = Lanes(options.lanes).run({name: command(name, own[cut + 1 :]) for name in options.names})
    print(summary(sessions))
    return int(any(one.status for one in sessions))


if __name__ == "__main__":
    sys.exit(main())
