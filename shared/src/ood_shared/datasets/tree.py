"""The ImageFolder layout, over a folder on disk or the names in an archive: which images, of which class, in a split.

Understood: `<root>/<split>/<class>/…`, `<root>/<class>/…` and images right in `<root>` or `<root>/<split>` (one class).
Folders inside a class are walked. A single folder around everything is looked through, as archives often have one.
DICOM and NIfTI files on disk count as images (`slices`), those in archives do not.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from ood_shared.datasets.decode import EXTENSIONS, is_image
from ood_shared.datasets.imageset import SPLITS, missing_split
from ood_shared.datasets.slices import SLICED, holds_images
from ood_shared.errors import InputError, MissingFileError

READ = (*EXTENSIONS, *SLICED)
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@runtime_checkable
class Tree(Protocol):
    """Folders and image files below a root; paths are relative, with slashes; the root is the empty path."""

    def folders(self, at: str) -> list[str]:
        """Names of the folders directly in `at`, sorted."""

    def images(self, at: str) -> list[str]:
        """Names of the image files directly in `at`, sorted."""

    def walk(self, at: str) -> list[str]:
        """Paths, from the root, of all image files below `at`, sorted."""


class Listing(NamedTuple):
    """The images of one split: class names, and the path and label of each image."""

    classes: tuple[str, ...]
    paths: list[str]
    labels: list[int]


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
    if not paths:
        raise InputError(f"{shown} holds no images. Extensions that are read: {', '.join(READ)}.")
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
        return Listing((base.rsplit("/", 1)[-1] or "images",), paths, [0] * len(paths))
    if loose:
        raise InputError(f"{shown}/{loose[0]} stands beside the class folders ({own[0]}, …). Move it into one of them.")
    start = len(base) + 1 if base else 0
    of_image = [path[start:].split("/", 1)[0] for path in paths]
    empty = sorted(set(own) - set(of_image))
    if empty:
        raise InputError(f"{shown}/{empty[0]} is a class folder without images ({', '.join(READ)}). Fill or remove it.")
    number = {name: index for index, name in enumerate(classes)}
    return Listing(tuple(classes), paths, [number[name] for name in of_image])


class FolderTree:
    """A folder on disk. Links to folders are followed; hidden files and folders are not seen."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise MissingFileError(f"{root} is missing; expected a folder with images.")
        self.root = root

    def folders(self, at: str) -> list[str]:
        """See `Tree`."""
        return sorted(entry.name for entry in os.scandir(self.root / at) if entry.is_dir() and visible(entry.name))

    def images(self, at: str) -> list[str]:
        """See `Tree`."""
        return sorted(
            e.name for e in os.scandir(self.root / at) if visible(e.name) and e.is_file() and holds_images(Path(e))
        )

    def walk(self, at: str) -> list[str]:
        """See `Tree`."""
        entries = []
        for folder, inner, files in os.walk(self.root / at, followlinks=True):
            inner[:] = [name for name in inner if visible(name)]
            relative = Path(folder).relative_to(self.root).as_posix()
            prefix = "" if relative == "." else f"{relative}/"
            entries += [prefix + name for name in files if visible(name) and holds_images(Path(folder, name))]
        return sorted(entries)


class NameTree:
    """The member names of an archive."""

    def __init__(self, files: Iterable[str], folders: Iterable[str]) -> None:
        self._files: dict[str, list[str]] = {"": []}
        self._folders: dict[str, set[str]] = {"": set()}
        for folder in folders:
            self._add_folder(folder)
        for file in files:
            parent, _, name = file.rpartition("/")
            if visible(file) and is_image(name):
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
        prefix = f"{at}/" if at else ""
        names = [prefix + name for name in self._files.get(at, ())]
        for folder in self._folders.get(at, ()):
            names += self.walk(prefix + folder)
        return sorted(names)

    def _add_folder(self, folder: str) -> None:
        if folder in self._files or not visible(folder):
            return
        parent, _, name = folder.rpartition("/")
        self._add_folder(parent)
        self._folders[parent].add(name)
        self._files[folder], self._folders[folder] = [], set()


def visible(path: str) -> bool:
    """Whether no part of the path is hidden: no leading dot, not the `__MACOSX` of archives made on a Mac."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _split_folders(tree: Tree, root: str) -> dict[str, str]:
    """Path of the folder of each split that is there."""
    names = {name.lower(): name for name in reversed(tree.folders(root))}
    prefix = f"{root}/" if root else ""
    present = {split: next((names[n] for n in SPLIT_FOLDERS[split] if n in names), None) for split in SPLITS}
    return {split: prefix + name for split, name in present.items() if name is not None}


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
