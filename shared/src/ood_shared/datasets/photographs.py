"""Sets of photographs in many sizes: dtd, places365, lsun. They need a `size` to become one array.

Everything is decoded into memory at that size; streaming the large ones from disk is a matter for later. So places365
offers its validation images (36 500), which OOD papers test on, and lsun its validation and test images.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ood_shared.datasets.decode import Encoded, decode_all, numbered
from ood_shared.datasets.fetch import download_into
from ood_shared.datasets.imageset import ImageSet, missing_split
from ood_shared.errors import InputError, ManySizesError, MissingFileError, not_installed
from ood_shared.files import read_text

PHOTOGRAPHS = ("dtd", "places365", "lsun")
LSUN_CLASSES = (
    "bedroom",
    "bridge",
    "church_outdoor",
    "classroom",
    "conference_room",
    "dining_room",
    "kitchen",
    "living_room",
    "restaurant",
    "tower",
)


def fetch_photographs(name: str, split: str, root: Path) -> Path:
    """The folder of a set, in torchvision's layout below `root` or `root/<name>`, downloaded where it is absent.

    Raises:
        MissingFileError: it could not be downloaded (lsun never is).
        InputError: a split that is not offered, or no package that reads the files.
    """
    return {"dtd": _fetch_dtd, "places365": _fetch_places, "lsun": _fetch_lsun}[name](split, root)


def load_photographs(name: str, split: str, root: Path, size: int | None, channels: int | None) -> ImageSet:
    """A split at `size` x `size`, RGB unless `channels` is 1.

    Files are looked for in torchvision's layout below `root` and `root/<name>`.

    Raises:
        MissingFileError: files are absent and could not be downloaded (lsun never is).
        InputError: no `size`, a split that is not offered, or broken files.
    """
    if size is None:
        raise ManySizesError(
            f"`{name}` has images of many sizes. Give `size`, the side of the squares to make, such as 32."
        )
    load = {"dtd": _load_dtd, "places365": _load_places, "lsun": _load_lsun}[name]
    return load(split, root, size, channels or 3)


def _fetch_dtd(split: str, root: Path) -> Path:
    from torchvision import datasets

    below = ("dtd/dtd", "dtd/dtd/dtd", "dtd")
    base = _found(root, below, f"labels/{split}1.txt")
    if base is None:
        absent = (
            f"`dtd` lacks labels/{split}1.txt and its images. Get dtd-r1.0.1 from the Describable Textures page of the "
            f"Visual Geometry Group, Oxford, and unpack it into {root / 'dtd'}."
        )
        download_into(root, lambda place: datasets.DTD(place, split=split, download=True), absent)
        base = root / "dtd" / "dtd"
    return base


def _load_dtd(split: str, root: Path, size: int, channels: int) -> ImageSet:
    """Describable Textures, 47 classes, partition 1: 1880 images in each of three splits."""
    base = _fetch_dtd(split, root)
    words = _words(base / "labels" / f"{split}1.txt", 1)
    classes = tuple(sorted({word.split("/")[0] for (word,) in words}))
    files = [(str(base / "images" / word), base / "images" / word) for (word,) in words]
    images = decode_all(numbered(files), len(files), size, channels)
    labels = np.array([classes.index(word.split("/")[0]) for (word,) in words], dtype=np.int64)
    return ImageSet(images, labels, classes, "Describable Textures (Cimpoi et al. 2014); for research", "dtd")


def _fetch_places(split: str, root: Path) -> Path:
    from torchvision import datasets

    if split != "test":
        raise missing_split("`places365`", split, ["test"], "It is the official validation part.")
    base = _found(root, ("", "places365"), "places365_val.txt")
    if base is None or not (base / "val_256").is_dir():
        absent = (
            "`places365` lacks places365_val.txt and val_256. Get the small validation images and the standard file "
            f"list from the Places page of MIT CSAIL and unpack both into {root}."
        )

        def download(place: Path) -> None:
            datasets.Places365(place, split="val", small=True, download=True)

        download_into(root, download, absent)
        base = root
    return base


def _load_places(split: str, root: Path, size: int, channels: int) -> ImageSet:
    """The 36 500 validation images of Places365, 365 classes, as `test`."""
    base = _fetch_places(split, root)
    words = _words(base / "places365_val.txt", 2)
    names = {int(number): name for name, number in _words(base / "categories_places365.txt", 2)}
    classes = tuple(names[number].lstrip("/").split("/", 1)[-1] for number in sorted(names))
    files = [(str(base / "val_256" / file), base / "val_256" / file.lstrip("/")) for file, _ in words]
    images = decode_all(numbered(files), len(files), size, channels)
    labels = np.array([int(number) for _, number in words], dtype=np.int64)
    licence = "Places365 validation images (Zhou et al. 2017); non-commercial research and education"
    return ImageSet(images, labels, classes, licence, "places365")


def _fetch_lsun(split: str, root: Path) -> Path:
    if split == "train":
        raise missing_split("`lsun`", split, ["val", "test"], "Its training images are too many for memory.")
    try:
        import lmdb  # noqa: F401
    except ModuleNotFoundError:
        raise not_installed("`lsun`, which is stored in LMDB files,", "lmdb", "lsun") from None
    first = _lsun_stores(split)[0]
    base = _found(root, ("", "lsun"), first)
    if base is None:
        raise MissingFileError(
            f"`lsun` lacks {first}. Get it with the download script of the LSUN project (Yu et al.) and put it into "
            f"{root / 'lsun'}."
        )
    return base


def _lsun_stores(split: str) -> list[str]:
    return [f"{name}_val_lmdb" for name in LSUN_CLASSES] if split == "val" else ["test_lmdb"]


def _load_lsun(split: str, root: Path, size: int, channels: int) -> ImageSet:
    """LSUN scenes: `val`, 300 images of 10 classes each, or `test`, 10 000 images without classes."""
    base, stores = _fetch_lsun(split, root), _lsun_stores(split)
    import lmdb

    opened = [lmdb.open(str(base / store), readonly=True, lock=False) for store in stores]
    counts = [int(store.stat()["entries"]) for store in opened]

    def items() -> Iterator[Encoded]:
        place = 0
        for name, store in zip(stores, opened, strict=True):
            with store.begin() as transaction:
                for key, value in transaction.cursor():
                    yield Encoded(place, f"{name}/{key.decode('latin-1')}", value)
                    place += 1

    try:
        images = decode_all(items(), sum(counts), size, channels)
    finally:
        for store in opened:
            store.close()
    classes = LSUN_CLASSES if split == "val" else ("scene",)
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return ImageSet(images, labels, classes, "LSUN (Yu et al. 2015); no licence stated, for research", "lsun")


def _found(root: Path, below: tuple[str, ...], file: str) -> Path | None:
    return next((root / folder for folder in below if (root / folder / file).exists()), None)


def _words(path: Path, count: int) -> list[list[str]]:
    """The words of each line of a list that must have `count` of them."""
    lines = [line.split() for line in read_text(path, "a list").splitlines() if line.strip()]
    wrong = next((number for number, words in enumerate(lines, start=1) if len(words) != count), None)
    if wrong is not None or not lines:
        raise InputError(f"{path}, line {wrong or 1}: expected {count} words. Delete it and fetch it again.")
    return lines
