"""What `--id-data` means: an ID set with its splits, the near and far OOD sets, and the sizes of the images.

Known names are OpenOOD's benchmarks as the published program evaluates them, and the embedded `digits`. Own data comes
as a yml file with a `dataset` and an `ood_dataset` block, or as `folder:PATH`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ood_shared.datasets.tree import FolderTree, list_split
from ood_shared.errors import InputError, MissingFileError, unknown

from ascood import config
from ascood.data import openood
from ascood.data.preprocessing import Chain, base_name, normalisation
from ascood.data.samples import Samples, load_shared, read_imglist
from ascood.data.splits import read_folder, read_split, test_chain

DEFAULTS = {"num_workers": 8, "num_gpus": 1, "num_machines": 1}  # what dataset files refer to
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """A set that is read when it is needed."""

    name: str
    load: Callable[[], Samples]
    raw: bool = False  # stored as the network sees it


@dataclass(frozen=True)
class Suite:
    """An ID set and what it is tested against.

    Attributes:
        name: of the ID set.
        classes: number of ID classes.
        network: backbone that the published checkpoints of this set have.
        chain: of the evaluation.
        id_sets: train, val and test.
        near, far, csid: OOD sets, and covariate-shifted ID sets, in order.
        ood_val: OOD set of the hyper-parameter search; None when there is none.
        resized_first: whether images come from `ood_shared.datasets`, at `pre_size`, before the chain sees them.
        class_names: of the ID classes; empty where they are not known.
    """

    name: str
    classes: int
    network: str
    chain: Chain
    id_sets: dict[str, Source]
    near: list[Source]
    far: list[Source]
    csid: list[Source] = field(default_factory=list)
    ood_val: Source | None = None
    resized_first: bool = False
    class_names: tuple[str, ...] = ()


def make_suite(id_data: str, data_dir: str | None, drop: tuple[str, ...] = ()) -> Suite:
    """The suite of a name, a yml file (or several, separated by commas) or `folder:PATH`.

    Args:
        id_data: what `--id-data` says.
        data_dir: folder of the lists and images, ./data by default; for embedded names the folder of downloads.
        drop: OOD sets to leave out.

    Raises:
        InputError: unknown name, or data that cannot be used.
    """
    if id_data.startswith("folder:"):
        suite = folder_suite(Path(id_data.removeprefix("folder:")).expanduser())
    elif id_data.endswith(".yml"):
        suite = yml_suite(id_data.split(","), data_dir)
    elif id_data == "digits":
        suite = yml_suite(["configs/datasets/digits/digits.yml", "configs/datasets/digits/digits_ood.yml"], data_dir)
    elif base_name(id_data) in openood.ID:
        suite = _benchmark_suite(base_name(id_data), Path(data_dir or "./data"))
    else:
        raise unknown("--id-data", id_data, [*openood.ID, "digits", "folder:PATH", "PATH.yml"])
    for name in drop:
        if name not in [source.name for source in (*suite.near, *suite.far)]:
            raise unknown("--drop", name, [source.name for source in (*suite.near, *suite.far)])
    kept = [[source for source in sets if source.name not in drop] for sets in (suite.near, suite.far)]
    return Suite(**{**vars(suite), "near": kept[0], "far": kept[1]})


def _benchmark_suite(name: str, data: Path) -> Suite:
    rows, facts = openood.rows(name), openood.ID[name]

    def source(row: openood.Row, classes: int | None) -> Source:
        def load() -> Samples:
            folder = data / row.data_dir
            folders = [folder, folder.parent, folder / name]  # the two roots that training and evaluation name
            samples = read_imglist(row.name, data / "benchmark_imglist" / row.imglist, folders, classes)
            return samples if classes is not None else samples.as_outliers()

        return Source(row.name, load, raw=row.name == "imagenet_c")

    mean, std = normalisation(name)
    chain = Chain("test", facts.pre_size, facts.image_size, mean, std)
    of = {split: [row for row in rows if row.split == split] for split in ("id", "csid", "near", "far", "val")}
    return Suite(
        name,
        facts.classes,
        facts.network,
        chain,
        {row.name: source(row, facts.classes) for row in of["id"]},
        [source(row, None) for row in of["near"]],
        [source(row, None) for row in of["far"]],
        [source(row, facts.classes) for row in of["csid"]],
        source(of["val"][0], None),
    )


def yml_suite(files: list[str], data_dir: str | None = None) -> Suite:
    """The suite of own yml files with the blocks `dataset` and `ood_dataset`, in OpenOOD's form.

    A dataset file of this package finds the `_ood` file beside it.
    """
    merged: dict[str, Any] = dict(DEFAULTS)
    paths = [config.find_file(file) for file in files]
    for path in paths:
        config.merge(merged, config.read_yml(path))
    beside = paths[-1].with_name(f"{paths[-1].stem}_ood.yml")
    if "ood_dataset" not in merged and beside.is_file():
        config.merge(merged, config.read_yml(beside))
    return suite_of_config(config.resolve(merged), data_dir)


def suite_of_config(found: Mapping[str, Any], data_dir: str | None = None) -> Suite:
    """The suite of a resolved config with the blocks `dataset` and `ood_dataset`."""
    if "dataset" not in found or "ood_dataset" not in found:
        raise InputError("The config lacks the block `dataset` or `ood_dataset`; both are needed to test.")
    block, outliers = found["dataset"], found["ood_dataset"]
    chain = test_chain(block)

    def ood_source(name: str, entry: Mapping[str, Any], outside: bool = True) -> Source:
        inherited = {"dataset_class": outliers.get("dataset_class", "ImglistDataset"), **entry}

        def load() -> Samples:
            if not outside:
                return read_split(name, inherited, "test", int(block["num_classes"]), chain, data_dir)
            return read_split(name, inherited, "test", None, chain, data_dir).as_outliers()

        return Source(name, load, raw=name in ("imagenetc", "imagenet_c"))

    def group(key: str, outside: bool = True) -> list[Source]:
        entries = outliers.get(key) or {"datasets": []}
        return [ood_source(name, entries[name], outside) for name in entries["datasets"]]

    val = outliers.get("val")
    return replace(
        id_suite(block, data_dir),
        near=group("nearood"),
        far=group("farood"),
        csid=group("csid", outside=False),
        ood_val=ood_source("val", val) if val else None,
    )


def id_suite(block: Mapping[str, Any], data_dir: str | None = None) -> Suite:
    """The ID sets of a `dataset` block, without OOD sets."""
    chain, test = test_chain(block), block.get("test") or {}
    kind, root = test.get("dataset_class"), Path(str(test.get("root", ""))).expanduser()
    return Suite(
        str(block["name"]),
        int(block["num_classes"]),
        str(block.get("network", "lenet" if block["name"] == "digits" else default_network(chain.image_size))),
        chain,
        {s: Source(s, _split_reader(block, s, chain, data_dir)) for s in SPLITS if s in block},
        [],
        [],
        resized_first=kind == "SharedDataset" or (kind == "FolderDataset" and not root.is_dir()),
        class_names=_class_names(root) if kind == "FolderDataset" and root.is_dir() else (),
    )


def _class_names(root: Path) -> tuple[str, ...]:
    return tuple(list_split(FolderTree(root), "train", str(root)).classes)


def _split_reader(block: Mapping[str, Any], split: str, chain: Chain, data_dir: str | None) -> Callable[[], Samples]:
    return lambda: read_split(
        split, block[split], split, int(block["num_classes"]), chain, data_dir, str(block["name"])
    )


def folder_suite(root: Path) -> Suite:
    """Own data in a folder: `train`, `val`, `test` in ImageFolder layout, and OOD sets below `ood/near`, `ood/far`.

    Without OOD sets the embedded ones are far; without `val` the test split serves, and `ood/val` or an embedded set
    the search. Small images (up to 64 pixels) are seen at 32, others at 224.
    """
    if not root.exists():
        raise MissingFileError(f"--id-data folder:{root} is missing; expected a folder with train and test images.")
    train = read_folder("train", root, "train", 256)
    side = min(train.open(0).size)
    pre_size, size = (32, 32) if side <= 64 else (256, 224)
    mean, std = normalisation("unknown")
    chain = Chain("test", pre_size, size, mean, std)

    def source(name: str, place: Path, split: str) -> Source:
        return Source(name, lambda: read_folder(name, place, split, pre_size))

    def validation() -> Samples:
        try:
            return read_folder("val", root, "val", pre_size)
        except InputError:
            print(f"warning: {root} has no `val` split; the test split is used for validation.", file=sys.stderr)
            return read_folder("val", root, "test", pre_size)

    def outlier(name: str, place: str | Path, split: str = "test") -> Source:
        if isinstance(place, Path):
            return Source(name, lambda: read_folder(name, place, split, pre_size).as_outliers())
        return Source(name, lambda: load_shared(name, place, split, pre_size).as_outliers())

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
        _class_names(root) if root.is_dir() else (),
    )


def default_network(image_size: int) -> str:
    """The backbone of own data by the size of its images."""
    return "resnet18_32x32" if image_size <= 64 else "resnet18_224x224"


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
