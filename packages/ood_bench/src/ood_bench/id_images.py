"""The ID images that a detector is fitted on: read once, with their names and groups, then at a network's size."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared.datasets import ImageSet, load, resize
from ood_shared.datasets.benchmark import Benchmark, native_size
from ood_shared.errors import InputError, ManySizesError, MissingFileError, MissingSplitError

from ood_bench.backbones.backbone import Backbone
from ood_bench.backbones.choice import MOST_SIDE
from ood_bench.baseline_training import CHANNELS, SIDE


@dataclass(frozen=True, eq=False)
class IdImages:
    """Images, read.

    Attributes:
        word: name or path that they were asked for by.
        images: of one size.
        square: whether they are centre squares, because they differed in size.
        groups: of each image; None for none.
    """

    word: str
    images: ImageSet = field(repr=False)
    square: bool
    groups: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.images.classes

    @property
    def side(self) -> int:
        """Shorter side, pixels."""
        return int(min(self.images.images.shape[1:3]))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each image."""
        if self.images.names is not None:
            return self.images.names
        return tuple(f"{self.images.name}#{number}" for number in range(len(self)))

    def about(self) -> dict[str, Any]:
        """For the card of a file."""
        pixels = sha256(self.images.images.tobytes()).hexdigest()
        labels = sha256(self.images.labels.tobytes()).hexdigest()
        return {
            "id": self.word,
            "images": len(self),
            "groups": None if self.groups is None else len(set(self.groups)),
            "licence": self.images.licence,
            "sha256": {"pixels": pixels, "labels": labels},
        }

    def at(self, backbone: Backbone | None, mirror: bool) -> Benchmark:
        """The images at the size of a network, the common one when None."""
        side, channels = (SIDE, CHANNELS) if backbone is None else (backbone.inputs.side, backbone.inputs.channels)
        native = native_size(self.images.images.shape[1:3], side)
        pixels = resize(self.images.images, (side, side), channels=channels)
        labels = torch.from_numpy(self.images.labels)
        return Benchmark(pixels, labels, pixels, labels, self.classes, {}, native, mirror)


def read_id_images(word: str, data_dir: str | None, group: str | None = None, one_class: bool = False) -> IdImages:
    """The training split of a set; all images of own data that has no splits.

    Args:
        word: a known name or a path.
        data_dir: of known sets.
        group: how images belong together: a number, the folder at that depth of their path (1 is the first below the
            set's); or a CSV with the columns `file` and another one.
        one_class: take all images as one class, whatever their folders.

    Raises:
        InputError: what cannot be read, or a grouping that does not fit the images.
    """
    try:
        images, square = _read(word, "train", data_dir)
    except MissingSplitError:
        images, square = _read(word, "test", data_dir)
    if one_class:
        images = replace(images, classes=(images.name,), labels=np.zeros_like(images.labels))
    return IdImages(word, images, square, of_scans(images) if group is None else groups_of(images, group))


def _read(word: str, split: str, data_dir: str | None) -> tuple[ImageSet, bool]:
    try:
        return load(word, split, data_dir), False
    except ManySizesError:
        print(f"{word}: images of different sizes; their centre squares are taken at {MOST_SIDE} x {MOST_SIDE}.")
        return load(word, split, data_dir, size=MOST_SIDE), True


def of_scans(images: ImageSet) -> tuple[str, ...] | None:
    """The scan of each image, where some are slices `scan.nii.gz#17`: neighbours must not be told apart by a split."""
    if images.names is None or not any("#" in name for name in images.names):
        return None
    return tuple(name.rpartition("#")[0] or name for name in images.names)


def groups_of(images: ImageSet, group: str) -> tuple[str, ...]:
    """The group of each image, such as its patient; see `read_id_images`.

    Raises:
        InputError: the images have no names, a path is too short, or the CSV lacks images.
    """
    if images.names is None:
        raise InputError(f"--group {group}: {images.name} has no file names; give a folder or an archive.")
    if group.isdecimal():
        return _by_depth(images.names, int(group))
    return _by_table(images.names, Path(group))


def _by_depth(names: Sequence[str], depth: int) -> tuple[str, ...]:
    groups = []
    for name in names:
        parts = Path(name).parts[:-1]
        if not 1 <= depth <= len(parts):
            raise InputError(f"--group {depth}: {name} lies in {len(parts)} folder(s); expected 1 to that.")
        groups.append(parts[depth - 1])  # a patient in the folders of two classes stays one
    return tuple(groups)


def _by_table(names: Sequence[str], path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MissingFileError(f"--group {path} is missing; expected the number of a folder level, or a CSV.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--group {path} is no CSV in UTF-8 ({error}).") from None
    if not rows or len(rows[0]) != 2 or rows[0][0] != "file":
        found = rows[0] if rows else "no line"
        raise InputError(f"--group {path} begins with {found}; expected the columns `file` and one of groups.")
    table = {row[0]: row[1] for row in rows[1:] if len(row) == 2}
    missing = [name for name in names if name not in table and Path(name).name not in table]
    if missing:
        raise InputError(f"--group {path} has no group for {len(missing)} of {len(names)} images: {missing[0]}.")
    return tuple(table[name] if name in table else table[Path(name).name] for name in names)
