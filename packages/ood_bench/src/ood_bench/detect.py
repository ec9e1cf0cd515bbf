"""What `ood-detect` does: fit a detector to a file, score images row by row, check a batch."""

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from ood_shared.contract import COMMON
from ood_shared.datasets import ImageSet, load_any_size, resize
from ood_shared.datasets.benchmark import Benchmark, native_size
from ood_shared.datasets.decode import Encoded, decode, is_image
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError, MissingSplitError
from ood_shared.thresholds import check_batch, least_calibration
from ood_shared.training import Compute
from torch import Tensor

from ood_bench import model_file
from ood_bench.baseline_detectors import CHANNELS, SIDE
from ood_bench.fused_detector import FEW, FusedDetector, calibration_count, fit_detector

COLUMNS = ("file", "score", "p_value", "decision", "class", "driver", "problem")
BATCH = 256  # images in memory at a time
ID, OOD, UNREAD = "ID", "OOD", "unreadable"
SHIFTED = 0.01  # p-value of a batch, below which it is called shifted


def fit_step(options: argparse.Namespace) -> None:
    """Train, calibrate, write the file."""
    output = Path(options.output)
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; name a file, such as {output / 'model.ood'}.")
    images = _id_images(options.id, options.data_dir)
    held = calibration_count(len(images))
    if held < least_calibration(options.alarm_rate):  # before minutes of training
        raise InputError(
            f"{options.id} has {len(images)} images, of which {held} are held out; an alarm rate of "
            f"{options.alarm_rate:g} needs {least_calibration(options.alarm_rate)}. Give more images or a higher rate."
        )
    height, width = images.images.shape[1:3]
    native = native_size((height, width), SIDE)
    pixels, labels = resize(images.images, (SIDE, SIDE), channels=CHANNELS), torch.from_numpy(images.labels)
    benchmark = Benchmark(pixels, labels, pixels, labels, images.classes, {}, native, options.mirror)
    compute = Compute(resolve_device(options.device))
    generator = torch.Generator().manual_seed(options.seed)
    detector = fit_detector(benchmark, compute, generator, schedule=COMMON[options.budget], seed=options.seed)
    detector = detector.with_alarm_rate(options.alarm_rate)
    if detector.limit is not None and detector.limit.n < FEW:
        print(f"warning: {detector.limit.n} calibration images; with fewer than {FEW} a threshold scatters widely.")
    about = {
        "id": options.id,
        "images": len(images),
        "licence": images.licence,
        "sha256": sha256(images.images.tobytes() + images.labels.tobytes()).hexdigest(),
        "budget": options.budget,
        "seed": options.seed,
    }
    model_file.save(output, detector, about)
    print(f"{output}: {len(images)} images of {len(images.classes)} classes. At {options.alarm_rate:g} it promises:")
    print(detector.limit.words() if detector.limit is not None else "")


def score_step(options: argparse.Namespace) -> int:
    """Write a row for each image; returns 1 when some could not be read."""
    detector = model_file.load(options.model, options.device)
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


def check_step(options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read."""
    detector = model_file.load(options.model, options.device)
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


def _score(detector: FusedDetector, paths: Iterator[str], file: TextIO, header: bool) -> int:
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


def _rows(detector: FusedDetector, paths: Iterator[str]) -> Iterator[list[Row]]:
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


def _read(detector: FusedDetector, name: str) -> Tensor | str:
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


def _id_images(word: str, data_dir: str | None) -> ImageSet:
    """The training split of a set; all images of own data that has no splits."""
    try:
        return load_any_size(word, "train", data_dir, SIDE)
    except MissingSplitError:
        return load_any_size(word, "test", data_dir, SIDE)
