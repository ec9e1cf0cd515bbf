"""`ascood build_imglist`: OpenOOD image lists and yml files from plain folders, so that own data runs as a benchmark.

    ascood build_imglist my_birds --name birds --ood other=my_other_birds --far textures=my_textures

writes data/benchmark_imglist/birds/{train,val,test}_birds.txt, one list for each OOD set, and
configs/datasets/birds/{birds,birds_ood}.yml. Images stay where they are; the lists name them from the common folder.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import yaml
from ood_shared import files
from ood_shared.datasets.decode import read_image
from ood_shared.datasets.tree import FolderTree, Listing, list_split
from ood_shared.errors import InputError, MissingFileError, MissingSplitError, one_line
from ood_shared.files import path_of
from ood_shared.notes import say

from ascood.data.sources import default_network

MARK = "# written by ascood build_imglist\n"


def build(options: argparse.Namespace) -> int:
    """Write the lists and the two yml files."""
    root = path_of(options.folder)
    if not root.is_dir():
        raise MissingFileError(f"{root} is missing; expected a folder with train and test images.")
    if not 0 < options.val_fraction < 1:
        raise InputError(f"--val-fraction is {options.val_fraction}; expected a share between 0 and 1.")
    refuse_name(options.name, "--name")
    name, lists = options.name, Path(options.data_dir) / "benchmark_imglist" / options.name
    splits = {split: list_split(FolderTree(root), split, str(root)) for split in ("train", "test")}
    try:
        splits["val"] = list_split(FolderTree(root), "val", str(root))
    except MissingSplitError:
        splits["train"], splits["val"] = hold_out_validation(splits["train"], options.val_fraction, options.seed)
        print(f"no val split: {len(splits['val'].paths)} training images are kept for it")
    say(f"{root}: {note}" for listing in splits.values() for note in listing.notes)
    first = read_image(root / splits["train"].paths[0])
    outliers = {"nearood": _pairs(options.ood, "--ood"), "farood": _pairs(options.far, "--far")}
    _refuse_twice([name, *(word.partition("=")[0] for word in (*options.ood, *options.far))])
    configs = Path(options.configs) / "datasets" / name
    _refuse_other_lists(configs / f"{name}.yml", lists)
    listed = {f"{split}_{name}": (listing.paths, listing.labels) for split, listing in splits.items()}
    for group in outliers.values():
        for set_name, folder in group.items():
            paths = FolderTree(folder).walk("")
            if not paths:
                raise InputError(f"{folder} holds no images; expected those of the OOD set `{set_name}`.")
            listed[f"test_{set_name}"] = (paths, [-1] * len(paths))
    for paths, _ in listed.values():
        refuse_spaces(paths)
    for list_name, (paths, labels) in listed.items():
        write_list(lists / f"{list_name}.txt", paths, labels)
    size = options.image_size or (32 if min(first.size) <= 64 else 224)
    block = dataset_block(name, len(splits["train"].classes), size, root, lists)
    files.write_text(configs / f"{name}.yml", MARK + yaml.safe_dump({"dataset": block}, sort_keys=False))
    files.write_text(
        configs / f"{name}_ood.yml", yaml.safe_dump({"ood_dataset": ood_block(name, outliers, lists)}, sort_keys=False)
    )
    print(
        f"{lists}: {', '.join(f'{split} {len(listing.paths)}' for split, listing in splits.items())}\n"
        f"train: python main.py --id-data {configs / name}.yml --network.backbone.name {default_network(size)}\n"
        f"test:  python scripts/eval_ood.py --id-data {configs / name}.yml --wrapper-net ASCOODNet --root RUNS"
    )
    return 0


def write_list(path: Path, relative: list[str], labels: list[int]) -> None:
    """One line an image: its path from the data folder, and its label."""
    files.write_text(path, "".join(f"{name} {label}\n" for name, label in zip(relative, labels, strict=True)))


def refuse_name(name: str, flag: str) -> None:
    """Refuse the name of a set that could not be that of a file.

    Raises:
        InputError: it holds other than letters, digits, `-`, `_`, `+` and dots, or begins with a dot.
    """
    if not re.fullmatch(r"[\w+-][\w.+-]{0,99}", name):
        raise InputError(
            f"{flag} `{one_line(ascii(name), 80)}` is no name for files; expected letters, digits, `-`, `_` and dots."
        )


def refuse_spaces(relative: list[str]) -> None:
    """Refuse a path with a space, at which a list would be split.

    Raises:
        InputError: there is one.
    """
    spaced = next((name for name in relative if " " in name), None)
    if spaced is not None:
        raise InputError(f"`{spaced}` has a space in its name, which an image list cannot hold. Rename it.")


def hold_out_validation(train: Listing, share: float, seed: int) -> tuple[Listing, Listing]:
    """Training images in two parts, the second with about that share of every class and at least one image of each."""
    labels = np.array(train.labels)
    draws = np.random.default_rng(seed)
    kept = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        count = max(1, round(share * len(of_class)))
        if count >= len(of_class):
            raise InputError(
                f"Class `{train.classes[label]}` has {len(of_class)} images; too few to keep {count} for val."
            )
        kept[draws.permutation(of_class)[:count]] = True
    parts = []
    for chosen in (~kept, kept):
        index = np.flatnonzero(chosen)
        parts.append(Listing(train.classes, [train.paths[i] for i in index], [train.labels[i] for i in index]))
    return parts[0], parts[1]


def dataset_block(name: str, classes: int, size: int, root: Path, lists: Path) -> dict[str, object]:
    """The `dataset` block of the yml file."""

    def split(word: str) -> dict[str, object]:
        where = {"data_dir": f"{root.absolute()}/", "imglist_pth": str(lists / f"{word}_{name}.txt")}
        return {"dataset_class": "ImglistDataset", **where, "batch_size": 128, "shuffle": word == "train"}

    references = {key: f"@{{{key}}}" for key in ("num_workers", "num_gpus", "num_machines")}
    sizes = {"pre_size": size if size <= 64 else round(size * 8 / 7), "image_size": size}
    splits = {word: split(word) for word in ("train", "val", "test")}
    common = {"interpolation": "bilinear", "normalization_type": "unknown", **references, "split_names": list(splits)}
    return {"name": name, "num_classes": classes, **sizes, **common, **splits}


def ood_block(name: str, outliers: dict[str, dict[str, Path]], lists: Path) -> dict[str, object]:
    """The `ood_dataset` block; the embedded textures serve the search of hyper-parameters."""
    block: dict[str, object] = {"name": f"{name}_ood", "dataset_class": "ImglistDataset", "batch_size": 128}
    block["val"] = {"dataset_class": "SharedDataset", "source": "textures", "split": "val"}
    for part, group in outliers.items():
        entries = {
            key: {"data_dir": f"{folder.absolute()}/", "imglist_pth": str(lists / f"test_{key}.txt")}
            for key, folder in group.items()
        }
        block[part] = {"datasets": list(group), **entries}
    return block


def _pairs(words: list[str], flag: str) -> dict[str, Path]:
    pairs = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise InputError(f"{flag} `{word}`: expected NAME=FOLDER.")
        refuse_name(name, flag)
        pairs[name] = path_of(folder)
    return pairs


def _refuse_twice(names: list[str]) -> None:
    """Refuse two sets of one name, whose lists would be one file."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"`{twice}` names two sets, of --name, --ood and --far; give each a name of its own.")


def _refuse_other_lists(block: Path, lists: Path) -> None:
    """Refuse to replace lists that this command did not write: no yml file of it names them."""
    if block.is_file() and MARK in files.read_text(block, "a yml file"):
        return
    own = (*(lists / f"{split}_{lists.name}.txt" for split in ("train", "val", "test")), block)
    old = next((path for path in own if path.is_file()), None)
    if old is not None:
        raise InputError(f"{old} is there and was not written by build_imglist; pass another --name.")
