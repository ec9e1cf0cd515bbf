"""`score` and `check` of any calibrated detector: a CSV row for each image, and whether a whole batch is shifted.

status = score_step(detector, options)    # options.images, options.csv, options.resume
status = check_step(detector, options)    # options.images
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ood_shared.datasets.decode import Encoded, decode, is_image
from ood_shared.errors import InputError, MissingFileError
from ood_shared.thresholds import Threshold, check_batch

COLUMNS = ("file", "score", "p_value", "decision", "class", "driver", "problem")
BATCH = 256  # images in memory at a time
ID, OOD, UNREAD = "ID", "OOD", "unreadable"
SHIFTED = 0.01  # p-value of a batch, below which it is called shifted


class Verdict(Protocol):
    """What is said of n images; `nearest`, names of the nearest training images, may be there too."""

    @property
    def scores(self) -> Float[np.ndarray, " n"]:
        """Higher = more OOD."""

    @property
    def p(self) -> Float[np.ndarray, " n"]:
        """Conformal p-values."""

    @property
    def flagged(self) -> np.ndarray:
        """(n,), whether the score lies above the threshold."""

    @property
    def classes(self) -> Int64[np.ndarray, " n"]:
        """Index of the class that an image is taken for, flagged or not."""

    @property
    def drivers(self) -> list[str]:
        """What drove each score."""


class Judge(Protocol):
    """A detector with a threshold."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ID classes."""

    @property
    def limit(self) -> Threshold | None:
        """The threshold with what it promises."""

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> Tensor:
        """Images of one size and colour as `judge` takes them, (k, ...)."""

    def judge(self, images: Tensor) -> Verdict:
        """What is said of prepared images."""


def score_step(detector: Judge, options: argparse.Namespace) -> int:
    """Write a row for each image; returns 1 when some could not be read."""
    paths = _paths(options.images)
    if options.csv == "-":
        return _score(detector, paths, sys.stdout, header=True)
    target = Path(options.csv)
    done = _whole_rows(target) if options.resume else []
    for name in done:
        if next(paths, None) != name:
            raise InputError(f"--resume: {target} has rows of other images than are named now. Name another --csv.")
    with target.open("a" if done else "w", encoding="utf-8", newline="") as file:
        return _score(detector, paths, file, header=not done)


def check_step(detector: Judge, options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read."""
    limit, p, unread = detector.limit, [], 0
    assert limit is not None  # a file has one
    for rows in _rows(detector, _paths(options.images)):
        p += [row.p for row in rows if row.p is not None]
        unread += sum(row.p is None for row in rows)
    alarms = check_batch(np.array(p), limit.alarm_rate)
    print(f"{alarms.flagged} of {alarms.n} images flagged: {100 * alarms.flagged / alarms.n:.1f} %", end=" ")
    print(f"[{100 * alarms.low:.1f}, {100 * alarms.high:.1f}], exact 95 % interval; promised: {limit.words()}")
    verdict = "shifted" if alarms.shifted < SHIFTED else "not seen to be shifted"
    print(f"the batch is {verdict}: p = {alarms.shifted:.2g} that its scores are those of calibration images")
    if unread:
        print(f"{unread} files could not be read", file=sys.stderr)
    return 1 if unread else 0


@dataclass(frozen=True)
class Row:
    """What is said of a file; only the problem where it cannot be read."""

    file: str
    score: float | None = None
    p: float | None = None
    decision: str = UNREAD
    class_name: str = ""
    driver: str = ""
    problem: str = ""

    def cells(self) -> list[str]:
        """As `COLUMNS` has them."""
        numbers = ["" if value is None else f"{value:.9g}" for value in (self.score, self.p)]
        return [self.file, *numbers, self.decision, self.class_name, self.driver, self.problem]


def _score(detector: Judge, paths: Iterator[str], file: TextIO, header: bool) -> int:
    writer = csv.writer(file, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    counts = dict.fromkeys((ID, OOD, UNREAD), 0)
    for rows in _rows(detector, paths):
        for row in rows:
            counts[row.decision] += 1
            if row.problem:
                print(f"skipped: {row.problem}", file=sys.stderr)
        writer.writerows(row.cells() for row in rows)
        file.flush()
    print(f"{counts[ID]} ID, {counts[OOD]} OOD, {counts[UNREAD]} unreadable", file=sys.stderr)
    return 1 if counts[UNREAD] else 0


def _rows(detector: Judge, paths: Iterator[str]) -> Iterator[list[Row]]:
    """The rows of some hundred images at a time, in order; never more than these in memory."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while names := list(islice(paths, BATCH)):
            read = list(pool.map(lambda name: _read(detector, name), names))
            good = [pixels for pixels in read if isinstance(pixels, Tensor)]
            verdict = detector.judge(torch.cat(good)) if good else None
            rows, at = [], 0
            for name, pixels in zip(names, read, strict=True):
                if verdict is None or not isinstance(pixels, Tensor):
                    rows.append(Row(name, problem=str(pixels)))
                    continue
                decision = OOD if verdict.flagged[at] else ID
                class_name = detector.classes[int(verdict.classes[at])]
                numbers = float(verdict.scores[at]), float(verdict.p[at])
                rows.append(Row(name, *numbers, decision, class_name, verdict.drivers[at]))
                at += 1
            yield rows


def _read(detector: Judge, name: str) -> Tensor | str:
    """The image at the network's size, or why it cannot be read."""
    try:
        pixels = decode(Encoded(0, name, Path(name)))
    except InputError as error:
        return str(error)
    return detector.prepare(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])


def _paths(words: Sequence[str]) -> Iterator[str]:
    """The files that are named, those of folders sorted by name, those of a list as they come.

    Raises:
        MissingFileError: a word names nothing.
    """
    for word in words:
        if word != "-" and not Path(word).exists():
            raise MissingFileError(f"{word} is missing; expected an image, a folder, or - for a list.")
    return _walk(words)


def _walk(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        elif Path(word).is_dir():
            for at, folders, files in os.walk(word):
                folders.sort()
                yield from (str(Path(at) / file) for file in sorted(files) if is_image(file))
        else:
            yield word


def _whole_rows(target: Path) -> list[str]:
    """The files of the whole rows of a CSV; a last line that a kill cut short is removed.

    Raises:
        InputError: the file has other columns.
    """
    if not target.is_file() or not target.stat().st_size:
        return []
    data = target.read_bytes()
    if not data.endswith(b"\n"):
        data = data[: data.rfind(b"\n") + 1]
        os.truncate(target, len(data))
    rows = list(csv.reader(data.decode("utf-8").splitlines()))
    if not rows:
        return []
    if tuple(rows[0]) != COLUMNS:
        raise InputError(f"--resume: {target} has the columns {rows[0]}, expected {list(COLUMNS)}. Name another --csv.")
    return [row[0] for row in rows[1:]]
