"""The sets that a yml file describes, as typed values, and how they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.errors import InputError, unknown
from ood_shared.files import path_of
from ood_shared.notes import say

from ascood import config as configs
from ascood.data.preprocessing import Chain, base_name, normalisation
from ascood.data.samples import Samples, load_shared, read_imglist

KINDS = ("ImglistDataset", "SharedDataset", "FolderDataset")
Block = Mapping[str, Any]


@dataclass(frozen=True)
class SetSettings:
    """One set of a yml file.

    Attributes:
        kind: one of `KINDS`.
        imglist: the image list, of an `ImglistDataset`.
        data_dir: its folder.
        source: name or path of a `SharedDataset`.
        root: of a `FolderDataset`.
        split: in place of the split's own name.
        batch_size: images in a batch; None where the block names none.
        shuffle: whether training draws an order.
    """

    kind: str = "ImglistDataset"
    imglist: str | None = None
    data_dir: str | None = None
    source: str | None = None
    root: Path | None = None
    split: str | None = None
    batch_size: int | None = None
    shuffle: bool = True

    @classmethod
    def of(cls, block: Block, kind: str = "ImglistDataset") -> "SetSettings":
        """Of a block; `kind` where it names none."""

        def text(key: str) -> str | None:
            return None if block.get(key) is None else str(block[key])

        size, root = block.get("batch_size"), text("root")
        return cls(
            str(block.get("dataset_class", kind)),
            text("imglist_pth"),
            text("data_dir"),
            text("source"),
            None if root is None else path_of(root),
            text("split"),
            None if size is None else int(size),
            configs.switch(block, "shuffle", True),
        )


@dataclass(frozen=True)
class DatasetSettings:
    """A `dataset` block.

    Attributes:
        name: of the ID set.
        classes: number of ID classes.
        chain: of the evaluation.
        splits: train, val, test and oe, as far as they are there.
        network: backbone that the block names; None for none.
    """

    name: str
    classes: int
    chain: Chain
    splits: Mapping[str, SetSettings]
    network: str | None = None

    @classmethod
    def of(cls, block: Any) -> "DatasetSettings":
        """Of a block.

        Raises:
            InputError: the block or an entry is missing, or cannot be.
        """
        if not isinstance(block, Mapping):
            raise InputError("The config lacks `dataset`. Put a file of configs/datasets before the others.")
        for key in ("name", "num_classes", "pre_size", "image_size"):
            if block.get(key) is None:
                raise InputError(f"The config lacks `dataset.{key}`. Put a file of configs/datasets before the others.")
        mean, std = normalisation(str(block.get("normalization_type", block["name"])))
        interpolation = str(block.get("interpolation", "bilinear"))
        chain = Chain("test", int(block["pre_size"]), int(block["image_size"]), mean, std, interpolation)
        splits = {name: SetSettings.of(entry) for name, entry in block.items() if isinstance(entry, Mapping)}
        network = block.get("network")
        return cls(
            str(block["name"]), int(block["num_classes"]), chain, splits, None if network is None else str(network)
        )

    def need(self, split: str) -> SetSettings:
        """The settings of a split.

        Raises:
            InputError: it is not there.
        """
        if split not in self.splits:
            raise InputError(f"The config lacks `dataset.{split}`; the pipeline needs that split.")
        return self.splits[split]


def read_splits(dataset: DatasetSettings, names: Sequence[str], data_dir: str | None) -> dict[str, Samples]:
    """The samples of the named splits; `oe` may have labels of any kind."""
    sets = {}
    for name in names:
        classes = None if name == "oe" else dataset.classes
        sets[name] = read_split(name, dataset.need(name), name, classes, dataset.chain, data_dir, dataset.name)
        if name == "train":
            _note_missing_classes(sets[name], dataset.classes)
    return sets


def _note_missing_classes(samples: Samples, classes: int) -> None:
    """One line where the network has outputs that nothing is trained for."""
    missing = sorted(set(range(classes)) - set(samples.labels.tolist()))
    if missing:
        listed = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        say([f"{samples.source}: {len(missing)} of dataset.num_classes {classes} have no training image ({listed})"])


def read_split(
    name: str,
    settings: SetSettings,
    split: str,
    classes: int | None,
    chain: Chain,
    data_dir: str | None = None,
    dataset: str = "",
) -> Samples:
    """The samples of one set of a yml file.

    Args:
        name: of the set.
        settings: what the yml file says of it.
        split: for sets that have splits; `settings.split` wins.
        classes: labels must be below it; None for OOD sets.
        chain: gives the size of images that come at any size.
        data_dir: takes the place of ./data in the settings' paths.
        dataset: name of the ID set; its folder below `data_dir` is tried as well.
    """
    split = settings.split or split
    if settings.kind == "SharedDataset":
        source = _told(settings.source, "source", name)
        return _checked(load_shared(name, source, split, chain.pre_size, data_dir), classes)
    if settings.kind == "FolderDataset":
        root = Path(_told(settings.root, "root", name))
        return _checked(read_folder(name, root, split, chain.pre_size), classes)
    if settings.kind != "ImglistDataset":
        raise unknown("dataset_class", settings.kind, KINDS)
    imglist, folder = _told(settings.imglist, "imglist_pth", name), _told(settings.data_dir, "data_dir", name)
    folder = moved(folder, data_dir)
    folders: list[Path | str] = [folder]
    if folder:
        folders += [Path(folder) / base_name(dataset), Path(folder).parent] if dataset else [Path(folder).parent]
    return read_imglist(name, Path(moved(imglist, data_dir)), folders, classes)


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
    say(f"{root}: {note}" for note in listing.notes)
    return Samples(name, np.array(listing.labels, dtype=np.int64), str(root), [root / path for path in listing.paths])


def _told(value: str | Path | None, key: str, name: str) -> str:
    if value is None:
        what = "the image list and its folder" if key in ("imglist_pth", "data_dir") else "where its images are"
        raise InputError(f"The config lacks `{key}` for `{name}`; expected {what}.")
    return str(value)


def _checked(samples: Samples, classes: int | None) -> Samples:
    if classes is not None and len(samples) and int(samples.labels.max()) >= classes:
        raise InputError(
            f"`{samples.source}` has class {int(samples.labels.max())}; dataset.num_classes says {classes}. Set it to "
            f"{int(samples.labels.max()) + 1}."
        )
    return samples
