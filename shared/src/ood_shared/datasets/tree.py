"""The ImageFolder layout, over a folder on disk or the names in an archive: which images, of which class, in a split.

Understood: `<root>/<split>/<class>/…`, `<root>/<class>/…` and images right in `<root>` or `<root>/<split>` (one class).
Folders inside a class are walked. A single folder around everything is looked through, as archives often have one; a
note says so, as it could also be the only class. DICOM and NIfTI files count as images (`slices`).
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from ood_shared.datasets.formats import EXTENSIONS, is_unread, left_out
from ood_shared.datasets.imageset import SPLITS, missing_split
from ood_shared.datasets.slices import SLICED, holds_images
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import check_name

MOST_LINKS = 16  # ways that lead to one folder by links
READ = (*EXTENSIONS, *SLICED)
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@runtime_checkable
class Tree(Protocol):
    """Folders and image files below a root; paths are relative, with slashes; the root is the empty path.

    Attributes:
        unread: paths of image files of kinds that are not read.
    """

    unread: list[str]

    def folders(self, at: str) -> list[str]:
        """Names of the folders directly in `at`, sorted."""

    def images(self, at: str) -> list[str]:
        """Names of the image files directly in `at`, sorted."""

    def walk(self, at: str) -> list[str]:
        """Paths, from the root, of all image files below `at`, sorted."""


class Listing(NamedTuple):
    """The images of one split: class names, the path and label of each image, and what a user should know of them."""

    classes: tuple[str, ...]
    paths: list[str]
    labels: list[int]
    notes: tuple[str, ...] = ()


def list_split(tree: Tree, split: str, where: str) -> Listing:
    """The images of a split, classes numbered in the order of their sorted names.

    Classes are counted over all splits, so that a class that one split lacks does not shift the numbers of the others.
    Without split folders everything is the test split: nothing is then trained on what it is tested with.

    Args:
        tree: folder or archive.
        split: `train`, `val` or `test`.
        where: name of the folder or archive, for messages.

    Raises:
        InputError: no images, an empty class folder, images beside class folders, or the split is missing.
    """
    root = _look_through(tree)
    folders = _split_folders(tree, root)
    if folders and split not in folders:
        raise missing_split(where, split, list(folders), f"Expected a folder `{split}`.")
    base = folders.get(split, root)
    shown = f"{where}/{base}" if base else where
    paths = tree.walk(base)
    notes = left_out((name for name in tree.unread if not base or name.startswith(f"{base}/")), len(paths))
    if not paths:
        said = f" {notes[0]}" if notes else ""
        raise InputError(f"{shown} holds no images.{said} Extensions that are read: {', '.join(READ)}.")
    if not folders and split != "test":
        hint = f"Nothing in it is named after a split, so all of it is `test`; make folders `{split}` and `test`."
        raise missing_split(where, split, ["test"], hint)

    own, loose = tree.folders(base), tree.images(base)
    classes = sorted({name for folder in (list(folders.values()) or [root]) for name in tree.folders(folder)})
    if not own and classes:
        raise InputError(
            f"{shown} holds images without class folders, and another split has the class {classes[0]}. "
            "Sort the images into the same class folders."
        )
    if not own:
        return Listing((base.rsplit("/", 1)[-1] or "images",), paths, [0] * len(paths), notes)
    if loose:
        raise InputError(f"{shown}/{loose[0]} stands beside the class folders ({own[0]}, …). Move it into one of them.")
    start = len(base) + 1 if base else 0
    of_image = [path[start:].split("/", 1)[0] for path in paths]
    empty = sorted(set(own) - set(of_image))
    if empty:
        raise InputError(f"{shown}/{empty[0]} is a class folder without images ({', '.join(READ)}). Fill or remove it.")
    number = {name: index for index, name in enumerate(classes)}
    if not folders and root:
        notes += _looked_through(root, classes)
    return Listing(tuple(classes), paths, [number[name] for name in of_image], notes)


class NameTree:
    """Names of image files, such as the members of an archive.

    Attributes:
        unread: names of image files of kinds that are not read.
    """

    def __init__(self, files: Iterable[str], folders: Iterable[str], unread: Iterable[str] = ()) -> None:
        self.unread = [name for name in unread if visible(name)]
        self._files: dict[str, list[str]] = {"": []}
        self._folders: dict[str, set[str]] = {"": set()}
        for folder in folders:
            self._add_folder(folder)
        for file in files:
            parent, _, name = file.rpartition("/")
            if visible(file):
                self._add_folder(parent)
                self._files[parent].append(name)

    def folders(self, at: str) -> list[str]:
        """See `Tree`."""
        return sorted(self._folders.get(at, ()))

    def images(self, at: str) -> list[str]:
        """See `Tree`."""
        return sorted(self._files.get(at, ()))

    def walk(self, at: str) -> list[str]:
        """See `Tree`."""
        found, waiting = [], [at]
        while waiting:
            folder = waiting.pop()
            prefix = f"{folder}/" if folder else ""
            found += [prefix + name for name in self._files.get(folder, ())]
            waiting += [prefix + name for name in self._folders.get(folder, ())]
        return sorted(found)

    def _add_folder(self, folder: str) -> None:
        if folder in self._files or not visible(folder):
            return
        missing = []
        while folder not in self._files:
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        for folder in reversed(missing):
            parent, _, name = folder.rpartition("/")
            self._folders[parent].add(name)
            self._files[folder], self._folders[folder] = [], set()


class FolderTree(NameTree):
    """A folder on disk. Links to folders are followed (`folders_below`); hidden files and folders are not seen.

    Raises:
        MissingFileError: there is no such folder.
        InputError: a file with the ending of an image is a pipe, a device or the like; a name is no UTF-8.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise MissingFileError(f"{root} is missing; expected a folder with images.")
        self.root = root
        files, folders, unread = [], [], []
        for relative, entries in folders_below(root):
            folders += [relative] if relative else []
            prefix = f"{relative}/" if relative else ""
            for entry in entries:
                check_name(entry.name, root / relative)
                if is_unread(entry.name):
                    unread.append(prefix + entry.name)
                elif holds_images(Path(entry), _is_file(entry)):
                    files.append(prefix + entry.name)
        super().__init__(files, folders, unread)


