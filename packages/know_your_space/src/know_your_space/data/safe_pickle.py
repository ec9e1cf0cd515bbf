"""Pickles of NumPy arrays, and of nothing else: what a file could otherwise run is refused before it is looked up.

The authors distribute their images as a pickled dictionary. Plain containers, numbers, text and NumPy arrays are read,
from any protocol and from Python 2 as well.
"""

import codecs
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared.errors import InputError
from ood_shared.files import reading, regular


class RefusedPickleError(InputError):
    """The pickle names something else than NumPy arrays."""


def load_arrays(path: Path) -> Any:
    """The content of a pickle.

    Raises:
        MissingFileError: no such file.
        RefusedPickleError: the file would run code.
        InputError: the file is damaged, or no pickle.
    """
    regular(path, what="a pickle of a dictionary with `images`")
    with reading(path, "pickle", "Write or fetch it again."), path.open("rb") as file:
        return _ArrayUnpickler(file, str(path)).load()


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, where: str) -> None:
        super().__init__(file, encoding="latin1")  # bytes of NumPy arrays that Python 2 wrote
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        """One of the few names that NumPy's pickles contain."""
        allowed = _allowed(module, name)
        if allowed is None:
            raise RefusedPickleError(
                f"{self._where} holds `{module}.{name}`, which could run code; only NumPy arrays are read. "
                "Save plain arrays, or write the set anew with `know_your_space prepare`."
            )
        return allowed

    def persistent_load(self, pid: Any) -> Any:
        """Nothing is stored outside the file."""
        raise RefusedPickleError(f"{self._where} refers to an object outside of it; only NumPy arrays are read.")


def _allowed(module: str, name: str) -> Callable[..., Any] | None:
    part = module.replace("numpy._core.", "numpy.core.")
    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _empty,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy.core.numeric", "_frombuffer"): _from_buffer,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }
    return allowed.get((part, name))


def _empty(kind: type, shape: tuple[int, ...], code: Any) -> Any:
    """The empty array that a pickled one is filled into."""
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array of an unknown kind")
    return np.empty((0,), dtype=np.int8)


def _scalar(dtype: Any, value: Any) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("a number of an unknown kind")
    data = value.encode("latin1") if isinstance(value, str) else value
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str, *_: Any) -> Any:
    """An array of protocol 5; `order` is C or F."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("an array of Python objects")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding.replace("-", "").replace("_", "") != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding}")
    return codecs.latin_1_encode(text)[0]
