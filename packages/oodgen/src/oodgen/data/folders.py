"""The folder trees of the four steps, as uint8 tensors in memory.

<in_data>/{train,test}/<class>/*.png     in-distribution
<in_data>/ood/{train,test}/*.png         generated outliers (any depth is read: published runs have one folder more)
<out_data>/test/<class>/*.png            real outliers; classes do not matter
"""

import shlex
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import files
from ood_shared.datasets import ImageSet, load, luma
from ood_shared.datasets.decode import EXTENSIONS, decode_all, numbered
from ood_shared.datasets.formats import left_out
from ood_shared.datasets.imageset import told
from ood_shared.datasets.tree import FolderTree
from ood_shared.errors import InputError, MissingFileError
from ood_shared.notes import say
from torch import Tensor

from oodgen.data.png import write_png
from oodgen.defaults import class_range
from oodgen.hints import command

SIDE = 28


@dataclass(frozen=True)
class Pixels:
    """Grey images with labels, ready for the device.

    Attributes:
        images: uint8 (n, 1, 28, 28).
        labels: int64 (n,).
        classes: names of the in-distribution classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def crc32(self) -> int:
        """A fingerprint of images and labels, to notice that a resumed run sees other data."""
        return zlib.crc32(self.labels.numpy().tobytes(), zlib.crc32(self.images.numpy().tobytes()))

    def select(self, index: Tensor) -> "Pixels":
        """The rows that `index` names."""
        return Pixels(self.images[index], self.labels[index], self.classes)

    def with_outliers(self, outliers: Tensor) -> "Pixels":
        """These images, then outliers (m, 1, 28, 28) with the label n = number of classes."""
        label = torch.full((len(outliers),), len(self.classes), dtype=torch.int64)
        return Pixels(torch.cat([self.images, outliers]), torch.cat([self.labels, label]), self.classes)


def as_pixels(images: ImageSet, where: str | None = None) -> Pixels:
    """An image set of 28 x 28 pixels as `Pixels`; RGB becomes grey by luma. No resizing happens here.

    Raises:
        InputError: another size.
    """
    height, width, channels = images.images.shape[1:]
    if (height, width) != (SIDE, SIDE):
        raise InputError(
            f"{where or images.name} has images of {height} x {width} pixels, expected {SIDE} x {SIDE}. "
            "Resize them first, or write a tree with `oodgen prepare NAME FOLDER --resize`."
        )
    tensor = torch.from_numpy(images.images).permute(0, 3, 1, 2).contiguous()  # (n, channels, 28, 28)
    return Pixels(luma(tensor) if channels == 3 else tensor, torch.from_numpy(images.labels), images.classes)


def read_id(in_data: str, classes: str = "all") -> tuple[Pixels, Pixels, Pixels | None]:
    """Train and test images of the chosen classes, and the test images of the classes left out (None: none left out).

    Labels count the chosen classes from 0 in the order of the sorted folder names.

    Raises:
        InputError: a split is missing, or a class has no images in one of them.
    """
    root = Path(in_data)
    if not root.is_dir():
        is_what = "a file" if root.exists() else "missing"
        raise MissingFileError(
            f"In-distribution folder {in_data} is {is_what}; expected {in_data}/train/<class>/*.png and "
            f"{in_data}/test/<class>/*.png. `oodgen prepare NAME {shlex.quote(in_data)}` writes such a tree from a "
            "known set."
        )
    sets = {split: told(load(root, split)) for split in ("train", "test")}
    train, test = (as_pixels(images, f"{in_data}/{split}") for split, images in sets.items())
    for split, pixels, other in (("train", train, test), ("test", test, train)):
        lacking = sorted(set(other.classes) - {pixels.classes[label] for label in pixels.labels.unique().tolist()})
        if lacking:
            raise InputError(
                f"{in_data}/{split} has no images of class `{lacking[0]}`, which another split has. "
                "Give train and test the same class folders."
            )
    kept = class_range(classes, len(train.classes))
    if len(kept) == len(train.classes):
        return train, test, None
    left_out = _within(test.labels, kept).logical_not()
    return _keep(train, kept), _keep(test, kept), test.select(left_out)


def read_generated(
    in_data: str, split: str, types: str = "both", model_path: str | None = None, mode: str = "default"
) -> Tensor:
    """Generated outliers of a split, uint8 (n, 1, 28, 28).

    Args:
        in_data: in-distribution folder.
        split: `train` or `test`.
        types: `both`, or `1` or `2` for one type, which the file names tell (`<index>_<type>.png`).
        model_path: folder of the VAE, for the command that makes them.
        mode: of the training, for the same command.

    Raises:
        MissingFileError: there are none; quotes the command that makes them.
    """
    root = Path(in_data) / "ood" / split
    paths = _images_below(root)
    if types != "both":
        paths = [path for path in paths if path.stem.endswith(f"_{types}")]
    if not paths:
        what = "generated outliers" if types == "both" else f"generated outliers of type {types}"
        where = {} if model_path is None else {"model_path": model_path}
        where |= {} if mode == "default" else {"mode": mode}
        made_by = command("gen_ood.py", data=in_data, dataset=split, **where)
        raise MissingFileError(f"{root} has no {what}. Make them with: {made_by}")
    return as_pixels(_unlabelled(paths, str(root)), str(root)).images


def write_generated(in_data: str, split: str, outliers: Tensor, names: list[str], settings: Mapping[str, Any]) -> Path:
    """Replace `<in_data>/ood/<split>` by these images; the old folder stays until the new one is whole.

    Args:
        in_data: in-distribution folder.
        split: `train` or `test`.
        outliers: uint8 (n, 1, 28, 28).
        names: file names, all different.
        settings: written to `configuration.json` in the folder.
    """
    target = Path(in_data) / "ood" / split
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; the outliers go into a folder of that name. Move the file away.")
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in target.parent.glob(f".{split}.*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{split}."))
    try:
        _write_pngs(fresh, names, outliers)
        files.write_json(fresh / "configuration.json", dict(settings))
        fresh.chmod(0o755)
        old = target.with_name(f".{split}.old")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def write_tree(folder: Path, split: str, pixels: Pixels) -> None:
    """Write `<folder>/<split>/<class>/<index>.png`; class names must be folder names, sorted (`prepare.folder_names`).

    Raises:
        InputError: the split is there already.
    """
    target = folder / split
    if target.exists():
        raise InputError(f"{target} is there already. Remove it, or choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix=f".{split}."))
    try:
        for name in pixels.classes:
            (fresh / name).mkdir()
        names = [f"{pixels.classes[label]}/{i:06d}.png" for i, label in enumerate(pixels.labels.tolist())]
        _write_pngs(fresh, names, pixels.images)
        fresh.chmod(0o755)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_outlier_folder(out_data: str) -> Pixels:
    """Real outliers from `<out_data>/test/**`; class folders are ignored, a missing one does not matter.

    Raises:
        MissingFileError: the folder is missing or has no images.
    """
    root = Path(out_data) / "test"
    if not root.is_dir():
        raise MissingFileError(f"Outlier folder {out_data} has no folder test; expected {out_data}/test/<class>/*.png.")
    paths = _images_below(root)
    if not paths:
        raise MissingFileError(f"{root} has no images; expected files ending in {', '.join(EXTENSIONS)}.")
    return as_pixels(_unlabelled(paths, str(root)), str(root))


def _write_pngs(folder: Path, names: list[str], images: Tensor) -> None:
    pixels = images.squeeze(1).cpu().numpy()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name, image: write_png(folder / name, image), names, pixels))  # list: raises here


def _images_below(root: Path) -> list[Path]:
    """Image files at any depth, sorted; hidden ones are not seen, those of other kinds are said."""
    if not root.is_dir():
        return []
    tree = FolderTree(root)
    paths = [root / name for name in tree.walk("")]
    say(f"{root}: {note}" for note in left_out(tree.unread, len(paths)))
    return paths


def _unlabelled(paths: list[Path], name: str) -> ImageSet:
    notes: list[str] = []
    images = decode_all(numbered((str(path), path) for path in paths), len(paths), notes=notes)
    say(f"{name}: {note}" for note in notes)
    return ImageSet(images, np.zeros(len(paths), dtype=np.int64), ("ood",), "own files", name)


def _within(labels: Tensor, kept: range) -> Tensor:
    return (labels >= kept.start) & (labels < kept.stop)


def _keep(pixels: Pixels, kept: range) -> Pixels:
    chosen = _within(pixels.labels, kept)
    classes = tuple(pixels.classes[index] for index in kept)
    return Pixels(pixels.images[chosen], pixels.labels[chosen] - kept.start, classes)
