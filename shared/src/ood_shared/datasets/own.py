"""Own data by its path.

An image folder, which may hold DICOM and NIfTI files, an archive of images, a six-array `.npz`, IDX files, an OpenOOD
image list, or one DICOM or NIfTI file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ood_shared.datasets.archives import ARCHIVES, is_archive, load_archive
from ood_shared.datasets.decode import Encoded, decode_all, is_image, numbered
from ood_shared.datasets.idx import find_pairs, is_images_file, read_pair
from ood_shared.datasets.imageset import ImageSet, missing_split
from ood_shared.datasets.npz import load_npz
from ood_shared.datasets.resizing import fit
from ood_shared.datasets.slices import SLICED, holds_images, images_in
from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.errors import InputError, MissingFileError

LICENCE = "own data; its licence is for its owner to state"
KINDS = f"a folder, {', '.join(ARCHIVES)}, .npz, IDX images, an image list .txt, {' or '.join(SLICED)}"
_SPLIT_WORD = re.compile(r"(?<![a-z0-9])(train|val|test)(?![a-z0-9])")


def looks_like_path(text: str) -> bool:
    """Whether a user who wrote this meant a file or folder: it is there, or it has a separator or a known ending."""
    path = Path(text).expanduser()
    known = (*ARCHIVES, ".npz", ".txt", "-ubyte", "-ubyte.gz")
    return "/" in text or "\\" in text or text.lower().endswith(known) or path.exists()


def load_path(
    path: Path,
    split: str,
    root: Path | None = None,
    size: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """A split of own data.

    Args:
        path: file or folder; its kind goes by what it is and by its ending.
        split: `train`, `val` or `test`. Data without splits is all `test`.
        root: for an image list, the folder from which its paths start; None means the folder of the list.
        size: side of the images to make, by centre square and resizing; None takes them as they are.
        channels: 1 or 3 to convert; None takes them as they are.

    Raises:
        MissingFileError: the file or folder, or one that it names, is not there.
        InputError: what is there cannot be used; the message names the file.
    """
    if not path.exists():
        raise MissingFileError(f"{path} is missing; expected {KINDS}.")
    lower = path.name.lower()
    name = (
        re.sub(r"(\.tar)?\.[a-z0-9]+$", "", path.name, flags=re.IGNORECASE)
        if path.is_file()
        else path.resolve().name or "root"
    )
    if path.is_dir():
        if any(is_images_file(file.name) for file in path.iterdir()):
            return fit(_load_idx(path, split, name), size, channels)
        return _load_folder(path, split, name, size, channels)
    if is_archive(path):
        images, listing = load_archive(path, split, size, channels)
        names = tuple(map(str, listing.paths))
        return ImageSet(images, np.array(listing.labels, dtype=np.int64), listing.classes, LICENCE, name, names)
    if lower.endswith(".npz"):
        return fit(load_npz(path, split, name, LICENCE), size, channels)
    if lower.endswith(".txt"):
        return _load_list(path, split, root or path.parent, name, size, channels)
    if is_images_file(path.name):
        return fit(_load_idx(path, split, name), size, channels)
    if not is_image(path.name) and holds_images(path):
        if split != "test":
            raise missing_split(str(path), split, ["test"])
        return _load_files([(str(path), path)], [0], ("images",), name, size, channels, path.parent)
    raise InputError(f"{path} is of no kind that is read; expected {KINDS}.")


def _load_folder(path: Path, split: str, name: str, size: int | None, channels: int | None) -> ImageSet:
    listing = list_split(FolderTree(path), split, str(path))
    files = [(str(path / file), path / file) for file in listing.paths]
    return _load_files(files, listing.labels, listing.classes, name, size, channels, path)


def _load_files(
    files: Sequence[tuple[str, Path]],
    labels: Sequence[int],
    classes: tuple[str, ...],
    name: str,
    size: int | None,
    channels: int | None,
    below: Path,
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

    pixels = decode_all(images(), sum(counts), size, channels)
    repeated = np.repeat(np.array(labels, dtype=np.int64), counts)
    return ImageSet(pixels, repeated, classes, LICENCE, name, tuple(names))


def _load_idx(path: Path, split: str, name: str) -> ImageSet:
    pairs = find_pairs(path)
    if split not in pairs:
        raise missing_split(str(path), split, sorted(pairs))
    images, labels = read_pair(*pairs[split])
    if not len(labels) or labels.min() < 0:
        raise InputError(
            f"{pairs[split][1]} holds {len(labels)} labels from {labels.min(initial=0)}; expected 0 or more."
        )
    classes = tuple(str(number) for number in range(int(labels.max()) + 1))
    return ImageSet(images, labels, classes, LICENCE, name)


def _load_list(path: Path, split: str, root: Path, name: str, size: int | None, channels: int | None) -> ImageSet:
    """An OpenOOD image list: `relative/path label` on each line. A list whose labels are all -1 is one class."""
    path = _list_of_split(path, split)
    files, labels = [], []
    for number, line in enumerate(_lines(path), start=1):
        found = parse_line(line, f"{path}, line {number}", root)
        if found is not None:
            files.append((f"{path.name}, line {number}: {root / found[0]}", root / found[0]))
            labels.append(found[1])
    if not files:
        raise InputError(f"{path} lists no images; expected lines of `relative/path label`.")
    if min(labels) < 0 < max(labels) + 1:
        raise InputError(f"{path} mixes the label -1 (no class) with classes; expected either.")
    classes = tuple(str(number) for number in range(max(labels) + 1)) or ("unlabelled",)
    images = decode_all(numbered(files), len(files), size, channels)
    numbers = np.maximum(np.array(labels, dtype=np.int64), 0)
    names = tuple(str(file.relative_to(root)) for _, file in files)
    return ImageSet(images, numbers, classes, LICENCE, name, names)


def parse_line(line: str, where: str, root: Path) -> tuple[PurePosixPath, int] | None:
    """Path and label of a line of an image list; None for an empty one.

    Args:
        line: `relative/path label`.
        where: for messages.
        root: folder from which the path starts.

    Raises:
        InputError: another form, or a path that leads out of the folder.
    """
    words = line.rsplit(maxsplit=1)
    if not words:
        return None
    if len(words) != 2 or not re.fullmatch(r"-1|\d{1,6}", words[1]):
        raise InputError(f"{where}: `{line.strip()[:80]}`; expected `relative/path label`, label -1 or more.")
    relative = PurePosixPath(words[0].strip())
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{where}: `{relative}` leads out of {root}; expected a path below it.")
    return relative, int(words[1])


def _list_of_split(path: Path, split: str) -> Path:
    """The list of a split beside this one: `test_x.txt` leads to `train_x.txt`. No split in the name: a test list."""
    word = _SPLIT_WORD.search(path.name)
    if word is None:
        if split != "test":
            raise missing_split(str(path), split, ["test"], f"Name the lists `{split}_….txt` and `test_….txt`.")
        return path
    beside = {
        s: path.with_name(path.name[: word.start()] + s + path.name[word.end() :]) for s in ("train", "val", "test")
    }
    if not beside[split].is_file():
        present = [s for s, file in beside.items() if file.is_file()]
        raise missing_split(str(path), split, present, f"Expected {beside[split].name} beside it.")
    return beside[split]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8 ({error.reason}).") from error
