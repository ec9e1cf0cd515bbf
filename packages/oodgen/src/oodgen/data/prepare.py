"""Write a known data set as the folder tree that the four steps read."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

import torch
from ood_shared.datasets import ImageSet, load, load_any_size, resize
from ood_shared.datasets.imageset import told
from ood_shared.errors import InputError

from oodgen.data.folders import SIDE, Pixels, as_pixels, write_tree


def prepare_step(options: argparse.Namespace) -> None:
    """`oodgen prepare NAME FOLDER`: train and test of a set as `<folder>/<split>/<class>/*.png`."""
    folder = Path(options.folder)
    for split in ("train", "test"):
        if (folder / split).exists():
            raise InputError(f"{folder / split} is there already. Remove it, or choose another folder.")
    splits = {}
    for split in ("train", "test"):
        where = (options.name, split, options.data_dir)
        images = told(load_any_size(*where, SIDE) if options.resize else load(*where))
        splits[split] = fit_28(images) if options.resize else as_pixels(images)
        print(f"{split}: {len(images)} images of {len(images.classes)} classes ({images.licence})")
    for split, pixels in splits.items():
        write_tree(folder, split, replace(pixels, classes=folder_names(pixels.classes)))
    print(f"written to {folder}")


def folder_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Folder names for classes, which sort in the order of the labels.

    Signs that a path must not hold become dashes; names that would sort otherwise get their number in front.

    >>> folder_names(("T-shirt/top", "Bag"))
    ('0-T-shirt-top', '1-Bag')
    """
    names = tuple(re.sub(r"[^\w+.-]+", "-", name).lstrip(".-") for name in classes)
    if names == tuple(sorted(set(names))) and all(names):
        return names
    width = len(str(len(names) - 1))
    return tuple(f"{index:0{width}d}-{name}".rstrip("-") for index, name in enumerate(names))


def fit_28(images: ImageSet, native: tuple[int, int] | None = None) -> Pixels:
    """Any image set as 28 x 28 grey pixels: luma, then bilinear with antialiasing.

    Args:
        images: the set.
        native: size of the in-distribution images before they were enlarged; outliers are brought to it first, so that
            their sharpness does not give them away.
    """
    tensor = resize(images.images, (SIDE, SIDE), channels=1, native=native)
    return Pixels(tensor, torch.from_numpy(images.labels), images.classes)


def write_embedded_tree(folder: str) -> bool:
    """Write the embedded digits, enlarged to 28 x 28, unless the folder is there; returns whether it wrote."""
    missing = [split for split in ("train", "test") if not (Path(folder) / split).is_dir()]
    for split in missing:
        write_tree(Path(folder), split, fit_28(load("digits", split)))
    return bool(missing)
