"""MNIST and the sets made in its image: fmnist, kmnist, emnist (letters), qmnist, read from their IDX files.

Files already there are taken in torchvision's layout, `<root>/MNIST/raw/…`, packed with gzip or not, also when they
were packed anew and the checksum of the packed file is another one. Absent ones are downloaded through torchvision.
"""

import hashlib
import logging
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ood_shared.datasets.fetch import download_into
from ood_shared.datasets.idx import present, read_pair
from ood_shared.datasets.imageset import ImageSet, missing_split
from ood_shared.errors import InputError

DIGITS = tuple("0123456789")
# MD5 of the pixels with their header, as the unpacked images file has them; a difference is noted, not refused.
UNPACKED_MD5 = {
    ("mnist", "train"): "6bbc9ace898e44ae57da46a324031adb",
    ("mnist", "test"): "2646ac647ad5339dbf082846283269ea",
    ("fmnist", "train"): "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    ("fmnist", "test"): "8181f5470baa50b63fa0f6fddb340f0a",
}
_log = logging.getLogger(__name__)


class Member(NamedTuple):
    """What differs between the sets of the family."""

    folder: str  # the torchvision class, too
    classes: tuple[str, ...]
    sizes: dict[str, tuple[int, ...]]  # numbers of images that are in circulation
    licence: str
    source: str
    files: str = "{split}-{part}"
    words: tuple[str, str] = ("train", "t10k")
    labels: str = "labels-idx1-ubyte"
    first_label: int = 0


FAMILY = {
    "mnist": Member(
        "MNIST",
        DIGITS,
        {"train": (60_000,), "test": (10_000,)},
        "MNIST (LeCun, Cortes, Burges); CC BY-SA 3.0",
        "the MNIST database of handwritten digits by LeCun, Cortes and Burges",
    ),
    "fmnist": Member(
        "FashionMNIST",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        {"train": (60_000,), "test": (10_000,)},
        "Fashion-MNIST (Zalando Research); MIT",
        "the Fashion-MNIST repository of Zalando Research",
    ),
    "kmnist": Member(
        "KMNIST",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        {"train": (60_000,), "test": (10_000,)},
        "Kuzushiji-MNIST (CODH, from the NIJL Kuzushiji dataset); CC BY-SA 4.0",
        "the Kuzushiji-MNIST page of the Center for Open Data in the Humanities",
    ),
    "emnist": Member(
        "EMNIST",
        tuple(string.ascii_lowercase),
        {"train": (124_800, 88_800), "test": (20_800, 14_800)},
        "EMNIST letters (Cohen et al., from NIST Special Database 19); public domain",
        "the EMNIST page of NIST, file gzip.zip",
        files="emnist-letters-{split}-{part}",
        words=("train", "test"),
        first_label=1,
    ),
    "qmnist": Member(
        "QMNIST",
        DIGITS,
        {"train": (60_000,), "test": (60_000,)},
        "QMNIST (Yadav, Bottou); BSD-3-Clause",
        "the QMNIST repository of Facebook Research",
        files="qmnist-{split}-{part}",
        words=("train", "test"),
        labels="labels-idx2-int",
    ),
}


def fetch_member(name: str, split: str, root: Path) -> tuple[Path, Path]:
    """The files of a split, images and labels, downloaded where they are absent; not read.

    Raises:
        MissingFileError: they could not be downloaded.
        InputError: the set lacks the split.
    """
    member = FAMILY[name]
    if split not in member.sizes:
        raise missing_split(f"`{name}`", split, list(member.sizes))
    word = member.words[0] if split == "train" else member.words[1]
    folder = root / member.folder / "raw"
    parts = [folder / member.files.format(split=word, part=part) for part in ("images-idx3-ubyte", member.labels)]
    missing = [path.name for path in parts if present(path) is None]
    if missing:
        absent = (
            f"`{name}` lacks {' and '.join(missing)} (or .gz). Get it from {member.source} and put it into {folder}."
        )
        download_into(root, lambda place: _download(name, split, place), absent)
    images_file, labels_file = (present(path) or path for path in parts)
    return images_file, labels_file


def load_member(name: str, split: str, root: Path) -> ImageSet:
    """A split, 28x28 grey. EMNIST letters lie on their side (transposed), as in its files and in torchvision.

    Raises:
        MissingFileError: files are absent and could not be downloaded.
        InputError: files are damaged, or hold other numbers of images or labels than the set has.
    """
    member = FAMILY[name]
    images_file, labels_file = fetch_member(name, split, root)
    images, labels = read_pair(images_file, labels_file)
    labels = labels - member.first_label
    counts = member.sizes[split]
    if len(images) not in counts or images.shape[1:] != (28, 28, 1):
        raise InputError(
            f"{images_file} holds {len(images)} images of {images.shape[2]} x {images.shape[1]} pixels; the {split} "
            f"split of `{name}` has {counts[0]} of 28 x 28. Delete it, or load it by its path as own data."
        )
    if not 0 <= labels.min() <= labels.max() < len(member.classes):
        raise InputError(f"{labels_file} holds labels that `{name}` does not have. Delete it and fetch it again.")
    _note_difference(name, split, images)
    return ImageSet(images, labels, member.classes, member.licence, name)


def _download(name: str, split: str, place: Path) -> None:
    from torchvision import datasets

    member = FAMILY[name]
    options = {"split": "letters"} if name == "emnist" else {}
    getattr(datasets, member.folder)(place, train=split == "train", download=True, **options)


def _note_difference(name: str, split: str, images: np.ndarray) -> None:
    known = UNPACKED_MD5.get((name, split))
    if known is None:
        return
    header = bytes([0, 0, 8, 3]) + b"".join(int(size).to_bytes(4, "big") for size in images.shape[:3])
    digest = hashlib.md5(header, usedforsecurity=False)
    digest.update(images.data)
    if digest.hexdigest() != known:
        _log.warning("The %s images of `%s` differ from the original files; numbers may differ, too.", split, name)
