"""CIFAR-10 and CIFAR-100 from the original pickles, their archive, or a download.

The pickles are read with a loader that knows NumPy arrays, lists, texts and numbers only: a pickle that would run code
is refused. No checksum is asked for, so that small trees of the same form can stand in; downloads are checked.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from ood_shared.datasets.fetch import download_into
from ood_shared.datasets.unpacking import unpack
from ood_shared.errors import InputError
from ood_shared.files import reading, regular
from torch import Tensor

SIDE = 32
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
BATCHES = {
    "cifar10": {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
    "cifar100": {"train": ["train"], "test": ["test"]},
}
LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}
CLASSES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}  # in the order of the labels; those of CIFAR-100 are not named here
N_CLASSES = {"cifar10": 10, "cifar100": 100}
OTHER = {"cifar10": "cifar100", "cifar100": "cifar10"}
ADVICE = "Delete the folder so that it is made anew, or fetch the file again."
_SAFE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of arrays and plain values; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """NumPy's reconstruction functions, and nothing that could run code."""
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def present(name: str, root: Path) -> bool:
    """Whether the set lies in `root`, unpacked or as its archive."""
    return (root / FOLDERS[name]).is_dir() or (root / ARCHIVES[name]).is_file()


def read_cifar(name: str, split: str, root: Path) -> tuple[UInt8[Tensor, "n 3 32 32"], Int64[Tensor, " n"]]:
    """Images and labels in file order (the five training batches of CIFAR-10 one after the other).

    The folder is used when it is there, else the archive is unpacked beside it, else the archive is downloaded.

    Raises:
        MissingFileError: nothing is there and the download did not work.
        InputError: a file is damaged, of another form, or holds more than arrays.
    """
    folder = root / FOLDERS[name]
    if not folder.is_dir():
        _provide(name, root)
    parts = [_read_batch(folder / file, LABELS[name]) for file in BATCHES[name][split]]
    images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, SIDE, SIDE)
    labels = np.concatenate([numbers for _, numbers in parts])
    if labels.size and not 0 <= labels.min() <= labels.max() < N_CLASSES[name]:
        raise InputError(
            f"{folder} has labels from {labels.min()} to {labels.max()}; expected 0 to {N_CLASSES[name] - 1}."
        )
    return torch.from_numpy(images), torch.from_numpy(labels)


def _read_batch(path: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    if not path.exists():
        raise InputError(f"{path} is missing. Delete the folder so that it is made anew, or complete it.")
    regular(path, what="a CIFAR file")
    with reading(path, "CIFAR file of arrays only", ADVICE), path.open("rb") as file:
        content = ArrayUnpickler(file, encoding="latin1").load()
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected a dictionary with data and labels.")
    with reading(path, "CIFAR file of arrays only", ADVICE):
        named = {word.decode() if isinstance(word, bytes) else word: value for word, value in content.items()}
        pixels, labels = named.get("data"), named.get(key)
        given = np.asarray(labels if isinstance(labels, Sequence | np.ndarray) else [])
        with np.errstate(invalid="ignore"):  # NaN is refused below
            numbers = given.astype(np.int64)
        if given.ndim != 1 or given.dtype.kind not in "iuf" or not (numbers == given).all():
            raise ValueError(f"`{key}` is {given.dtype} {given.shape}, no list of whole numbers")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(numbers), 3 * SIDE**2):
        shape = getattr(pixels, "shape", type(pixels).__name__)
        raise InputError(
            f"{path}: data {shape} and {len(numbers)} `{key}`; expected uint8 (n, 3072) and as many labels."
        )
    return pixels, numbers


def _provide(name: str, root: Path) -> None:
    archive = root / ARCHIVES[name]
    if archive.is_file():
        unpack(archive, root, only=FOLDERS[name])
        return

    def download(folder: Path) -> None:
        from torchvision import datasets

        kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
        kind(str(folder), download=True)

    download_into(
        root,
        download,
        f"{root / FOLDERS[name]} is missing. Get {ARCHIVES[name]} (python version) from the CIFAR page of the "
        f"University of Toronto and put it into {root}, or pass own data with --ds folder:PATH.",
    )
