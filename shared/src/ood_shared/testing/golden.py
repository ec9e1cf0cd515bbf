"""Golden vectors: where they lie, how they are read, and how networks get the weights they were made with.

Golden tests carry no sizes and no case names of their own. They take them from the arrays and keys they find, so that
`GOLDEN_DIR` can put other vectors of the same form in place of those that a package ships:

    GOLDEN_DIR unset    <folder of the golden tests>/data
    GOLDEN_DIR=X        X/<package>; a missing folder is an error, never a skipped test

Other vectors may hold fewer cases and keys. A test compares what is there, and what is not there is a skip that names
the file and the key: never a failure, and never a test that passes because it compared nothing.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import read_json

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

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


class Entries(dict[str, Any]):
    """Entries of a golden file. A test that asks for one which is not there is skipped, and the reason names it."""

    def __init__(self, entries: Mapping[str, Any], source: str) -> None:
        super().__init__(entries)
        self.source = source

    def __missing__(self, key: str) -> NoReturn:
        skip(self.lack(key))

    def lack(self, *keys: str) -> str:
        """The reason to skip what needs these keys."""
        return f"{self.source} has no {', '.join(f'`{key}`' for key in keys)}"


def skip(reason: str) -> NoReturn:
    """Skip the test that runs, or the module that is being imported."""
    import pytest  # the benches, which fill networks by the rules of this module, run without it

    pytest.skip(reason, allow_module_level=True)


@dataclass(frozen=True)
class Golden:
    """Reads the files of one folder of golden vectors."""

    folder: Path

    def npz(self, name: str) -> Entries:
        """All arrays of `<name>.npz`. Pickled objects are refused.

        Raises:
            MissingFileError: the file is not there.
        """
        path = self._path(f"{name}.npz")
        with np.load(path, allow_pickle=False) as arrays:
            return Entries({key: arrays[key] for key in arrays.files}, path.name)

    def json(self, name: str) -> Any:
        """The content of `<name>.json`, its mappings as `Entries`.

        Raises:
            MissingFileError: the file is not there.
        """
        path = self._path(f"{name}.json")
        return _with_source(read_json(path), path.name)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            present_files = ", ".join(sorted(p.name for p in self.folder.iterdir())) or "nothing"
            raise MissingFileError(f"Golden file {path} is missing. The folder holds: {present_files}.")
        return path


def _with_source(value: Any, source: str) -> Any:
    """JSON content whose mappings know where they stand: `facts.json/salt`."""
    if isinstance(value, dict):
        return Entries({key: _with_source(entry, f"{source}/{key}") for key, entry in value.items()}, source)
    if isinstance(value, list):
        return [_with_source(entry, f"{source}/{at}") for at, entry in enumerate(value)]
    return value


def names(keys: Iterable[str], *patterns: str) -> list[str]:
    """The names for which every pattern gives a key, sorted: what a loop within a test runs over.

    Args:
        keys: keys of a file.
        patterns: each with one `*` that stands for the name.

    Raises:
        InputError: no name fits; a test without cases would pass silently.

    >>> names(["a_in", "a_out", "b_in", "b_in_in", "b_in_out", "salt"], "*_in", "*_out")
    ['a', 'b_in']
    """
    present = set(keys)
    found = [name for name in _candidates(present, patterns) if not _missing(present, patterns, name)]
    return _some(found, present, patterns)


def stems(keys: Iterable[str], *patterns: str) -> list[str]:
    """The names for which some pattern gives a key, sorted: the cases of a test that compares what is there.

    Args and Raises as in `names`.

    >>> stems(["a_in", "a_out", "b_in", "c_out", "salt"], "*_in", "*_out")
    ['a', 'b', 'c']
    """
    present = set(keys)
    return _some(_candidates(present, patterns), present, patterns)


def cases(entries: Entries, *patterns: str) -> list["ParameterSet"]:
    """The names for which some pattern gives a key, as parameters; those that lack another one are skipped.

    Args:
        entries: a golden file.
        patterns: each with one `*` that stands for the name.

    Raises:
        InputError: no name has a key for every pattern.
    """
    import pytest

    names(entries, *patterns)
    found = []
    for name in stems(entries, *patterns):
        missing = _missing(set(entries), patterns, name)
        marks = [pytest.mark.skip(reason=entries.lack(*missing))] if missing else []
        found.append(pytest.param(name, marks=marks))
    return found


def listed(entries: Entries, key: str) -> list[Any]:
    """The names that an array of the file lists, sorted, as parameters; without the array, one that is skipped."""
    import pytest

    if key in entries:
        return sorted(map(str, entries[key]))
    return [pytest.param("", marks=pytest.mark.skip(reason=entries.lack(key)), id=f"no {key}")]


def fitting(entries: Entries, pattern: str) -> list[str]:
    """The keys that fit a pattern with `*`, in the order of the file; where there is none, the test is skipped."""
    expression = ".+".join(map(re.escape, pattern.split("*")))
    return [key for key in entries if re.fullmatch(expression, key)] or skip(entries.lack(pattern))


def check_each(entries: Entries, found: Mapping[str, Any], check: Callable[[Any, Any], object]) -> None:
    """Compare every value with the entry of its key, as far as there is one; then skip if any was missing.

    Args:
        entries: a golden file.
        found: our values by the keys that the file's description promises.
        check: called with ours and the entry; raises AssertionError where they disagree.
    """
    for key, value in found.items():
        if key in entries:
            try:
                check(value, entries[key])
            except AssertionError as error:
                error.add_note(f"`{key}` of {entries.source}")
                raise
    missing = [key for key in found if key not in entries]
    if missing:
        skip(entries.lack(*missing) + (", the rest agrees" if len(missing) < len(found) else ""))


def _parts(patterns: tuple[str, ...]) -> list[tuple[str, str]]:
    if not patterns or any(pattern.count("*") != 1 for pattern in patterns):
        raise InputError(f"Each pattern needs exactly one `*`, got {patterns}.")
    return [(head, tail) for head, _, tail in (pattern.partition("*") for pattern in patterns)]


def _candidates(keys: set[str], patterns: tuple[str, ...]) -> list[str]:
    return sorted(
        {
            key[len(head) : len(key) - len(tail)]
            for head, tail in _parts(patterns)
            for key in keys
            if key.startswith(head) and key.endswith(tail) and len(key) > len(head) + len(tail)
        }
    )


def _missing(keys: set[str], patterns: tuple[str, ...], name: str) -> list[str]:
    return [f"{head}{name}{tail}" for head, tail in _parts(patterns) if f"{head}{name}{tail}" not in keys]


def _some(found: list[str], keys: set[str], patterns: tuple[str, ...]) -> list[str]:
    if not found:
        raise InputError(f"No key fits {patterns}. Keys: {', '.join(sorted(keys)) or 'none'}.")
    return found


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
