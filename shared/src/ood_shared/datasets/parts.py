"""The ID images to train on and to test with: the splits of a set, or own data without splits, split here.

Data without splits is split by a seed within each class, four fifths to train on, one fifth to test with; groups stay
together. What was done is a note of both parts.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ood_shared.contract import Request
from ood_shared.datasets.groups import groups_of, of_scans
from ood_shared.datasets.imageset import ImageSet
from ood_shared.datasets.registry import is_known, load_any_size
from ood_shared.errors import InputError, MissingSplitError, one_line

TEST_SHARE = 0.2
SHOWN = 3  # groups that are named


def id_parts(request: Request, side: int) -> tuple[ImageSet, ImageSet]:
    """Training and test images of the ID set of a request, with their groups.

    Args:
        request: its `id`, `group`, `one_class`, `value_range`, `seed` and `data_dir` are read.
        side: of the squares of images that differ in size.

    Raises:
        InputError: what cannot be read, or cannot be split: a class of one image, or of one group.
    """

    def part(split: str) -> ImageSet:
        found = load_any_size(request.id, split, request.data_dir, side, request.span)
        return with_groups(as_one_class(found) if request.one_class else found, request.group)

    try:
        train = part("train")
    except MissingSplitError:
        if is_known(request.id):
            raise
        whole = part("test")
        fit, held = split_classes(whole.labels, whole.groups, request.seed, whole.classes, request.id)
        note = split_note(len(fit), len(held), request.seed, whole.groups)
        whole = replace(whole, notes=(*whole.notes, note))
        return whole.select(fit), _drawn_together(whole.select(held), request.group)
    test = part("test")
    return _told_of_common(train, test), _drawn_together(test, request.group)


def _drawn_together(images: ImageSet, group: str | None) -> ImageSet:
    if group is None or images.groups is None:
        return images
    count = len(set(images.groups))
    if count < 2:
        note = (
            f"all test images belong to one group (--group {one_line(group, 60)}): intervals are over its images alone"
        )
        return replace(images, notes=(*images.notes, note))
    note = f"test images belong to {count} groups (--group {one_line(group, 60)}), drawn together for intervals"
    return replace(images, notes=(*images.notes, note))


def with_groups(images: ImageSet, group: str | None) -> ImageSet:
    """The set with the groups of its images: those asked for, else the scans of slices, else none."""
    return replace(images, groups=of_scans(images) if group is None else groups_of(images, group))


def as_one_class(images: ImageSet) -> ImageSet:
    """The set with all images in one class, whatever their folders."""
    return replace(images, classes=(images.name,), labels=np.zeros_like(images.labels))


def split_note(train: int, test: int, seed: int, groups: Sequence[str] | None = None) -> str:
    """What is said of a split that was made here."""
    share = round(100 * test / (train + test))
    said = f"no split into train and test: split by seed {seed} within each class, {train} images ({100 - share} %) to "
    said += f"train on and {test} ({share} %) to test with"
    return said if groups is None else f"{said}; images of each of {len(set(groups))} groups on one side"


def split_classes(
    labels: npt.NDArray[np.int64],
    groups: Sequence[str] | None,
    seed: int,
    classes: Sequence[str],
    where: object,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of four fifths and of one fifth of each class, drawn by a seed; a group counts for its main class.

    Args:
        labels: (n,), 0 to the number of classes.
        groups: of each image; None where each is by itself.
        seed: of the draw.
        classes: names, for messages.
        where: name of the set, for messages.

    Raises:
        InputError: a class that would lack images on one side.
    """
    members = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes = np.bincount(members)
    of_group = np.zeros((len(sizes), len(classes)), np.int64)
    np.add.at(of_group, (members, labels), 1)
    main = of_group.argmax(axis=1)  # (groups,)
    generator, held = np.random.default_rng(seed), np.zeros(len(sizes), dtype=bool)
    for number in range(len(classes)):
        order = generator.permutation(np.flatnonzero(main == number))
        wanted = TEST_SHARE * sizes[order].sum()
        before = np.cumsum(sizes[order]) - sizes[order]
        taken = order[before + sizes[order] / 2 <= wanted]  # whichever number of groups comes nearest
        taken = order[:1] if not len(taken) else taken
        held[taken[: max(len(order) - 1, 0)]] = True
    test = held[members]
    for side, what in ((~test, "to train on"), (test, "to test with")):
        counts = np.bincount(labels[side], minlength=len(classes))
        if not counts.all():
            name, count = classes[int(counts.argmin())], int((labels == int(counts.argmin())).sum())
            unit = f"{count} image(s)" if groups is None else f"{count} image(s) of too few groups"
            raise InputError(
                f"{where} has no split, and its class `{one_line(name, 60)}` has {unit}, so that none is left {what}. "
                "Give more, or folders `train` and `test`."
            )
    return np.flatnonzero(~test), np.flatnonzero(test)


def _told_of_common(train: ImageSet, test: ImageSet) -> ImageSet:
    """The training images, with a note where a group is in test, too."""
    common = sorted(set(train.groups or ()) & set(test.groups or ()))
    if not common:
        return train
    listed = one_line(", ".join(common[:SHOWN]) + (", …" if len(common) > SHOWN else ""), 120)
    note = f"{len(common)} groups are in train and in test ({listed}): test images are too much like training images"
    return replace(train, notes=(*train.notes, note))
