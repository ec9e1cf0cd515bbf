"""The sets that the `dataset` block of a yml file, or a folder in its place, describes; and the evaluation chain."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.errors import InputError, unknown

from ascood import config as configs
from ascood.data.preprocessing import Chain, base_name, normalisation
from ascood.data.samples import Samples, load_shared, read_imglist


def test_chain(block: Mapping[str, Any]) -> Chain:
    """The evaluation chain of a `dataset` block."""
    for key in ("name", "num_classes", "pre_size", "image_size"):
        if block.get(key) is None:
            raise InputError(f"The config lacks `dataset.{key}`. Put a file of configs/datasets before the others.")
    kind = block.get("normalization_type", block["name"])
    mean, std = normalisation(str(kind))
    size, pre_size = int(block["image_size"]), int(block["pre_size"])
    return Chain("test", pre_size, size, mean, std, str(block.get("interpolation", "bilinear")))


test_chain.__test__ = False  # type: ignore[attr-defined] # not a test, whatever its name


def read_splits(config: Mapping[str, Any], names: tuple[str, ...], data_dir: str | None) -> dict[str, Samples]:
    """The samples of the named splits of the `dataset` block; `oe` may have labels of any kind."""
    block = configs.get(config, "dataset")
    if not isinstance(block, Mapping):
        raise InputError("The config lacks `dataset`. Put a file of configs/datasets before the others.")
    chain = test_chain(block)
    found = {}
    for name in names:
        if not isinstance(block.get(name), Mapping):
            raise InputError(f"The config lacks `dataset.{name}`; the pipeline needs that split.")
        classes = None if name == "oe" else int(block["num_classes"])
        found[name] = read_split(name, block[name], name, classes, chain, data_dir, str(block["name"]))
        negative = int(found[name].labels.min()) < 0
        if negative and name != "oe":
            raise InputError(f"{found[name].source} has the label -1; the split `{name}` needs classes from 0 on.")
    return found


def read_split(
    name: str,
    entry: Mapping[str, Any],
    split: str,
    classes: int | None,
    chain: Chain,
    data_dir: str | None = None,
    dataset: str = "",
) -> Samples:
    """The samples of one block of a yml file: `ImglistDataset`, `SharedDataset` or `FolderDataset`.

    Args:
        name: of the set.
        entry: the block, with `imglist_pth` and `data_dir`, or `source`, or `root`.
        split: for sets that have splits; `entry["split"]` wins.
        classes: labels must be below it; None for OOD sets.
        chain: gives the size of images that come at any size.
        data_dir: takes the place of ./data in the entry's paths.
        dataset: name of the ID set; its folder below `data_dir` is tried as well.
    """
    kind = entry.get("dataset_class", "ImglistDataset")
    split = str(entry.get("split", split))
    if kind == "SharedDataset":
        return _checked(load_shared(name, str(entry["source"]), split, chain.pre_size, data_dir), classes)
    if kind == "FolderDataset":
        return _checked(read_folder(name, Path(str(entry["root"])).expanduser(), split, chain.pre_size), classes)
    if kind != "ImglistDataset":
        raise unknown("dataset_class", str(kind), ("ImglistDataset", "SharedDataset", "FolderDataset"))
    for key in ("imglist_pth", "data_dir"):
        if key not in entry:
            raise InputError(f"The config lacks `{key}` for `{name}`; expected the image list and its folder.")
    folder = moved(str(entry["data_dir"]), data_dir)
    folders: list[Path | str] = [folder]
    if folder:
        folders += [Path(folder) / base_name(dataset), Path(folder).parent] if dataset else [Path(folder).parent]
    return read_imglist(name, Path(moved(str(entry["imglist_pth"]), data_dir)), folders, classes)


def moved(path: str, data_dir: str | None) -> str:
    """The path with `--data-dir` in place of the leading ./data."""
    for start in ("./data/", "data/"):
        if data_dir is not None and path.startswith(start):
            return str(Path(data_dir) / path.removeprefix(start))
    return path


def read_folder(name: str, root: Path, split: str, size: int) -> Samples:
    """Own images: a folder in ImageFolder layout by its files, anything else through `ood_shared.datasets`."""
    if not root.is_dir():
        return load_shared(name, str(root), split, size)
    listing = list_split(FolderTree(root), split, str(root))
    return Samples(name, np.array(listing.labels, dtype=np.int64), str(root), [root / path for path in listing.paths])


def _checked(samples: Samples, classes: int | None) -> Samples:
    if classes is not None and len(samples) and int(samples.labels.max()) >= classes:
        raise InputError(
            f"`{samples.source}` has class {int(samples.labels.max())}; dataset.num_classes says {classes}. Set it to "
            f"{int(samples.labels.max()) + 1}."
        )
    return samples
