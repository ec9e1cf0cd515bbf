"""Volumes one after the other, with reading and writing beside the computing, and without losing what is finished.

The next volume is read and the last result written by threads. A volume that cannot be read is reported and the others
go on. Several processes (torchrun) take every n-th volume.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mood_dpa.data.volumes import Volume, read_volume
from mood_dpa.standalone import InputError


def own_share(paths: list[Path]) -> list[Path]:
    """What this process of a torchrun has to do."""
    rank, count = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    return paths[rank::count]


def read_ahead(paths: Iterable[Path], failed: list[str], dtype: Any = np.float32) -> Iterator[Volume]:
    """The volumes in order; those that cannot be read are reported, noted in `failed` and left out."""
    with ThreadPoolExecutor(1) as reader:
        waiting: list[tuple[Path, Future[Volume]]] = []
        for path in [*paths, None]:
            if path is not None:
                waiting.append((path, reader.submit(read_volume, path, dtype)))
            while waiting and (path is None or len(waiting) > 1):
                at, future = waiting.pop(0)
                try:
                    yield future.result()
                except InputError as error:
                    failed.append(at.name)
                    print(f"error: {error} Skipped; the others go on.", file=sys.stderr, flush=True)


class Writer:
    """Runs writes in a thread; `close` waits for them and raises what went wrong."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._futures: list[Future[Any]] = []

    def __call__(self, write: Callable[..., Any], *arguments: Any) -> None:
        """Do `write(*arguments)` soon; at most two are waiting, so that results do not pile up in memory."""
        while len(self._futures) > 1:
            self._futures.pop(0).result()
        self._futures.append(self._pool.submit(write, *arguments))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for future in self._futures:
                future.result()
        finally:
            self._pool.shutdown()


def report_failures(failed: list[str], done: int) -> None:
    """Raise for volumes that failed, after all others are done."""
    if failed:
        raise InputError(
            f"{len(failed)} of {len(failed) + done} volumes could not be read: {', '.join(failed[:5])}. "
            "The others are finished; correct these and run again with --resume."
        )
