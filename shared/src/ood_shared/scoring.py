"""`score` and `check` of any calibrated detector: a CSV row for each image, and whether a whole batch is shifted.

    status = score_step(detector, options)    # options.images, options.csv, options.resume, options.data_dir
    status = check_step(detector, options)    # options.images, options.data_dir

Both hold some hundred images at a time, whatever the number of images (`streaming`). Names stand in the CSV as they
are, quoted where they have commas, quotes or line breaks; a spreadsheet may take one that starts with = for a formula.
"""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ood_shared.batch_alarms import Alarms, check_ranks, ranks_of
from ood_shared.datasets.decode import Encoded
from ood_shared.errors import InputError
from ood_shared.locks import take
from ood_shared.output_files import of_backbone, output_file
from ood_shared.rows import COLUMNS, ID, OOD, UNREAD, Row, whole_rows, write_rows
from ood_shared.streaming import pending_images, read_items, refuse_repeated
from ood_shared.thresholds import Threshold

BATCH = 256  # images that are judged at a time
SHIFTED, PERHAPS = 0.01, 0.05  # p-values of a batch, below which it is called shifted, or perhaps shifted
ROUNDED = 1e-8  # of the p-values in a CSV, relatively
SAME = 1e-3  # scores of one image differ by less between devices, relatively


class Verdict(Protocol):
    """What is said of n images."""

    @property
    def scores(self) -> Float[np.ndarray, " n"]:
        """Higher = more OOD."""

    @property
    def p(self) -> Float[np.ndarray, " n"]:
        """Conformal p-values."""

    @property
    def flagged(self) -> np.ndarray:
        """(n,), whether an image is called OOD."""

    @property
    def classes(self) -> Int64[np.ndarray, " n"]:
        """Index of the class that an image is taken for, flagged or not; -1 for none."""

    # Where a verdict has them: `drivers`, what drove each score, and `nearest`, the nearest training image of each.


class Judge(Protocol):
    """A detector with a threshold, such as `calibrated.Calibrated`."""

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
    """Write a row for each image; returns 1 when some could not be read, in this run or in that which it goes on with.

    Args:
        detector: to score with.
        options: `images`, the words of `streaming.words`; `csv`, a file or `-`; `resume`; `data_dir`.

    Raises:
        InputError: a word that names nothing; `resume` without a file; a CSV of other images, of other columns or of
            another detector, or one that another process writes.
    """
    if options.csv == "-" and options.resume:
        raise InputError("--resume goes on with a file; --csv - writes to standard output. Name a file by --csv.")
    pending = pending_images(options.images, getattr(options, "data_dir", None))
    first = next(pending, None)
    if first is None:
        raise InputError(f"There is no image in {', '.join(options.images)}; name files or folders with images.")
    pending = chain((first,), pending)
    if options.csv == "-":
        _keep_odd_names(sys.stdout)
        return _score(detector, pending, sys.stdout, Counter(), header=True)
    read = (*options.images, *([options.model] if hasattr(options, "model") else []))
    runs = of_backbone(getattr(options, "backbone", None))
    target, done, end = output_file(options.csv, "out.csv", read, "--csv", runs), Counter[str](), 0
    goes_on = options.resume and target.is_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
        if target.is_file():
            take(file, target)
            if goes_on:
                done, end = _skip(detector, pending, target)
            os.truncate(target, end)
        return _score(detector, pending, file, done, header=not end)


