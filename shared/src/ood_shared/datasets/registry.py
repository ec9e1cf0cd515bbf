"""One word for every set of images: `load("digits")`, `load("cifar10", "train")`, `load("./my_images")`."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ood_shared.datasets.catalogue import ARRAY_SETS, fetch_array_set, load_array_set
from ood_shared.datasets.embedded import EMBEDDED, load_embedded
from ood_shared.datasets.fetch import data_root
from ood_shared.datasets.imageset import SPLITS, ImageSet
from ood_shared.datasets.medical import MEDICAL, fetch_medical, load_medical, parse_name
from ood_shared.datasets.mnist_family import FAMILY, fetch_member, load_member
from ood_shared.datasets.noise import NOISE, load_noise
from ood_shared.datasets.own import KINDS, load_path, looks_like_path
from ood_shared.datasets.photographs import PHOTOGRAPHS, fetch_photographs, load_photographs
from ood_shared.datasets.pixels import Range
from ood_shared.datasets.resizing import fit
from ood_shared.errors import InputError, ManyColoursError, ManySizesError, one_line, unknown
from ood_shared.files import path_of, real_path

SQUARES = "their centre squares are taken"
ALIASES = {"fashionmnist": "fmnist", "fashion-mnist": "fmnist", "cifar-10": "cifar10", "cifar-100": "cifar100"}


def known_names() -> list[str]:
    """The names that `load` knows; MedMNIST sets also take a size, as in `bloodmnist_64`."""
    return [*EMBEDDED, *NOISE, *FAMILY, *ARRAY_SETS, *PHOTOGRAPHS, *MEDICAL]


def is_known(word: str) -> bool:
    """Whether `load` takes the word for a name, in any case, and not for a path."""
    name = ALIASES.get(word.lower(), word.lower())
    return name in known_names() or parse_name(name) is not None


def check_outliers(id_name: str, words: Iterable[str]) -> None:
    """Refuse the ID set among the outlier sets.

    Args:
        id_name: word of the ID set, for `load`.
        words: of the outlier sets.

    Raises:
        InputError: one of them names the same set, in whatever way.
    """
    for word in words:
        if _which(word) == _which(id_name):
            raise InputError(f"--ood {one_line(word, 120)} is the ID set; its images are no outliers. Leave it out.")


def check_output_folder(folder: str | Path, words: Iterable[str]) -> None:
    """Refuse an output folder among images: what is written there would pass for a class without images.

    Args:
        folder: of `--output-dir`.
        words: of the sets that are read, for `load`.

    Raises:
        InputError: it is one of the folders that are read, or lies in one.
    """
    for path in (path_of(word) for word in words if not is_known(word)):
        if path.is_dir() and real_path(path_of(folder)).is_relative_to(real_path(path)):
            raise InputError(
                f"--output-dir {folder} lies in {path}, which is read by this command. Name another folder."
            )


def _which(word: str) -> object:
    """What is equal for two words that name the same set."""
    if is_known(word):
        name = ALIASES.get(word.lower(), word.lower())
        return parse_name(name) or name
    return real_path(path_of(word))


def fetch_set(name: str, split: str, root: str | Path | None = None) -> None:
    """See to it that the files of a known set are there: absent ones are downloaded, as `load` does.

    What is there is not read, but for the sets of torchvision, whose checksums need it (`catalogue`).

    Args:
        name: for which `is_known`; of embedded sets and noise there is nothing to fetch.
        split: `train`, `val` or `test`.
        root: see `load`.

    Raises:
        MissingFileError: a file is absent and cannot be downloaded; the message says where to get and to put it.
        InputError: a split that the set lacks, or damaged files.
    """
    name, folder = ALIASES.get(name.lower(), name.lower()), data_root(root)
    if name in FAMILY:
        fetch_member(name, split, folder)
    elif name in ARRAY_SETS:
        fetch_array_set(name, split, folder)
    elif name in PHOTOGRAPHS:
        fetch_photographs(name, split, folder)
    elif medical := parse_name(name):
        fetch_medical(*medical, folder)


def load(
    name_or_path: str | Path,
    split: str = "test",
    root: str | Path | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    span: Range | None = None,
) -> ImageSet:
    """A split of a set of images, by its name or by the path of own data.

    Everything is decoded into memory. That suits sets up to a few GB; streaming larger ones is not offered here.

    Args:
        name_or_path: a name of `known_names()`, in any case; or a folder in ImageFolder layout, such a folder in a
            .tar, .tar.gz, .tgz or .zip, a six-array .npz, IDX files, an OpenOOD image list .txt. A name wins over a
            folder of that name, which a note then mentions; write `./mnist`, or `Path("mnist")`, for the folder.
        split: `train`, `val` or `test`. Own data without split folders is all `test`.
        root: folder of downloaded sets; by default `OOD_DATA_DIR`, else `ood-papers` in the user's cache folder. For an
            image list: the folder in which its paths start, by default that of the list.
        size: side of square images to make, by the centre square and antialiased resizing. None keeps the images as
            they are. Sets whose images differ in size (dtd, places365, lsun, own data of that kind) need it.
        channels: 1 or 3 to convert to grey or RGB; None keeps what is there. Own data that mixes both needs it.
        span: which values of own images of more than 8 bits become 0 and 255; None: 0 and 65535 of 16 bits.

    Returns:
        uint8 images, int64 labels, class names and the licence of the source.

    Raises:
        MissingFileError: a file is absent and cannot be downloaded; the message says where to get and to put it.
        InputError: an unknown name, a split that the set lacks, or data that cannot be used.
    """
    if split not in SPLITS:
        raise unknown("Split", split, SPLITS)
    if channels not in (None, 1, 3) or (size is not None and size < 1):
        raise InputError(f"Images have 1 or 3 channels and a size from 1 on; asked for {channels} and {size}.")
    if isinstance(name_or_path, Path):
        name_or_path = str(Path.cwd() / name_or_path)
    found = _load_known(name_or_path, split, root, size, channels)
    if found is not None:
        if Path(name_or_path).is_dir():
            note = f"`{name_or_path}` is the known set of that name; the folder here is `./{name_or_path}`"
            found = replace(found, notes=(*found.notes, note))
        return found
    if looks_like_path(name_or_path):
        start = path_of(root) if root is not None else None
        return load_path(path_of(name_or_path), split, start, size, channels, span)
    raise InputError(f"{unknown('Dataset', name_or_path, known_names())} The path of own data would also do: {KINDS}.")


def _load_known(
    word: str, split: str, root: str | Path | None, size: int | None, channels: int | None
) -> ImageSet | None:
    """A split of the set of that name; None for other words."""
    name = ALIASES.get(word.lower(), word.lower())
    if name in NOISE:
        return load_noise(name, split, size, channels)
    if name in PHOTOGRAPHS:
        return load_photographs(name, split, data_root(root), size, channels)
    if name in EMBEDDED:
        return fit(load_embedded(name, split), size, channels)
    if name in FAMILY:
        return fit(load_member(name, split, data_root(root)), size, channels)
    if name in ARRAY_SETS:
        return fit(load_array_set(name, split, data_root(root)), size, channels)
    if medical := parse_name(name):
        return fit(load_medical(*medical, split, data_root(root)), size, channels)
    return None


def load_any_size(
    name_or_path: str, split: str, root: str | Path | None, side: int, span: Range | None = None
) -> ImageSet:
    """As `load`; what differs in size comes as centre squares at `side`, grey and RGB together as RGB, and says so."""
    asked: dict[str, Any] = {"span": span}
    notes: tuple[str, ...] = ()
    for _ in range(2):
        try:
            found = load(name_or_path, split, root, **asked)
            return replace(found, notes=(*notes, *found.notes))
        except ManySizesError:
            notes += (f"images of different sizes: {SQUARES} at {side} x {side}",)
            asked["size"] = side
        except ManyColoursError:
            notes += ("some images are grey, others RGB: all are taken as RGB",)
            asked["channels"] = 3
    found = load(name_or_path, split, root, **asked)
    return replace(found, notes=(*notes, *found.notes))
