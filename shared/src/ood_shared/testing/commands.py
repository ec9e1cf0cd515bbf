"""Run a package's commands in tests: in this process, or as a process of their own."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ood_shared.runs import read_metrics
from ood_shared.testing.forked import Forked

REMARKS = ("warning: ", "note: ", "error: ")  # about one input of several; an error that ends a command names it first


@dataclass(frozen=True)
class Outcome:
    """What a command left on its way out."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line of an error, after checking that it is one line, and of bad input; remarks may stand before it."""
        assert self.status == 2, (self.status, self.err)
        lines = [line for line in self.err.splitlines() if not line.startswith(REMARKS)]
        assert len(lines) == 1, self.err
        assert ": error: " in lines[0]
        return lines[0]


def printed_by(module: str, place: Path, *argv: str) -> str:
    """What `python -m module` prints, as a process that must succeed."""
    outcome = finish(start(["-m", module, *argv], place))
    assert outcome.status == 0, outcome.err
    return outcome.out


HEAVY = {"matplotlib", "nilearn", "pandas", "pytorch_ood", "scipy", "skimage", "sklearn", "tensorboard", "torchvision"}


def check_light(module: str) -> None:
    """`import module` must load torch and nothing else that takes long."""
    loaded = loaded_by(module)
    assert "torch" in loaded
    assert not loaded & HEAVY


def commands_in_help(main: Callable[[list[str]], int]) -> set[str]:
    """The commands that `--help` has a line for, after checking that each answers `--help` and `--version`."""
    lines = dict(line.split(maxsplit=1) for line in succeed(main, "--help").out.splitlines() if line[:2] == "  ")
    for name, flag in product(lines, ("--help", "--version")):
        code: object = "no exit"
        try:
            main([name, flag])
        except SystemExit as end:
            code = end.code
        assert code == 0, (name, flag)
    return set(lines)


def loaded_by(module: str) -> set[str]:
    """The packages, by the names of their modules, that a new process has loaded after `import module`."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    words = [sys.executable, "-c", code]  # really new: `start` may fork one that has loaded torch
    found = subprocess.run(words, capture_output=True, text=True, env=dict(clean_environment()), check=True)
    return set(found.stdout.split())


def rows_without_time(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's `metrics.jsonl` without the seconds, which no two runs share."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in read_metrics(folder)]


def call(main: Callable[[list[str]], int], *argv: str) -> Outcome:
    """A command in this process.

    Args:
        main: takes the arguments and returns an exit status, or leaves as argparse does.
        argv: the arguments.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(list(argv))
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


def succeed(main: Callable[[list[str]], int], *argv: str) -> Outcome:
    """As `call`, for a command that must succeed."""
    outcome = call(main, *argv)
    assert outcome.status == 0, outcome.err
    return outcome


def clean_environment(**changed: str) -> dict[str, str]:
    """This process's environment with one thread, no GPU and the byte code cache (torch starts slowly without)."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | changed


def start(words: Sequence[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Forked:
    """`python words…` as a process, its output in pipes.

    Args:
        words: a script and its arguments, or `-m module …`.
        cwd: its folder.
        environment: `clean_environment()` when None.
    """
    return Forked(words, cwd, clean_environment() if environment is None else environment)


def finish(process: "Forked | subprocess.Popen[str]", timeout: float = 300) -> Outcome:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode is not None
    return Outcome(process.returncode, out, err)


@contextlib.contextmanager
def ctrl_c_is_heard() -> Iterator[None]:
    """Inside the block this process, and those that it starts, hear SIGINT: tests in the background ignore it else."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(holds: Callable[[], object], patience: float = 30.0, pause: float = 0.02) -> None:
    """Ask every `pause` seconds until something holds, for `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(pause)