def folders_below(root: Path) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Every visible folder below a folder, itself first, as its path from there, and the visible files in it.

    Links to folders are followed, but not into a folder that the link lies in: what is there is seen once.

    Raises:
        InputError: links lead to one folder again and again; a name is no UTF-8.
    """
    reached: Counter[tuple[int, int]] = Counter()  # by links
    waiting: list[tuple[str, tuple[tuple[int, int], ...], bool]] = [("", (), False)]
    while waiting:
        relative, around, by_link = waiting.pop()
        folder = root / relative
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in around:
            continue
        reached[here] += by_link
        if reached[here] > MOST_LINKS:
            raise InputError(f"{folder}: links lead to this folder more than {MOST_LINKS} times. Remove some of them.")
        with os.scandir(folder) as scan:
            entries = sorted((e for e in scan if visible(e.name)), key=lambda entry: entry.name)
        inner = [entry for entry in entries if is_folder(entry)]
        for entry in inner:
            check_name(entry.name, folder)
        prefix = f"{relative}/" if relative else ""
        waiting += [(prefix + e.name, (*around, here), by_link or e.is_symlink()) for e in reversed(inner)]
        yield relative, [entry for entry in entries if not is_folder(entry)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # as above
        return False


def visible(path: str) -> bool:
    """Whether no part of the path is hidden: no leading dot, not the `__MACOSX` of archives made on a Mac."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _split_folders(tree: Tree, root: str) -> dict[str, str]:
    """Path of the folder of each split that is there."""
    names = {name.lower(): name for name in reversed(tree.folders(root))}
    prefix = f"{root}/" if root else ""
    present = {split: next((names[n] for n in SPLIT_FOLDERS[split] if n in names), None) for split in SPLITS}
    return {split: prefix + name for split, name in present.items() if name is not None}


def _looked_through(root: str, classes: list[str]) -> tuple[str, ...]:
    """What is said of a folder that could be the only class, or just lie around the classes."""
    listed = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return (
        f"`{root}` is the only folder, so the {len(classes)} folders in it are read as classes ({listed}). If they are "
        "no classes, such as patients, pass --one-class.",
    )


def _look_through(tree: Tree) -> str:
    """The folder that holds the splits or classes: the root, or the only folder in it when that holds just folders."""
    at = ""
    while not tree.images(at) and not _split_folders(tree, at):
        folders = tree.folders(at)
        if len(folders) != 1:
            break
        inner = f"{at}/{folders[0]}" if at else folders[0]
        if not tree.folders(inner) or tree.images(inner):
            break
        at = inner
    return at
