"""The sets of a comparison, looked at once before the first method starts: names, listings, headers, a first image.

What no method could use ends the command with one line, before minutes of training and not once for each method. What
a user should know of the images is said here, too, and stands in the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ood_shared.contract import Request
from ood_shared.datasets.embedded import EMBEDDED
from ood_shared.datasets.groups import group_names, read_table
from ood_shared.datasets.imageset import class_index
from ood_shared.datasets.parts import split_classes, split_note
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.registry import (
    ALIASES,
    check_outliers,
    check_output_folder,
    fetch_set,
    is_known,
    known_names,
    load,
)
from ood_shared.datasets.survey import Survey, survey
from ood_shared.errors import InputError, MissingFileError, MissingSplitError, nearest, one_line, unknown
from ood_shared.files import path_of

from ood_bench.settings import Comparison

LEAST_CLASSES = 2  # that are left when others are kept out


@dataclass(frozen=True)
class LookedAt:
    """What is known of the ID set before anything is trained.

    Attributes:
        classes: that are left when the novel ones are kept out; None where it is a known set that is not embedded.
        notes: about all sets, with the name of the set in front.
    """

    classes: tuple[str, ...] | None
    notes: tuple[str, ...]


def look_at(asked: Comparison) -> LookedAt:
    """Look at the ID set and the OOD sets.

    Args:
        asked: of the flags.

    Raises:
        InputError: a name that is not known, a path that is not there, data that no method can use, the ID set as an
            OOD set, or an output folder among the images.
    """
    request = Request(asked.id, ",".join(asked.ood), group=asked.group, value_range=asked.value_range)
    span = request.span
    if asked.group is not None and not asked.group.isdecimal():
        read_table(asked.group)
    for flag, word in (("--id", asked.id), *(("--ood", word) for word in asked.ood)):
        _exists(flag, word)
    check_outliers(asked.id, asked.ood)
    check_output_folder(asked.output_dir, (asked.id, *asked.ood))
    notes: list[str] = []
    classes = None
    if is_known(asked.id):
        if asked.id.lower() in EMBEDDED:
            classes = load(asked.id, "train", asked.data_dir).classes
    else:
        found = _own_id(asked, span)
        notes += [f"{asked.id}: {note}" for note in found.notes]
        classes = found.classes
    if asked.one_class:
        classes = ("all",)
    for word in asked.ood:
        if not is_known(word):
            notes += [f"{word}: {note}" for note in survey(path_of(word), "test", span).notes]
    if classes is not None and asked.novel_classes is not None:
        novel = {class_index(word, classes) for word in asked.novel_classes.split(",")}
        classes = tuple(name for number, name in enumerate(classes) if number not in novel)
        if len(classes) < LEAST_CLASSES:
            raise InputError(
                f"--novel-classes {asked.novel_classes} leaves {len(classes)} of the classes of {asked.id}; at least "
                f"{LEAST_CLASSES} are needed."
            )
    return LookedAt(classes, tuple(dict.fromkeys(notes)))


def fetch_known(asked: Comparison) -> None:
    """See to it that the files of known sets are there: absent ones are downloaded here, once.

    Args:
        asked: of the flags. Its data folder is that of the methods, also of those on the nodes of a cluster.

    Raises:
        InputError: a set that is absent and cannot be downloaded, is damaged, or has no images to train on.
    """
    needed = [(asked.id, "train"), (asked.id, "test"), *((word, "test") for word in asked.ood)]
    for word, split in needed:
        if is_known(word):
            fetch_set(word, split, asked.data_dir)


def _own_id(asked: Comparison, span: Range | None) -> Survey:
    """Own ID data: both splits, or the split that will be made."""
    path = path_of(asked.id)
    try:
        train = survey(path, "train", span)
    except MissingSplitError:
        return _to_split(asked, survey(path, "test", span))
    test = survey(path, "test", span)
    if asked.group is not None:
        for found in (train, test):
            group_names(found.names, found.name, asked.group)
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if not asked.one_class and not counts.all():
        lacking = one_line(train.classes[int(counts.argmin())], 60)
        raise InputError(f"--id {asked.id}: class `{lacking}` has no images to train on. Add some.")
    return Survey(train.name, train.classes, train.labels, train.names, tuple(dict.fromkeys(train.notes + test.notes)))


def _to_split(asked: Comparison, whole: Survey) -> Survey:
    groups = None if asked.group is None else group_names(whole.names, whole.name, asked.group)
    labels = np.zeros_like(whole.labels) if asked.one_class else whole.labels
    classes: Sequence[str] = (whole.name,) if asked.one_class else whole.classes
    for seed in asked.seeds:
        fit, held = split_classes(labels, groups, seed, classes, asked.id)
    note = split_note(len(fit), len(held), seed, groups)
    if len(asked.seeds) > 1:
        note = note.replace(f"by seed {seed}", "by the seed of each run")
    return Survey(whole.name, whole.classes, whole.labels, whole.names, (*whole.notes, note))


def _exists(flag: str, word: str) -> None:
    """Refuse a mistyped name or path."""
    if is_known(word):
        return
    path = path_of(word)
    if path.exists() or path.is_symlink():
        return
    if any(separator in word for separator in "/\\.") or word.startswith("~"):
        raise MissingFileError(f"{flag} {one_line(word, 200)} is missing; expected images.{_near(path)}")
    raise unknown(f"{flag}: data set", one_line(word, 120), [*known_names(), *ALIASES, *_beside(Path())])


def _near(path: Path) -> str:
    """What a path may have meant."""
    parent = path.parent
    guess = nearest(path.name, _beside(parent))
    return "" if guess is None else f" Did you mean `{parent / guess}`?"


def _beside(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))[:1000]
    except OSError:
        return []
