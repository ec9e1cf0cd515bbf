"""Own data in a folder: `--id-data folder:PATH` of the training and of the test command."""

import sys
from pathlib import Path
from typing import Any

from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.errors import InputError, MissingFileError, MissingSplitError

from ascood.data.preprocessing import Chain, normalisation
from ascood.data.samples import Samples, load_shared
from ascood.data.sources import Source, Suite, default_network
from ascood.data.splits import read_folder


def folder_suite(root: Path) -> Suite:
    """Own data in a folder: `train`, `val`, `test` in ImageFolder layout, and OOD sets below `ood/near`, `ood/far`.

    Without OOD sets the embedded ones are far; without `val` the test split serves, and `ood/val` or an embedded set
    the search. Small images (up to 64 pixels) are seen at 32, others at 224.
    """
    if not root.exists():
        raise MissingFileError(f"--id-data folder:{root} is missing; expected a folder with train and test images.")
    train = read_folder("train", root, "train", 256)
    names = class_names(root)
    _check_classes(root, names, train)
    side = min(train.open(0).size)
    pre_size, size = (32, 32) if side <= 64 else (256, 224)
    mean, std = normalisation("unknown")
    chain = Chain("test", pre_size, size, mean, std)

    def source(name: str, path: Path, split: str) -> Source:
        return Source(name, lambda: read_folder(name, path, split, pre_size))

    def validation() -> Samples:
        try:
            return read_folder("val", root, "val", pre_size)
        except MissingSplitError:
            print(f"warning: {root} has no `val` split; the test split is used for validation.", file=sys.stderr)
            return read_folder("val", root, "test", pre_size)

    def outlier(name: str, path: str | Path, split: str = "test") -> Source:
        if isinstance(path, Path):
            return Source(name, lambda: read_folder(name, path, split, pre_size).as_outliers())
        return Source(name, lambda: load_shared(name, path, split, pre_size).as_outliers())

    groups = {key: _folders(root / "ood" / key) for key in ("near", "far", "val")}
    far = [outlier(path.name, path) for path in groups["far"]]
    if not far and not groups["near"]:
        far = [outlier(name, name) for name in ("textures", "photos", "gaussian", "uniform")]
    search = outlier("val", groups["val"][0]) if groups["val"] else outlier("val", "textures", "val")
    return Suite(
        root.resolve().name.split(".")[0],
        int(train.labels.max()) + 1,
        default_network(size),
        chain,
        {
            "train": source("train", root, "train"),
            "val": Source("val", validation),
            "test": source("test", root, "test"),
        },
        [outlier(path.name, path) for path in groups["near"]],
        far,
        [],
        search,
        not root.is_dir(),
        names,
    )


def _check_classes(root: Path, names: tuple[str, ...], train: Samples) -> None:
    """Refuse a class that only other splits have, and a single class: nothing would be learnt of them."""
    known = set(train.labels.tolist())
    for number, name in enumerate(names):
        if number not in known:
            raise InputError(f"{root}: class `{name}` has no training images. Add some, or remove it from the others.")
    if len(known) < 2:
        raise InputError(f"{root} has {len(known)} class to train on; expected at least 2.")


def folder_block(root: Path) -> dict[str, Any]:
    """The `dataset` block of a folder, for the config of a training."""
    suite = folder_suite(root)
    split = {"dataset_class": "FolderDataset", "root": str(root), "batch_size": 128}
    sizes = {"pre_size": suite.chain.pre_size, "image_size": suite.chain.image_size}
    splits = {"train": {**split, "shuffle": True}, "test": {**split, "shuffle": False}}
    val = {**splits["test"], "split": "test" if _lacks_val(root) else "val"}
    return {
        "name": suite.name,
        "num_classes": suite.classes,
        **sizes,
        "interpolation": "bilinear",
        "normalization_type": "unknown",
        "split_names": ["train", "val", "test"],
        **splits,
        "val": val,
    }


def class_names(root: Path) -> tuple[str, ...]:
    """Names of the classes of a folder in ImageFolder layout; empty for anything else."""
    if not root.is_dir():
        return ()
    try:
        return tuple(list_split(FolderTree(root), "train", str(root)).classes)
    except MissingSplitError:
        return ()


def _lacks_val(root: Path) -> bool:
    try:
        read_folder("val", root, "val", 32)
    except MissingSplitError:
        return True
    return False


def _folders(path: Path) -> list[Path]:
    return sorted(path for path in path.iterdir() if path.is_dir()) if path.is_dir() else []
