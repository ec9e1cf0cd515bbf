"""What the verbs of the packages do: a run becomes a calibrated file; a file scores images. Flags are in `verbs`."""

import argparse
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ood_shared import export, model_file, scoring
from ood_shared.calibrated import Calibrated, Examined, calibrate, examine
from ood_shared.contract import MODEL
from ood_shared.datasets import load
from ood_shared.datasets.groups import group_names
from ood_shared.datasets.parts import with_groups
from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.detector_state import Savable
from ood_shared.errors import InputError, ManySizesError
from ood_shared.files import path_of
from ood_shared.images import Images, image_batches
from ood_shared.notes import say
from ood_shared.output_files import output_file
from ood_shared.thresholds import one_of_each

FEW = 200  # calibration images, below which a threshold scatters widely


def calibrate_step(options: argparse.Namespace) -> None:
    """Load a run, score ID images that are new to it, write the file, say what it promises."""
    output = output_file(options.output, MODEL, (options.id,), runs=(options.run,))
    told = {name: getattr(options, name) for name in options.told if getattr(options, name) is not None}
    detector: Any = import_module(options.load).load(options.run, device=options.device, **told)
    if not isinstance(detector, Savable) or not hasattr(detector, "prepare"):
        raise InputError(f"{options.run} gives a {type(detector).__name__}, which cannot be kept in a file.")
    images, licence = id_images(options.id, options.data_dir, options.group)
    judged: Any = detector
    found = _all(examine(judged, batch) for batch in image_batches(images, judged.prepare))
    n = len(found.scores)
    about = {
        "id": Path(options.id).name,
        "licence": licence,
        "method": options.program,
        "run": Path(options.run).name,
        "calibrated_on": f"{n} images of {Path(options.id).name}; that they are new to the run is its owner's word",
    }
    named = {"alarm_rate": options.alarm_rate, "by_class": options.by_class, "about": about}
    calibrated = calibrate(judged, found.scores, found.classes, **named)
    keep(output, calibrated, f"calibrated on {n} images of {options.id}. If none of them was trained on, it promises:")


def keep(output: Path, calibrated: Calibrated, said: str) -> None:
    """Write the file, and say what was made and what it promises."""
    n = len(calibrated.scores)
    if n < FEW:
        print(f"warning: {n} calibration images; with fewer than {FEW} a threshold scatters widely.")
    model_file.save(output, calibrated)
    print(f"{output}: {said}")
    print(calibrated.words())


def score_step(options: argparse.Namespace) -> int:
    """Write a row for each image; returns 1 when some could not be read."""
    return scoring.score_step(model_file.load(options.model, options.device), options)


def check_step(options: argparse.Namespace) -> int:
    """Print the share of alarms and whether the batch is shifted; returns 1 when some images could not be read."""
    return scoring.check_step(model_file.load(options.model, options.device), options)


def export_step(options: argparse.Namespace) -> None:
    """Write a graph of the detector, and say what it takes and gives."""
    export.export_step(model_file.load(options.model, "cpu"), options)


def id_images(word: str, data_dir: str | None, group: str | None = None) -> tuple[Images, str]:
    """ID images that a run was not trained on, with their licence: the test split, or own data without splits.

    Args:
        word: a known name or a path.
        data_dir: of known sets.
        group: how they belong together, see `datasets.groups.group_names`; None: slices by their scans. One of each
            group is taken, with a fixed seed.

    Raises:
        InputError: what cannot be read, lacks a test split, or a grouping that does not fit.
    """
    try:
        found = with_groups(load(word, "test", data_dir), group)
    except ManySizesError:
        path = path_of(word)
        if not path.is_dir():
            raise InputError(f"--id {word}: its images differ in size. Unpack it and pass the folder.") from None
        listing = list_split(FolderTree(path), "test", word)
        groups = None if group is None else group_names(listing.paths, word, group)
        paths = [path / name for name in listing.paths]
        return [paths[at] for at in _one_of_each(groups, len(paths))], "own data; its licence is for its owner to state"
    return found.images[_one_of_each(found.groups, len(found))], found.licence


def _one_of_each(groups: Sequence[str] | None, count: int) -> Int64[np.ndarray, " n"]:
    """Indices of the images that calibrate: one of each group, or all."""
    if groups is None:
        return np.arange(count)
    one = one_of_each(groups, np.random.default_rng(0))
    say([f"{count} images belong to {len(one)} groups; one of each calibrates"])
    return one


def _all(parts: Iterator[Examined]) -> Examined:
    found = list(parts)
    return Examined(np.concatenate([part.scores for part in found]), np.concatenate([part.classes for part in found]))
