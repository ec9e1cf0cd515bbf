"""Small sets and checkpoints in every form that the commands read."""

import csv
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from know_your_space.data import layout, paths
from know_your_space.data.sets import EIGHT, RULES
from know_your_space.networks import build_model
from ood_shared import checkpoints
from ood_shared.datasets.medical import MEDICAL
from PIL import Image

GREY = ("octmnist", "organamnist", "organcmnist", "organsmnist", "tissuemnist", "pneumoniamnist")
SPLITS = ("train", "val", "test")


def images_of(labels: Sequence[int], side: int = 28, colour: bool = True, seed: int = 0) -> np.ndarray:
    """Noise whose brightness tells the class; the channels differ."""
    generator = np.random.default_rng(seed)
    shape = (len(labels), side, side, *([3] if colour else []))
    tint = np.array([0, 30, 60]) if colour else np.array(0)
    level = 15 * np.asarray(labels).reshape(-1, *[1] * (len(shape) - 1))
    return (generator.integers(0, 40, shape) + level + tint).astype(np.uint8)


def write_npz(
    path: Path,
    n_classes: int = 8,
    per_class: Mapping[str, int] | None = None,
    side: int = 28,
    colour: bool = True,
    first: int = 0,
) -> Path:
    """A six-array npz; classes alternate; labels have shape (n, 1) as in MedMNIST."""
    arrays: dict[str, Any] = {}
    for number, (split, count) in enumerate((per_class or {"train": 3, "val": 2, "test": 1}).items()):
        labels = np.tile(np.arange(first, first + n_classes), count)
        arrays[f"{split}_images"] = images_of(labels, side, colour, seed=number)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def write_tiny(place: Path) -> Path:
    """`data/tiny.npz` in a folder: three classes, 42 images to train on."""
    return write_npz(place / "data" / "tiny.npz", n_classes=3, per_class={"train": 14, "val": 5, "test": 4})


def enter_tiny(place: Path, patch: pytest.MonkeyPatch) -> None:
    """Go to a folder with `data/tiny.npz`, where trainings draw no pictures, which take longer than a tiny one."""
    write_tiny(place)
    patch.chdir(place)
    patch.setattr("know_your_space.train._draw", lambda path, figure: None)


def write_medmnist(root: Path, name: str, **kwargs: Any) -> Path:
    """`<root>/<name>.npz` with the classes and colours of the MedMNIST set."""
    return write_npz(root / f"{name}.npz", len(MEDICAL[name].classes), colour=name not in GREY, **kwargs)


def write_authors_files(
    data: Path, name: str, train: Sequence[int], val: Sequence[int], novel: Sequence[int], colour: bool = True
) -> Path:
    """The pickle and the CSV files of a set, from the class ids of its parts. Written as the authors' tools would."""
    folder = data / name
    folder.mkdir(parents=True)
    labels = [*train, *val, *novel]
    images = images_of(labels, colour=colour, seed=len(name))
    (folder / f"{name}_combined.pkl").write_bytes(pickle.dumps({"images": images, "labels": np.array(labels)}, 2))
    start = 0
    for words, part in (("in_train", train), ("in_val", val), ("out", novel)):
        with (folder / f"{name}_{words}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "index", "labels"])  # pandas writes its own numbers in front
            writer.writerows([row, start + row, label] for row, label in enumerate(part))
        start += len(part)
    return folder


def write_eight(data: Path, names: Sequence[str] = EIGHT) -> None:
    """The authors' files of the sets, a few images each."""
    for name in names:
        novel = [int(word) for word in RULES[name].novel]
        known = [number for number in range(len(MEDICAL[name].classes)) if number not in novel]
        write_authors_files(data, name, known, known * 2, novel * 3, colour=name not in GREY)


def write_folder(root: Path, per_class: Mapping[str, int], classes: Sequence[str] = ("a", "b"), side: int = 28) -> Path:
    """An image folder in ImageFolder layout."""
    for split, count in per_class.items():
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for index, pixels in enumerate(images_of([number] * count, side)):
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def write_checkpoint(
    in_dataset: str,
    n_classes: int,
    *,
    root: Path = Path(),
    run: str = paths.RUN,
    prefix: str | None = None,
    depth: int = 10,
    last: bool = True,
    seed: int = 0,
    change: Any = None,
) -> Path:
    """A checkpoint of an untrained network, where detection looks for it; `change` alters its state dict."""
    torch.manual_seed(seed)
    network = build_model("wrn", n_classes, depth)
    for module in network.modules():  # running statistics of no use, as after a few steps
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    state = network.state_dict()
    if change is not None:
        change(state)
    folder = paths.checkpoint_folder(root, "wrn", in_dataset, run)
    path = folder / paths.checkpoint_name(prefix or run, -20, -7, 1, last)
    checkpoints.save(path, {"epoch": 101, "optimizer": {}, "state_dict": state})
    return path


def read_scores(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The confidences of both text files, float32."""
    files = (folder / "scores_energy_In.txt", folder / "scores_energy_Out.txt")
    known, novel = (np.array(file.read_text().split(), dtype=np.float32) for file in files)
    return known, novel


def write_csv(folder: Path, part: str, text: str) -> None:
    """Replace a CSV file of the authors' layout."""
    layout.csv_path(folder, part).write_text(text)