def check_step(detector: Judge, options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read.

    Args:
        detector: to score with.
        options: `images` and `data_dir`, as in `score_step`.

    Raises:
        InputError: a word that names nothing, images that two words name, or no image that can be read.
    """
    limit = _limit(detector)
    refuse_repeated(options.images)
    counts, flagged, unread = np.zeros(limit.n + 1, np.int64), 0, 0
    for rows in _rows(detector, pending_images(options.images, getattr(options, "data_dir", None))):
        p = np.array([row.p for row in rows if row.p is not None])
        counts += np.bincount(ranks_of(p, limit.n), minlength=limit.n + 1)
        flagged += sum(row.decision == OOD for row in rows)
        unread += sum(row.decision == UNREAD for row in rows)
        _report_problems(rows)
    alarms = check_ranks(counts, limit, flagged)
    print("\n".join(_words(alarms, getattr(detector, "words", limit.words)())))
    if unread:
        print(f"{unread} images could not be read", file=sys.stderr)
    return 1 if unread else 0


def _words(alarms: Alarms, promise: str) -> Iterator[str]:
    """What is said of a batch."""
    share = f"{alarms.flagged} of {alarms.n} images flagged: {100 * alarms.flagged / alarms.n:.1f} %"
    yield f"{share} [{100 * alarms.low:.1f}, {100 * alarms.high:.1f}], exact 95 % interval; promised: {promise}"
    yield f"p = {alarms.more:.2g} that images like the calibration images give so many alarms or more"
    yield f"p = {alarms.fewer:.2g} that they give so few or fewer"
    yield f"p = {alarms.higher:.2g} that they score so high"
    p = f"p = {alarms.shifted:.2g}, the smallest of three, times three"
    if alarms.shifted >= PERHAPS:
        yield f"the batch is not seen to be shifted: {p}"
        return
    smallest = min(alarms.more, alarms.fewer, alarms.higher)
    how = "scores above those of the calibration images" if smallest == alarms.higher else "more alarms than promised"
    how = "fewer alarms than new images give: perhaps they are training images" if smallest == alarms.fewer else how
    if alarms.shifted < SHIFTED:
        yield f"the batch is shifted: {p}; {how}"
    else:
        yield f"the batch may be shifted: {p}; {how}. One in twenty batches seems so by chance; check more images"


def _score(detector: Judge, pending: Iterator[Encoded], file: TextIO, counts: Counter[str], header: bool) -> int:
    if header:
        write_rows(file, [COLUMNS])
    for rows in _rows(detector, pending):
        counts.update(row.decision for row in rows)
        write_rows(file, (row.cells() for row in rows))
        file.flush()
        _report_problems(rows)
    print(f"{counts[ID]} ID, {counts[OOD]} OOD, {counts[UNREAD]} unreadable", file=sys.stderr)
    return 1 if counts[UNREAD] else 0


def _rows(detector: Judge, pending: Iterator[Encoded]) -> Iterator[list[Row]]:
    """The rows of some hundred images at a time, in order."""

    def prepare(pixels: UInt8[np.ndarray, "h w c"]) -> Tensor:
        image = pixels if pixels.flags.writeable else pixels.copy()
        return detector.prepare(torch.from_numpy(image).permute(2, 0, 1)[None])

    _limit(detector)
    items = read_items(pending, prepare, span=getattr(detector, "span", None))
    while batch := list(islice(items, BATCH)):
        good = [item.pixels for item in batch if item.pixels is not None]
        rows = iter(_judged(detector, torch.cat(good)) if good else ())
        yield [
            Row(item.name, problem=item.problem) if item.pixels is None else Row(item.name, **next(rows))
            for item in batch
        ]


def _judged(detector: Judge, images: Tensor) -> Iterator[dict[str, Any]]:
    """What is said of each prepared image, but for its name."""
    verdict = detector.judge(images)
    none = [""] * len(images)
    texts = (getattr(verdict, "drivers", None) or none, getattr(verdict, "nearest", None) or none)
    found = zip(verdict.scores, verdict.p, verdict.flagged, verdict.classes, *texts, strict=True)
    for score, p, flagged, number, driver, nearest in found:
        yield {
            "score": float(score),
            "p": float(p),
            "decision": OOD if flagged else ID,
            "class_name": detector.classes[int(number)] if 0 <= int(number) < len(detector.classes) else "",
            "driver": driver,
            "nearest": nearest,
        }


def _skip(detector: Judge, pending: Iterator[Encoded], target: Path) -> tuple[Counter[str], int]:
    """Take the images from `pending` that have a row; how often each decision was made, and where the last row ends.

    The first image is scored once more: rows of another detector would look like those of this one.
    """
    counts, end, compared = Counter[str](), 0, False
    rate = _limit(detector).alarm_rate * (1 + ROUNDED)
    for at, (row, row_end) in enumerate(whole_rows(target)):
        end = row_end
        if at == 0:  # the header
            continue
        item = next(pending, None)
        if item is None or item.name != row.file:
            named = "no more images are" if item is None else f"`{item.name}` is"
            raise InputError(f"--resume: {target} has a row of `{row.file}`, {named} named now. Name another --csv.")
        if row.score is not None and not compared:
            compared = True
            again = next(_rows(detector, iter([item])))[0].score
            if again is None or not math.isclose(again, row.score, rel_tol=SAME, abs_tol=SAME**2):
                raise InputError(
                    f"--resume: {target} has the score {row.score:g} of `{row.file}`, this detector gives it {again}: "
                    "another detector wrote the file, or the image has changed. Name another --csv."
                )
        if row.p is not None and (row.p <= rate) != (row.decision == OOD):
            raise InputError(
                f"--resume: {target} calls `{row.file}` with p = {row.p:g} {row.decision}, not by the alarm rate of "
                f"this detector, {_limit(detector).alarm_rate:g}: another one wrote it. Name another --csv."
            )
        counts[row.decision] += 1
    return counts, end


def _limit(detector: Judge) -> Threshold:
    if detector.limit is None:
        raise InputError("The detector has no threshold; calibrate it with an alarm rate such as 0.05.")
    return detector.limit


def _report_problems(rows: list[Row]) -> None:
    for row in rows:
        if row.problem:
            print(f"skipped: {row.problem}", file=sys.stderr)


def _keep_odd_names(file: TextIO) -> None:
    """Let names of files that are not UTF-8 pass as they are."""
    reconfigure = getattr(file, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="surrogateescape")
