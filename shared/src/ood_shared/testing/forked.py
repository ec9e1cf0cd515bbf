"""A Python program as a process of its own that need not import torch: it is forked from a server that has.

Starting a Python costs seconds of a core for torch alone, many times what a command under test does. A program that is
started here has its own process, arguments, folder, environment and pipes, and may be killed as any other; only what it
imports is there already. A test about imports or about Python's own start takes `subprocess`.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import torch

PRELOADED = (
    *("torch", "torchvision", "torchvision.transforms", "sklearn.metrics", "scipy.stats", "PIL.Image"),
    *("jaxtyping", "yaml", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("ood_shared.datasets", "ood_shared.plots", "ood_shared.results.record", "ood_shared.runs"),
)


class Forked:
    """The part of `subprocess.Popen` that tests use: text from two pipes, signals, and the end."""

    def __init__(self, words: Sequence[str], cwd: Path | None, environment: Mapping[str, str]) -> None:
        """Run `python words…`.

        Args:
            words: a script and its arguments, or `-m module …`.
            cwd: its folder; the working folder when None.
            environment: its variables, all of them.
        """
        context = get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))  # one that is not installed is left out
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        writers = [writer for _, writer in pipes]
        self.args = [sys.executable, *words]
        place = Path.cwd() if cwd is None else cwd
        self._process = context.Process(target=_become, args=(list(words), str(place), dict(environment), *writers))
        self._process.start()
        for writer in writers:
            writer.close()
        self.stdout, self.stderr = (_reader(reader) for reader, _ in pipes)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it is not known to have ended."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, after the end of the process.

        Raises:
            TimeoutError: it has not ended in so many seconds.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutError(f"{self.args} has not ended after {timeout} s")
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it still prints, on standard output and error, after its end; see `wait`."""
        found = ["", ""]

        def read(number: int, pipe: IO[str]) -> None:
            found[number] = pipe.read()

        pipes = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=entry, daemon=True) for entry in pipes]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return found[0], found[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _reader(pipe: Connection) -> IO[str]:
    """The text of a pipe's reading end, which closes with it."""
    handle = os.dup(pipe.fileno())
    pipe.close()
    return os.fdopen(handle, encoding="utf-8", errors="replace")


def _become(words: list[str], place: str, environment: dict[str, str], out: Connection, err: Connection) -> None:
    """In the forked process: what `python words…` does, from its environment to its exit status."""
    for number, pipe in ((0, None), (1, out), (2, err)):
        handle = os.open(os.devnull, os.O_RDONLY) if pipe is None else pipe.fileno()
        os.dup2(handle, number)
        if pipe is not None:
            pipe.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    named = words[0] == "-m"
    more = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry and entry not in sys.path]
    sys.path[:0] = [place if named else str(Path(words[0]).resolve().parent), *more]
    try:
        if named:
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.stdout.flush()
