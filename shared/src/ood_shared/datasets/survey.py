"""What a set holds by its listing and its headers, before anything is trained: names, splits, classes, notes.

found = survey("./my_images", "train")    # an InputError where `load` would refuse what a listing shows
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ood_shared.datasets.archives import list_archive, open_archive
from ood_shared.datasets.decode import decode
from ood_shared.datasets.idx import find_pairs
from ood_shared.datasets.imageset import missing_split
from ood_shared.datasets.labels import Labelled
from ood_shared.datasets.lists import read_list
from ood_shared.datasets.npz import survey_npz
from ood_shared.datasets.own import kind_of, name_of, survey_idx
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.slices import images_in
from ood_shared.datasets.tree import FolderTree, Listing, list_split

LOOKED_AT = 1  # images that are decoded, to notice what none of them can be


@dataclass(frozen=True)
class Survey:
    """What a split of own data holds.

    Attributes:
        name: of the set.
        classes: names of the classes, of all splits.
        labels: (n,), of each file in the split, of arrays of each image.
        names: (n,), of the files as `ImageSet.names`; None where they have none.
        notes: as `ImageSet.notes`, as far as a listing tells.
    """

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None
    notes: tuple[str, ...]


def survey(path: Path, split: str, span: Range | None = None) -> Survey:
    """What a split of own data holds; the first image is decoded.

    Args:
        path: see `own.load_path`.
        split: `train`, `val` or `test`.
        span: of values of more than 8 bits.

    Raises:
        MissingSplitError: data that is all `test`, or lacks the split.
        InputError: what `load_path` refuses and a listing, headers or the first image show.
    """
    name = name_of(path)
    match kind_of(path):
        case "folder":
            listing = list_split(FolderTree(path), split, str(path))
            first = path / listing.paths[0]
            _look(str(first), first, span)
            return _of_listing(name, listing)
        case "archive":
            listing = list_archive(path, split)
            with open_archive(path) as archive:
                for item in islice(archive.read({listing.paths[0]: 0}), LOOKED_AT):
                    _look(item.name, item.data, span)
            return _of_listing(name, listing)
        case "npz":
            return _of_labels(name, survey_npz(path, split), split)
        case "idx":
            pairs = find_pairs(path)
            if split not in pairs:
                raise missing_split(str(path), split, sorted(pairs))
            return _of_labels(name, survey_idx(path), split)
        case "list":
            listed = read_list(path, split, path.parent)
            _look(*listed.files[0], span)
            names = tuple(str(file.relative_to(path.parent)) for _, file in listed.files)
            return Survey(name, listed.classes, listed.labels, names, listed.notes)
        case _:
            if split != "test":
                raise missing_split(str(path), split, ["test"])
            _look(str(path), path, span)
            return Survey(name, ("images",), np.zeros(1, np.int64), (path.name,), ())


def _look(name: str, source: bytes | Path | object, span: Range | None) -> None:
    """Decode the first image of a file."""
    if isinstance(source, bytes | Path):
        for item in islice(images_in(name, source), LOOKED_AT):
            decode(item, span=span)


def _of_listing(name: str, listing: Listing) -> Survey:
    labels = np.array(listing.labels, dtype=np.int64)
    return Survey(name, listing.classes, labels, tuple(listing.paths), listing.notes)


def _of_labels(name: str, labelled: Labelled, split: str) -> Survey:
    return Survey(name, labelled.classes, labelled.labels[split], None, labelled.notes)
