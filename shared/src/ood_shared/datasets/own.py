"""Own data by its path.

An image folder, which may hold DICOM and NIfTI files, an archive of images, a six-array `.npz`, IDX files, an OpenOOD
image list, or one DICOM or NIfTI file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ood_shared.datasets.archives import ARCHIVES, is_archive, load_archive
from ood_shared.datasets.decode import Encoded, decode_all, is_image, numbered
from ood_shared.datasets.idx import find_pairs, is_images_file, read_numbers, read_pair
from ood_shared.datasets.imageset import ImageSet, missing_split
from ood_shared.datasets.labels import Labelled, read_labels
from ood_shared.datasets.lists import ImageList, read_list
from ood_shared.datasets.npz import load_npz
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.resizing import fit
from ood_shared.datasets.slices import SLICED, holds_images, images_in, is_index
from ood_shared.datasets.tree import FolderTree, Listing, list_split
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import check_name, path_of, regular

LICENCE = "own data; its licence is for its owner to state"
KINDS = f"a folder, {', '.join(ARCHIVES)}, .npz, IDX images, an image list .txt, {' or '.join(SLICED)}"


def looks_like_path(text: str) -> bool:
    """Whether a user who wrote this meant a file or folder: it is there, or it has a separator or a known ending."""
    path = path_of(text)
    known = (*ARCHIVES, ".npz", ".txt", "-ubyte", "-ubyte.gz")
    return "/" in text or "\\" in text or text.lower().endswith(known) or path.exists()


def load_path(
    path: Path,
    split: str,
    root: Path | None = None,
    size: int | None = None,
    channels: int | None = None,
    span: Range | None = None,
) -> ImageSet:
    """A split of own data.

    Args:
        path: file or folder; its kind goes by what it is and by its ending.
        split: `train`, `val` or `test`. Data without splits is all `test`.
        root: for an image list, the folder from which its paths start; None means the folder of the list.
        size: side of the images to make, by centre square and resizing; None takes them as they are.
        channels: 1 or 3 to convert; None takes them as they are.
        span: of values of more than 8 bits; None: 0 to 65535 of 16 bits (`pixels`).

    Raises:
        MissingFileError: the file or folder, or one that it names, is not there.
        InputError: what is there cannot be used; the message names the file.
    """
    name, make = name_of(path), (size, channels, span)
    match kind_of(path):
        case "idx":
            return fit(_load_idx(path, split, name), size, channels)
        case "folder":
            listing = list_split(FolderTree(path), split, str(path))
            files = [(str(path / file), path / file) for file in listing.paths]
            return _load_files(files, listing, name, path, *make)
        case "archive":
            images, listing = load_archive(path, split, *make)
            labels = np.array(listing.labels, dtype=np.int64)
            return ImageSet(images, labels, listing.classes, LICENCE, name, tuple(listing.paths), listing.notes)
        case "npz":
            return fit(load_npz(path, split, name, LICENCE), size, channels)
        case "list":
            listed, start = read_list(path, split, root or path.parent), root or path.parent
            return _load_list(listed, name, start, *make)
        case _:
            if split != "test":
                raise missing_split(str(path), split, ["test"])
            listing = Listing(("images",), [path.name], [0])
            return _load_files([(str(path), path)], listing, name, path.parent, *make)


def kind_of(path: Path) -> str:
    """How own data is read: `idx`, `folder`, `archive`, `npz`, `list` or `scan`.

    Raises:
        MissingFileError: the file or folder is not there.
        InputError: it is of no kind that is read.
    """
    check_name(path.name, path.parent)
    if path.is_dir():
        return "idx" if any(is_images_file(file.name) for file in path.iterdir()) else "folder"
    lower = path.name.lower()
    known = lower.endswith((*ARCHIVES, ".npz", ".txt", *SLICED)) or is_images_file(path.name)
    if known or path.is_symlink() or path.exists():
        regular(path, what=KINDS)
    else:
        raise MissingFileError(f"{path} is missing; expected {KINDS}.")
    if is_archive(path):
        return "archive"
    if lower.endswith((".npz", ".txt")):
        return {"npz": "npz", "txt": "list"}[lower[-3:]]
    if is_images_file(path.name):
        return "idx"
    if not is_image(path.name) and holds_images(path):
        return "scan"
    if is_index(path.name):
        raise InputError(f"{path} lists other files and holds no image. Name its folder.")
    raise InputError(f"{path} is of no kind that is read; expected {KINDS}.")


def name_of(path: Path) -> str:
    """The short name of own data: of its folder, or of its file without endings."""
    if path.is_dir():
        return path.resolve().name or "root"
    return re.sub(r"(\.tar)?\.[a-z0-9]+$", "", path.name, flags=re.IGNORECASE)


def _load_files(
    files: Sequence[tuple[str, Path]],
    listing: Listing,
    name: str,
    below: Path,
    size: int | None,
    channels: int | None,
    span: Range | None,
) -> ImageSet:
    """All images of the files, with the label of their file, named by their paths below a folder."""
    counts = [1 if is_image(path.name) else sum(1 for _ in images_in(shown, path)) for shown, path in files]

    names = []

    def images() -> Iterator[Encoded]:
        place = 0
        for shown, path in files:
            for item in images_in(shown, path):
                names.append(item.name.removeprefix(f"{below}{os.sep}"))
                yield item._replace(place=place)
                place += 1

    notes = list(listing.notes)
    pixels = decode_all(images(), sum(counts), size, channels, span, notes)
    repeated = np.repeat(np.array(listing.labels, dtype=np.int64), counts)
    return ImageSet(pixels, repeated, listing.classes, LICENCE, name, tuple(names), tuple(notes))


def _load_idx(path: Path, split: str, name: str) -> ImageSet:
    pairs = find_pairs(path)
    if split not in pairs:
        raise missing_split(str(path), split, sorted(pairs))
    images, _ = read_pair(*pairs[split])
    labelled = survey_idx(path)
    return ImageSet(images, labelled.labels[split], labelled.classes, LICENCE, name, notes=labelled.notes)


def survey_idx(path: Path) -> Labelled:
    """Labels and classes of all splits of a set of IDX files, whose images are not read."""
    pairs = find_pairs(path)
    for split, (_, labels) in pairs.items():
        if not len(read_numbers(labels)):
            raise InputError(f"{labels} holds no labels of `{split}`; expected one for each image.")
    return read_labels(path, {split: read_numbers(labels) for split, (_, labels) in pairs.items()})


def _load_list(
    listed: ImageList, name: str, root: Path, size: int | None, channels: int | None, span: Range | None
) -> ImageSet:
    notes = list(listed.notes)
    images = decode_all(numbered(listed.files), len(listed.files), size, channels, span, notes)
    names = tuple(str(file.relative_to(root)) for _, file in listed.files)
    return ImageSet(images, listed.labels, listed.classes, LICENCE, name, names, tuple(notes))
