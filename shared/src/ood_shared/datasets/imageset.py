"""A labelled set of images in memory, and the ways to take parts of it.

Images are uint8 in channels-last order, as they come from files; labels are int64 in 0..classes-1. Everything that
loads data in this package ends in an `ImageSet`, so that a detector does not care where its images came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64, UInt8

from ood_shared.errors import InputError, MissingSplitError, unknown
from ood_shared.notes import say

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels, class names and the licence under which their source gives them.

    Attributes:
        images: uint8 (n, height, width, channels), 1 (grey) or 3 (RGB) channels, 0 to 255.
        labels: int64 (n,), index into `classes`.
        classes: names of the classes.
        licence: one line: the source and its licence.
        name: short name for tables and file names.
        names: of the images, such as their paths below the set's folder; None where they have none.
        notes: what a user should know of how they were read, a line each; commands print them, reports show them.
        groups: of the images, such as their patients; None where each is by itself.

    Raises:
        InputError: if shapes, dtypes or labels do not fit together.
    """

    images: UInt8[np.ndarray, "n height width channels"] = field(repr=False)
    labels: Int64[np.ndarray, " n"] = field(repr=False)
    classes: tuple[str, ...]
    licence: str
    name: str
    names: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise InputError(
                f"Images of `{self.name}` are {self.images.dtype} {shape}; expected uint8 (n, height, width, 1 or 3)."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise InputError(
                f"Labels of `{self.name}` are {self.labels.dtype} {self.labels.shape}; expected int64 ({shape[0]},)."
            )
        for what, words in (("names", self.names), ("groups", self.groups)):
            if words is not None and len(words) != shape[0]:
                raise InputError(f"`{self.name}` has {len(words)} {what} for {shape[0]} images; expected one for each.")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"Labels of `{self.name}` run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {len(self.classes) - 1}, for {len(self.classes)} classes."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, mask_or_index: npt.ArrayLike) -> "ImageSet":
        """The images that a boolean mask (n,) or an array of indices names, in that order."""
        chosen = np.asarray(mask_or_index)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)  # an empty list is float64 to NumPy
        names, groups = (
            None if words is None else tuple(np.array(words, dtype=object)[chosen])
            for words in (self.names, self.groups)
        )
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], names=names, groups=groups)

    def subset(self, n: int, generator: torch.Generator) -> "ImageSet":
        """`n` images drawn without replacement, kept in the order of the set.

        Raises:
            InputError: if `n` is not in 1..len(self).
        """
        if not 1 <= n <= len(self):
            raise InputError(f"Cannot draw {n} of the {len(self)} images of `{self.name}`; give 1 to {len(self)}.")
        drawn = torch.randperm(len(self), generator=generator, device=generator.device)[:n]
        return self.select(np.sort(drawn.cpu().numpy()))


def hold_out(train: ImageSet, test: ImageSet, novel: Sequence[str | int]) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Three sets: train and test without the novel classes, and the novel classes of test as a near-OOD set.

    The remaining classes are numbered anew from 0 in their old order; so are the novel ones in their own set.

    Args:
        train: ID training images.
        test: test images with the same classes.
        novel: classes to keep out of ID, by name or, when no class has that name, by index ("7" or 7).

    Raises:
        InputError: for an unknown class, none or all but one of the classes held out, differing classes in train and
            test, or no images left for one of the three sets.
    """
    if train.classes != test.classes:
        raise InputError(
            f"`{train.name}` has the classes {_listed(train.classes)} for training and {_listed(test.classes)} for "
            "testing; holding classes out needs the same ones."
        )
    held = sorted({class_index(word, train.classes) for word in novel})
    kept = [index for index in range(len(train.classes)) if index not in held]
    if not held or len(kept) < 2:
        raise InputError(
            f"Holding out {len(held)} of the {len(train.classes)} classes of `{train.name}` leaves {len(kept)} for ID; "
            "hold out at least 1 and leave at least 2."
        )
    parts = (_relabelled(train, kept), _relabelled(test, kept), _relabelled(test, held))
    for part, what in zip(parts, ("ID training", "ID test", "novel test"), strict=True):
        if not len(part):
            raise InputError(f"`{train.name}` has no {what} images when {_listed(parts[2].classes)} are held out.")
    return parts[0], parts[1], replace(parts[2], name=f"{test.name}-novel")


def notes_of(*sets: ImageSet) -> tuple[str, ...]:
    """The notes of some sets, each once, with the name of its set."""
    return tuple(dict.fromkeys(f"{images.name}: {note}" for images in sets for note in images.notes))


def told(images: ImageSet) -> ImageSet:
    """The set, after its notes were printed: for commands that read one set after the other."""
    say(notes_of(images))
    return images


def missing_split(where: str, split: str, present: Sequence[str], hint: str = "") -> MissingSplitError:
    """The error for a split that a set does not have, listing those that it has."""
    listed = ", ".join(present) if present else "none"
    return MissingSplitError(f"{where} has no `{split}` split. Present: {listed}.{' ' + hint if hint else ''}")


def class_index(word: str | int, classes: tuple[str, ...]) -> int:
    """The number of a class, by its name or, when no class has that name, by its number.

    Raises:
        InputError: no such class.
    """
    if isinstance(word, str) and word in classes:
        return classes.index(word)
    if str(word).isdecimal() and int(word) < len(classes):
        return int(word)
    raise unknown("Class", str(word), classes)


def _relabelled(images: ImageSet, kept: list[int]) -> ImageSet:
    number = np.full(len(images.classes), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    chosen = images.select(np.isin(images.labels, kept))
    return replace(chosen, labels=number[chosen.labels], classes=tuple(images.classes[index] for index in kept))


def _listed(words: Sequence[str], shown: int = 8) -> str:
    return ", ".join(words[:shown]) + (", …" if len(words) > shown else "")
