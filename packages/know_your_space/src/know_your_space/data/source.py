"""Where a set lies, and its splits as they are stored there."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from ood_shared.datasets import ImageSet, known_names, load
from ood_shared.datasets.imageset import told
from ood_shared.datasets.medical import MEDICAL, load_medical, parse_name
from ood_shared.datasets.npz import read_headers
from ood_shared.datasets.own import looks_like_path
from ood_shared.errors import ManySizesError, MissingFileError, MissingSplitError, unknown
from ood_shared.files import path_of

from know_your_space.data import layout
from know_your_space.data.options import DataOptions
from know_your_space.data.paths import set_name
from know_your_space.transforms import SIDE

PUT_THERE = "Then run this again; --data_dir names another folder that holds it."
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """A set that is there, or that its loader will fetch.

    Attributes:
        kind: `layout` (the authors' files), `medical` (an npz of MedMNIST), `named` (another known name) or `own`.
        word: name or path, as given.
        path: folder of the files; None for a set that is named and not looked for here.
    """

    kind: str
    word: str
    path: Path | None = None

    @property
    def words(self) -> str:
        """Name and place, for messages."""
        return f"{self.word} ({self.path})" if self.kind in ("layout", "medical") else self.word


def locate(word: str, options: DataOptions, skip: Path | None = None) -> Source:
    """Where a set is, after downloading a MedMNIST set that is absent.

    Args:
        word: name or path.
        options: where to look.
        skip: of `prepare`, the folder whose files in the authors' layout do not count, because they are about to be
            written.

    Raises:
        MissingFileError: the set, or a file that it needs, is absent.
        InputError: no such set.
    """
    if looks_like_path(word) and ("/" in word or "\\" in word or not _known(word)):
        path = path_of(word)
        if not path.exists():
            raise MissingFileError(f"{path} is missing; expected a set of images, or one of: {', '.join(_names())}.")
        if not layout.is_layout(path):
            return Source("own", word, path)
        return _checked(Source("layout", word, path.resolve()), preparing=skip is not None)
    name = set_name(word)
    for root in options.roots:
        for folder in (root / name, root / word):
            if layout.is_layout(folder) and folder != skip:
                return _checked(Source("layout", word, folder), preparing=skip is not None)
    medical = parse_name(name)
    if medical is None:
        if word.lower() not in known_names():
            raise unknown("Data set", word, _names())
        return Source("named", word, options.download_root)
    for root in options.roots:
        for place in (root / name, root / "medmnist", root):
            if (place / f"{name}.npz").is_file():
                return Source("medical", word, place)
    elsewhere = _elsewhere(name, options) if skip is None else PUT_THERE
    if not options.download:
        looked = " or ".join(str(root / "medmnist" / f"{name}.npz") for root in options.roots)
        raise MissingFileError(f"`{name}` is absent: {looked}. Get it from the MedMNIST record on Zenodo. {elsewhere}")
    try:
        load_medical(*medical, "test", options.download_root)
    except MissingFileError as error:
        raise MissingFileError(f"{error} {elsewhere}") from None
    return Source("medical", word, options.download_root / "medmnist")


def _elsewhere(name: str, options: DataOptions) -> str:
    """Where else an absent set could be."""
    folders = " or ".join(str(root / name) for root in options.roots)
    return (
        f"--data_dir names another folder. The authors' files are taken, too: {name}_combined.pkl and {name}_in_train, "
        f"_in_val and _out.csv in {folders}; `know_your_space prepare {name}` makes them from the npz."
    )


class Splits:
    """The splits of a source that is not in the authors' layout, each read at most once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._read: dict[str, ImageSet | None] = {}

    def has(self, split: str) -> bool:
        """Whether there is a split of that name."""
        return self._load(split) is not None

    def any(self) -> ImageSet:
        """A split that was read already, else the first one that is there: for the names of the classes."""
        read = [found for found in self._read.values() if found is not None]
        return read[0] if read else next(found for split in SPLITS[::-1] if (found := self._load(split)) is not None)

    def get(self, split: str) -> tuple[ImageSet, str]:
        """The split and its name; test in place of a val split that is not there.

        Raises:
            InputError: no such split.
        """
        images = self._load(split)
        if images is None and split == "val" and self.has("test"):
            return self.get("test")
        if images is None:
            present = ", ".join(name for name in SPLITS if self.has(name)) or "none"
            raise MissingSplitError(
                f"{self.source.words} has no `{split}` split. Present: {present}.{self._arrays()} Own data is sorted "
                "into train and val (or test)."
            )
        return images, split

    def _arrays(self) -> str:
        """What an npz file holds, for a message."""
        path = self.source.path
        if self.source.kind != "own" or path is None or path.suffix.lower() != ".npz":
            return ""
        return f" It holds {', '.join(read_headers(path))}; expected train_images, train_labels, and so on."

    def train_ids(self) -> list[int] | None:
        """Class ids with training images, where finding out costs little (an npz); None: all classes of the set."""
        path = self.source.path
        if self.source.kind != "own" or path is None or path.suffix.lower() != ".npz":
            return None
        if "train_labels" not in read_headers(path) or not self.has("train"):
            return None
        train = self._load("train")
        return np.unique(train.labels).tolist() if train is not None else None

    def _load(self, split: str) -> ImageSet | None:
        if split not in self._read:
            try:
                self._read[split] = _load_split(self.source, split)
            except MissingSplitError:
                self._read[split] = None
        return self._read[split]


def _load_split(source: Source, split: str) -> ImageSet:
    if source.kind == "medical":
        medical = parse_name(set_name(source.word))
        assert medical is not None
        assert source.path is not None
        return told(load_medical(*medical, split, source.path))
    read = partial(load, source.word, split, source.path if source.kind == "named" else None)
    if source.kind == "own" and not source.word.lower().endswith(".npz"):
        read = partial(read, channels=3)  # files of a folder may be grey and RGB; the network takes RGB
    try:
        return _own_numbers(told(read()))
    except ManySizesError:
        print(f"{source.word}, {split}: images of different sizes; their centre squares are taken at {SIDE} x {SIDE}.")
        return _own_numbers(told(read(size=SIDE)))


def _own_numbers(images: ImageSet) -> ImageSet:
    """The set with the class ids of its file, which need not count from 0 without gaps: rules name classes by them."""
    if not all(name.isdecimal() for name in images.classes):
        return images
    ids = np.array([int(name) for name in images.classes], dtype=np.int64)
    names = tuple(str(number) for number in range(int(ids.max()) + 1))
    return replace(images, labels=ids[images.labels], classes=names)


def _checked(source: Source, preparing: bool = False) -> Source:
    assert source.path is not None
    absent = layout.missing_files(source.path, ("train", "val"))
    if absent:
        to_do = "Restore them, or move the others away." if preparing else "`know_your_space prepare` writes all four."
        raise MissingFileError(
            f"{', '.join(str(path) for path in absent)} missing; the authors' layout of `{source.word}` needs them. "
            f"{to_do}"
        )
    return source


def _known(word: str) -> bool:
    return word.lower() in known_names() or parse_name(word.lower()) is not None


def _names() -> list[str]:
    return [*MEDICAL, *(name for name in known_names() if name not in MEDICAL)]
