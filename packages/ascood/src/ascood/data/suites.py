"""What `--id-data` means: an ID set with its splits, the near and far OOD sets, and the sizes of the images.

Known names are OpenOOD's benchmarks as the published program evaluates them, and the embedded `digits`. Own data comes
as a yml file with a `dataset` and an `ood_dataset` block, or as `folder:PATH`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError, unknown
from ood_shared.files import path_of

from ascood import config
from ascood.data import openood
from ascood.data.preprocessing import Chain, base_name, normalisation
from ascood.data.samples import Samples, read_imglist
from ascood.data.sources import Source, Suite, default_network
from ascood.data.splits import DatasetSettings, SetSettings, read_split
from ascood.data.user_folder import class_names, folder_suite

DEFAULTS = {"num_workers": 8, "num_gpus": 1, "num_machines": 1}  # what dataset files refer to
SPLITS = ("train", "val", "test")


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
        suite = folder_suite(path_of(id_data.removeprefix("folder:")))
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
    resolved = config.resolve(merged)
    outliers = OutlierSettings.of(resolved.get("ood_dataset"))
    return suite_of(DatasetSettings.of(resolved.get("dataset")), outliers, data_dir)


@dataclass(frozen=True)
class OutlierSettings:
    """An `ood_dataset` block: near, far and covariate-shifted sets by name, and the OOD set of the search."""

    near: Mapping[str, SetSettings]
    far: Mapping[str, SetSettings]
    csid: Mapping[str, SetSettings]
    val: SetSettings | None

    @classmethod
    def of(cls, block: Any) -> "OutlierSettings":
        """Of a block.

        Raises:
            InputError: it is not there.
        """
        if not isinstance(block, Mapping):
            raise InputError("The config lacks the block `dataset` or `ood_dataset`; both are needed to test.")
        kind = str(block.get("dataset_class", "ImglistDataset"))

        def group(key: str) -> dict[str, SetSettings]:
            entries = block.get(key) or {"datasets": []}
            return {name: SetSettings.of(entries[name], kind) for name in entries["datasets"]}

        val = block.get("val")
        return cls(group("nearood"), group("farood"), group("csid"), SetSettings.of(val, kind) if val else None)


def suite_of(dataset: DatasetSettings, outliers: OutlierSettings, data_dir: str | None = None) -> Suite:
    """The suite of a `dataset` and an `ood_dataset` block."""

    def source(name: str, settings: SetSettings, outside: bool = True) -> Source:
        def load() -> Samples:
            if not outside:
                return read_split(name, settings, "test", dataset.classes, dataset.chain, data_dir)
            return read_split(name, settings, "test", None, dataset.chain, data_dir).as_outliers()

        return Source(name, load, raw=name in ("imagenetc", "imagenet_c"))

    return replace(
        id_suite(dataset, data_dir),
        near=[source(*entry) for entry in outliers.near.items()],
        far=[source(*entry) for entry in outliers.far.items()],
        csid=[source(*entry, outside=False) for entry in outliers.csid.items()],
        ood_val=source("val", outliers.val) if outliers.val else None,
    )


def id_suite(dataset: DatasetSettings, data_dir: str | None = None) -> Suite:
    """The ID sets of a `dataset` block, without OOD sets."""

    def source(split: str) -> Source:
        settings, classes, chain = dataset.splits[split], dataset.classes, dataset.chain
        return Source(split, lambda: read_split(split, settings, split, classes, chain, data_dir, dataset.name))

    usual = "lenet" if dataset.name == "digits" else default_network(dataset.chain.image_size)
    test = dataset.splits.get("test", SetSettings())
    return Suite(
        dataset.name,
        dataset.classes,
        dataset.network or usual,
        dataset.chain,
        {split: source(split) for split in SPLITS if split in dataset.splits},
        [],
        [],
        resized_first=test.kind == "SharedDataset" or (test.root is not None and not test.root.is_dir()),
        class_names=class_names(test.root) if test.root is not None else (),
    )
