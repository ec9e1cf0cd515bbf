"""Golden vectors: where they lie, how they are read, and how networks get the weights they were made with.

Golden tests carry no sizes and no case names of their own. They take them from the arrays and keys they find, so that
`GOLDEN_DIR` can put other vectors of the same form in place of those that a package ships:

    GOLDEN_DIR unset    <folder of the golden tests>/data
    GOLDEN_DIR=X        X/<package>; a missing folder is an error, never a skipped test
"""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import read_json

FillRule = Callable[[str, tuple[int, ...], int], npt.NDArray[Any] | None]
"""Values of a state-dict entry from its key, its shape and the salt; None leaves the entry as it is."""


def golden_dir(package: str, tests_folder: Path) -> Path:
    """The folder with the golden vectors of a package.

    Args:
        package: name of the package, the folder's name below `GOLDEN_DIR`.
        tests_folder: folder of the package's golden tests; its `data` holds the vectors that the package ships.

    Raises:
        MissingFileError: the folder is not there.
    """
    root = os.environ.get("GOLDEN_DIR")
    folder = Path(root) / package if root else tests_folder / "data"
    if not folder.is_dir():
        hint = (
            f"GOLDEN_DIR is `{root}`; it must hold a folder `{package}`." if root else "Restore it from the repository."
        )
        raise MissingFileError(f"Golden vectors {folder} are missing. {hint}")
    return folder


@dataclass(frozen=True)
class Golden:
    """Reads the files of one folder of golden vectors."""

    folder: Path

    def npz(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """All arrays of `<name>.npz`. Pickled objects are refused.

        Raises:
            MissingFileError: the file is not there.
        """
        path = self._path(f"{name}.npz")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def json(self, name: str) -> Any:
        """The content of `<name>.json`.

        Raises:
            MissingFileError: the file is not there.
        """
        return read_json(self._path(f"{name}.json"))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            present_files = ", ".join(sorted(p.name for p in self.folder.iterdir())) or "nothing"
            raise MissingFileError(f"Golden file {path} is missing. The folder holds: {present_files}.")
        return path


def names(keys: Iterable[str], *patterns: str) -> list[str]:
    """The names for which every pattern gives a key, sorted: the cases of a parametrised test.

    Args:
        keys: keys of a file.
        patterns: each with one `*` that stands for the name.

    Raises:
        InputError: no name fits; a parametrised test without cases would pass silently.

    >>> names(["a_in", "a_out", "b_in", "b_in_in", "b_in_out", "salt"], "*_in", "*_out")
    ['a', 'b_in']
    """
    present = set(keys)
    parts = [pattern.split("*") for pattern in patterns]
    if not parts or any(len(part) != 2 for part in parts):
        raise InputError(f"Each pattern needs exactly one `*`, got {patterns}.")
    head, tail = parts[0]
    candidates = {
        key[len(head) : len(key) - len(tail)]
        for key in present
        if key.startswith(head) and key.endswith(tail) and len(key) > len(head) + len(tail)
    }
    names = sorted(name for name in candidates if all(f"{a}{name}{b}" in present for a, b in parts))
    if not names:
        raise InputError(f"No key fits {patterns}. Keys: {', '.join(sorted(present)) or 'none'}.")
    return names


def fan_in_normal(key: str, shape: tuple[int, ...], salt: int) -> npt.NDArray[np.float32]:
    """Normal numbers seeded by the key: times sqrt(2 / fan-in) with two or more axes, times 0.1 for vectors.

    `RandomState` is frozen by NumPy's promise of compatibility, so the values are the same in every version.
    """
    seed = (zlib.crc32(key.encode()) + salt) % 2**32
    values = np.random.RandomState(seed).standard_normal(prod(shape))
    factor = np.sqrt(2.0 / prod(shape[1:])) if len(shape) > 1 else 0.1
    return (values * factor).astype(np.float32).reshape(shape)


def hashed_uniform(key: str, shape: tuple[int, ...], salt: int) -> npt.NDArray[Any]:
    """Uniform numbers u of an integer hash of the key and the position, scaled by what the entry is.

    A running mean gets 0.2 (u - 0.5), a running variance 0.5 + u, an entry of two or more axes (2u - 1) sqrt(3 /
    fan-in), another weight 0.75 + 0.5 u, any other vector 0.2 (u - 0.5); counters of batches are 0.
    """
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    h = np.arange(prod(shape), dtype=np.uint32)  # whose sums and products are modulo 2**32, as those of the rule
    h *= np.uint32(0x9E3779B1)
    h += np.uint32((zlib.crc32(key.encode()) + salt) % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    u = (h / 2.0**32).reshape(shape)
    if key.endswith("running_var"):
        return np.asarray(0.5 + u)
    if len(shape) > 1:
        return np.asarray((2 * u - 1) * np.sqrt(3.0 / prod(shape[1:])))
    if key.endswith("weight"):
        return np.asarray(0.75 + 0.5 * u)
    return np.asarray(0.2 * (u - 0.5))


def fill_state_dict(
    module: nn.Module, salt: int = 0, dtype: torch.dtype = torch.float32, rule: FillRule = fan_in_normal
) -> nn.Module:
    """Give every entry of the module's state dict the value that `rule` makes of its key, and return the module.

    Args:
        module: keys are those of its own state dict, without a name of the module in front.
        salt: changes all values; the vectors name theirs.
        dtype: floating-point type of the module afterwards. Values are rounded to float32 first whatever it is, so a
            float64 network has the weights of the float32 one. Integer entries keep their type.
        rule: the fill rule.

    Raises:
        InputError: the rule gives another shape than the entry has.
    """
    filled = {}
    for key, entry in module.state_dict().items():
        values = rule(key, tuple(entry.shape), salt)
        if values is None:
            filled[key] = entry
            continue
        if values.shape != tuple(entry.shape):
            raise InputError(f"The fill rule gives `{key}` the shape {values.shape}, expected {tuple(entry.shape)}.")
        rounded = torch.from_numpy(np.asarray(values, dtype=np.float32))
        filled[key] = rounded.to(dtype if entry.is_floating_point() else entry.dtype)
    module.to(dtype).load_state_dict(filled)
    return module


def tensors(arrays: Mapping[str, npt.NDArray[Any]], *keys: str) -> list[torch.Tensor]:
    """The named arrays as tensors, in that order.

    >>> tensors({"x": np.zeros(2), "y": np.ones(1)}, "y")
    [tensor([1.], dtype=torch.float64)]
    """
    return [torch.from_numpy(np.array(arrays[key])) for key in keys]
