"""Sets of torchvision that come as arrays: cifar10, cifar100, svhn, usps, stl10.

Files already there are taken in torchvision's layout, from `<root>` or `<root>/<name>`, when their checksum is right;
torchvision loads CIFAR with pickle, so nothing unchecked reaches it. Absent ones are downloaded through torchvision.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ood_shared.datasets.fetch import download_into
from ood_shared.datasets.imageset import ImageSet, missing_split
from ood_shared.errors import InputError


class ArraySet(NamedTuple):
    """What differs between the sets: the torchvision class, its files, licence and source."""

    kind: str
    files: dict[str, str]
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    source: str


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
ARRAY_SETS = {
    "cifar10": ArraySet(
        "CIFAR10",
        {"train": "cifar-10-batches-py", "test": "cifar-10-batches-py"},
        (32, 32, 3),
        _CIFAR10,
        "CIFAR-10 (Krizhevsky 2009); no licence stated, citation asked for",
        "the CIFAR page of the University of Toronto, python version",
    ),
    "cifar100": ArraySet(
        "CIFAR100",
        {"train": "cifar-100-python", "test": "cifar-100-python"},
        (32, 32, 3),
        (),  # 100 names, read from its files
        "CIFAR-100 (Krizhevsky 2009); no licence stated, citation asked for",
        "the CIFAR page of the University of Toronto, python version",
    ),
    "svhn": ArraySet(
        "SVHN",
        {"train": "train_32x32.mat", "test": "test_32x32.mat"},
        (32, 32, 3),
        tuple("0123456789"),
        "Street View House Numbers (Netzer et al. 2011); non-commercial use only",
        "the SVHN page of Stanford University, format 2",
    ),
    "usps": ArraySet(
        "USPS",
        {"train": "usps.bz2", "test": "usps.t.bz2"},
        (16, 16, 1),
        tuple("0123456789"),
        "USPS (Hull 1994); no licence stated",
        "the LIBSVM data page, multi-class sets",
    ),
    "stl10": ArraySet(
        "STL10",
        {"train": "stl10_binary", "test": "stl10_binary"},
        (96, 96, 3),
        _STL10,
        "STL-10 (Coates et al. 2011, from ImageNet); for research",
        "the STL-10 page of Stanford University",
    ),
}


def fetch_array_set(name: str, split: str, root: Path) -> Any:
    """The torchvision dataset of a split, downloaded where it is absent. It is in memory: its checksum needs all of it.

    Raises:
        MissingFileError: files are absent, or other than torchvision's checksums say, and could not be downloaded.
        InputError: the set lacks the split, or its files are damaged.
    """
    entry = ARRAY_SETS[name]
    if split not in entry.files:
        raise missing_split(f"`{name}`", split, list(entry.files))
    opened = _open(name, split, root, download=False) or _open(name, split, root / name, download=False)
    if opened is None:
        file = entry.files[split]
        absent = f"`{name}` lacks {file}, or its checksum is wrong. Get it from {entry.source} and put it into {root}."
        download_into(root, lambda place: _open(name, split, place, download=True), absent)
        opened = _open(name, split, root, download=False)
    if opened is None:
        raise InputError(f"The files of `{name}` in {root} cannot be read. Delete them and run again.")
    return opened


def load_array_set(name: str, split: str, root: Path) -> ImageSet:
    """A split of one of the sets; raises as `fetch_array_set`."""
    entry = ARRAY_SETS[name]
    opened = fetch_array_set(name, split, root)
    images = np.asarray(opened.data)
    if name in ("svhn", "stl10"):
        images = images.transpose(0, 2, 3, 1)  # torchvision keeps these two with channels first
    images = np.ascontiguousarray(images.reshape(-1, *entry.shape))
    labels = np.asarray(opened.labels if hasattr(opened, "labels") else opened.targets, dtype=np.int64)
    classes = entry.classes or tuple(opened.classes)
    return ImageSet(images, labels, classes, entry.licence, name)


def _open(name: str, split: str, root: Path, download: bool) -> Any:
    """The torchvision dataset; None when its files are not there or have wrong checksums, and downloading is off."""
    from torchvision import datasets

    kind = getattr(datasets, ARRAY_SETS[name].kind)
    options = {"split": split} if name in ("svhn", "stl10") else {"train": split == "train"}
    try:
        return kind(root, download=download, **options)
    except ModuleNotFoundError as error:
        raise InputError(f"`{name}` needs {error.name} to read its files. Install {error.name}.") from error
    except (FileNotFoundError, RuntimeError):
        if download:
            raise
        return None
    except (OSError, EOFError, ValueError) as error:
        if download:
            raise
        raise InputError(
            f"{root / ARRAY_SETS[name].files[split]} is truncated or damaged ({error}). Delete it and run again."
        ) from error
