"""`know_your_space prepare`: any set that is read, written in the authors' layout with the assumptions beside it.

Splits are laid one after the other, train, val, test, as the rows that the CSV files count. `in_train` lists the known
classes of train, `in_val` those of val (and test, when asked for), `out` the novel classes of all splits.
"""

import argparse
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from ood_shared import files
from ood_shared.datasets import ImageSet
from ood_shared.errors import InputError
from ood_shared.files import path_of

from know_your_space.data import layout
from know_your_space.data.layout import Rows
from know_your_space.data.options import DataOptions
from know_your_space.data.paths import set_name
from know_your_space.data.sets import ASSUMED, Classes, Rule, resolve, rule_of
from know_your_space.data.source import SPLITS, Source, Splits, locate


def prepare_step(options: argparse.Namespace) -> None:
    """Write the set that the flags describe."""
    where = DataOptions.of(options)
    name = set_name(options.name)
    target = (path_of(options.to) if options.to is not None else where.roots[0]) / name
    written = [layout.pickle_path(target), *(layout.csv_path(target, part) for part in layout.CSV_PARTS)]
    there = [path for path in written if path.exists()]
    if there and not options.overwrite:
        raise InputError(f"{there[0]} is there already. Pass --overwrite to replace it, or another --to.")
    rule = rule_of(options.name, where, as_id=True)
    source = locate(options.name, where, skip=target)
    if source.kind == "layout":
        raise InputError(f"{source.path} is in the authors' layout already.")
    splits = _all_splits(source)
    classes = resolve(rule, next(iter(splits.values())).classes, name)
    images, parts = arrange(splits, classes, options.val == "val+test")
    for part in ("train", "val"):
        if not len(parts[part].rows):
            raise InputError(f"{source.words} has no images of known classes in its {part} part.")
    layout.write_layout(target, images, parts)
    manifest = _manifest(source, splits, rule, classes, parts, options.val)
    files.write_json(target / f"{name}_manifest.json", manifest)
    if rule.origin == ASSUMED:
        novel = ", ".join(map(str, classes.novel))
        print(f"assumption: the novel classes of {name} are {novel}; the authors publish only how many there are.")
    print(f"written to {target}: " + ", ".join(f"{part} {len(rows.rows)}" for part, rows in parts.items()))


def arrange(
    splits: dict[str, ImageSet], classes: Classes, val_with_test: bool
) -> tuple[npt.NDArray[np.uint8], dict[str, Rows]]:
    """All images one split after the other, and the rows of the three parts.

    Args:
        splits: train, val and test, in this order, those that there are. Without val, test is the validation part.
        classes: known and novel ids; images of other classes are in no part.
        val_with_test: the validation part takes the test split, too.
    """
    shapes = {images.images.shape[1:] for images in splits.values()}
    if len(shapes) > 1:
        raise InputError(f"The splits have images of different shapes, {sorted(shapes)}; expected one.")
    pixels = np.concatenate([images.images for images in splits.values()])
    labels = np.concatenate([images.labels for images in splits.values()])
    of_row = np.repeat(list(splits), [len(images) for images in splits.values()])
    validation = ["val", "test"] if val_with_test or "val" not in splits else ["val"]
    known, novel = np.isin(labels, classes.known), np.isin(labels, classes.novel)
    chosen = {"train": known & (of_row == "train"), "val": known & np.isin(of_row, validation), "novel": novel}
    parts = {part: Rows(np.flatnonzero(mask), labels[mask]) for part, mask in chosen.items()}
    return pixels[..., 0] if pixels.shape[3] == 1 else pixels, parts


def _all_splits(source: Source) -> dict[str, ImageSet]:
    sets = Splits(source)
    by_split = {split: sets.get(split)[0] for split in SPLITS if sets.has(split)}
    if "train" not in by_split or len(by_split) < 2:
        sets.get("train")  # says what is missing
        raise InputError(f"{source.words} has only a training split; a validation part needs a split val or test.")
    return by_split


def _manifest(
    source: Source, splits: dict[str, ImageSet], rule: Rule, classes: Classes, parts: dict[str, Rows], val: str
) -> dict[str, Any]:
    first = next(iter(splits.values()))
    start, rows = 0, {}
    for split, images in splits.items():
        rows[split] = [start, start + len(images)]
        start += len(images)
    name = dict(enumerate(first.classes))
    other = sorted(set(name) - set(classes.known) - set(classes.novel))
    assumptions = [
        f"known and novel classes: {rule.origin}",
        f"validation part: {'official val and test' if val == 'val+test' else 'official val'} split"
        if "val" in splits
        else "validation part: the test split, as there is no val split",
        "training part: known classes of the official train split",
        "novel part: novel classes of all splits",
        "class ids start from 0; the authors' text counts the classes of bloodmnist from 1",
    ]
    return {
        "set": set_name(source.word),
        "source": source.words,
        "licence": first.licence,
        "assumptions": assumptions,
        "known_classes": {str(number): name[number] for number in classes.known},
        "novel_classes": {str(number): name[number] for number in classes.novel},
        "unused_classes": {str(number): name[number] for number in other},
        "rows_of_splits": rows,
        "images": {"shape": list(first.images.shape[1:]), "dtype": "uint8", "count": start},
        "counts": {
            part: {str(label): count for label, count in sorted(Counter(found.labels.tolist()).items())}
            for part, found in parts.items()
        },
    }
