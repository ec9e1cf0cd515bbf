"""Short trainings that tests run, and attempts at one in forks.

The file `tests/crash_trainers.py` of a package defines `trainers(place)`, which prepares the data in the folder `place`
and gives a `Trainer` for each name.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_shared.testing.modules import module_of

MOST_SECONDS = 300.0  # of an attempt
LEARNED = "modules.json"  # names of what an attempt has imported


@dataclass(frozen=True)
class Trainer:
    """A training command.

    Attributes:
        main: of the package; takes the arguments, returns an exit status.
        argv: of a short training; `{out}` stands for its output folder.
        resume: what is added to go on.
        run: the run folder, below the output folder; a pattern, or `.` for that itself.
        weights: the last weights, below the output folder; a pattern.
    """

    main: Callable[[list[str]], int]
    argv: Sequence[str]
    resume: Sequence[str]
    run: str
    weights: str

    def words(self, out: str) -> list[str]:
        """The arguments with an output folder."""
        return [word.replace("{out}", out) for word in self.argv]


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: negative when a signal killed it; seconds from the signal to the end, and all."""

    status: int
    seconds: float
    after_signal: float = 0.0
    said: str = ""


def trainers_of(file: Path, place: Path) -> dict[str, Trainer]:
    """What a file that defines `trainers(place)` gives; its data lies in the folder `place` then."""
    found: dict[str, Trainer] = module_of(file).trainers(place)
    return found


def attempt(
    trainer: Trainer,
    out: str,
    after: float | None = None,
    number: signal.Signals = signal.SIGKILL,
    more: Sequence[str] = (),
    limit: int | None = None,
    learn: bool = False,
) -> Attempt:
    """Run the command in a fork, with a signal after so many seconds, or with a limit on the size of its files.

    With `learn` the names of the modules that it has imported are left in a file.
    """
    words = [*trainer.words(out), *more]
    log, start = Path(f"{out}.log"), time.monotonic()
    process = os.fork()
    if process == 0:
        _child(trainer.main, words, log, limit, learn)
    sent = 0.0
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        now = time.monotonic()
        if ended:
            said = log.read_text(errors="replace").strip().rsplit("\n", 1)[-1]
            after_signal = now - sent if sent else 0.0
            return Attempt(os.waitstatus_to_exitcode(status), now - start, after_signal, said)
        if not sent and after is not None and now - start > after:
            os.kill(process, number)
            sent = now
        if now - start > MOST_SECONDS:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.005)


def _child(main: Callable[[list[str]], int], words: list[str], log: Path, limit: int | None, learn: bool) -> None:
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        status = main(words)
        if learn:
            Path(LEARNED).write_text(json.dumps(sorted(set(sys.modules) - {"__main__"})))
    except SystemExit as stop:
        status = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
