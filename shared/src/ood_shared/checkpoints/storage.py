"""A checkpoint's file: tensors, numbers, text and containers of them, read without running what it might hold.

Older files keep NumPy numbers and arrays in their histories: exactly the types that rebuild those are allowed besides
tensors, and come as plain numbers and tensors.
"""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ood_shared.errors import InputError
from ood_shared.files import atomic_path, reading, regular

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")  # dtypes of NumPy that are read


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, text and containers of them to `path`, atomically.

    The same state gives the same bytes: torch would write the temporary name into a file that it opens itself.

    Raises:
        OSError: the disk is full or refuses for another reason; torch's own error is about its archive format.
    """
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(dict(state), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Only tensors and plain values are accepted, never code.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is truncated, is no checkpoint, holds Python objects that would run code, or is no
            dictionary with names as keys.
    """
    state = load_value(path)
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, expected a dictionary of weights.")
    odd = next((key for key in state if not isinstance(key, str)), None)
    if odd is not None:
        raise InputError(f"{path} has the key {odd!r} ({type(odd).__name__}); expected names. It is no checkpoint.")
    return dict(state)


def load_value(path: Path) -> Any:
    """What a checkpoint file holds, of whatever kind: a tensor, too; errors as `load`."""
    size = regular(path, what="a checkpoint").st_size
    with reading(path, "checkpoint", f"It has {size} bytes; it may be cut short. Make or fetch it again."):
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_kinds()):
                warnings.simplefilter("ignore")  # a foreign pickle's protocol; what cannot be read raises
                _compare_checksums(path)
                return _plain(torch.load(path, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            if "weights" not in str(error).lower() and "unsupported" not in str(error).lower():
                raise
            raise InputError(
                f"{path} holds Python objects that could run code, not only weights; it was not loaded. "
                "Save the bare state_dict of the model and pass that file."
            ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare_checksums(path: Path) -> None:
    """Look at the checksums that torch writes and does not look at: a changed byte would be another weight."""
    if not zipfile.is_zipfile(path):  # the format of torch before 1.6 has none
        return
    with zipfile.ZipFile(path) as packed:
        changed = packed.testzip()
    if changed is not None:
        raise ValueError(f"its part {changed} differs from its checksum")


def _numpy_kinds() -> list[Any]:
    """The types that rebuild NumPy numbers and arrays, under their old and new names."""
    from numpy._core import multiarray

    found: list[Any] = [np.dtype, np.ndarray, *{type(np.dtype(word)) for word in NUMBERS}]
    for name in ("scalar", "_reconstruct"):
        rebuild = getattr(multiarray, name)
        found += [rebuild, (rebuild, f"numpy.core.multiarray.{name}"), (rebuild, f"numpy._core.multiarray.{name}")]
    return found


def _plain(value: Any) -> Any:
    """The value with NumPy's numbers as Python's, and its arrays as tensors."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            raise ValueError(f"an array of {value.dtype}")
        return torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))).copy())
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_plain(entry) for entry in value)
    return value
