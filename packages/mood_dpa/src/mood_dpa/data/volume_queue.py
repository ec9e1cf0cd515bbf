"""Volumes one after the other, with reading and writing beside the computing, and without losing what is finished.

The next volume is read and the last result written by threads. A volume that cannot be used is reported and the others
go on. Several processes (torchrun) take every n-th volume.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import Rule
from mood_dpa.data.volumes import Volume, read_volume, volume_name
from mood_dpa.standalone import InputError, one_line


def own_share(paths: list[Path]) -> list[Path]:
    """What this process of a torchrun has to do."""
    rank, count = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    return paths[rank::count]


def read_ahead(
    paths: Iterable[Path],
    failed: list[str],
    dtype: Any = np.float32,
    rule: Rule | None = None,
    directions: Directions | None = None,
    read: Callable[[Path, Any], Volume] = read_volume,
    overshoot: bool = False,
) -> Iterator[Volume]:
    """The volumes in order; those that cannot be used are reported, noted in `failed` and left out.

    Args:
        paths: of the volumes.
        failed: gets the names of those that are left out.
        dtype: of the voxels.
        rule: how their intensities get to [0, 1]; None leaves them alone.
        directions: counts where their axes point.
        read: makes a volume of a path and a dtype.
        overshoot: of `Rule.apply`.
    """

    def one(path: Path) -> Volume:
        volume = read(path, dtype)
        return volume if rule is None else replace(volume, data=rule.apply(volume.data, str(path), overshoot))

    with ThreadPoolExecutor(1) as reader:
        waiting: list[tuple[Path, Future[Volume]]] = []
        for path in [*paths, None]:
            if path is not None:
                waiting.append((path, reader.submit(one, path)))
            while waiting and (path is None or len(waiting) > 1):
                at, future = waiting.pop(0)
                try:
                    volume = future.result()
                except (InputError, OSError) as error:
                    skip(failed, volume_name(at), error)
                    continue
                if directions is not None:
                    directions.add(volume.name, volume.affine)
                yield volume


def skip(failed: list[str], name: str, error: Exception) -> None:
    """Report a volume that cannot be used, in one line, and note its name."""
    failed.append(name)
    print(f"error: {one_line(error)} Skipped; the others go on.", file=sys.stderr, flush=True)


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


def first_names(names: Sequence[str]) -> str:
    """The first five names, and how many there are more."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def report_failures(failed: list[str], done: int, again: str = "run again with --resume") -> None:
    """Raise for volumes that failed, after all others are done.

    Args:
        failed: their names.
        done: how many did not.
        again: what to do when they are corrected.
    """
    if failed:
        shown = first_names(failed)
        others = "The others are finished; correct these" if done else "Correct them"
        raise InputError(
            f"{len(failed)} of {len(failed) + done} volumes could not be used: {shown}. {others} and {again}."
        )
