"""Checkpoints: written whole, loaded without running code, holding all that a run needs to go on bit-equal."""

import hashlib
import pickle
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import atomic_path


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
        InputError: the file is truncated, is no checkpoint, or holds Python objects that would run code.
    """
    if not path.is_file():
        raise MissingFileError(f"Checkpoint {path} is missing.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign pickle's protocol; what cannot be read raises below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights" in str(error).lower() or "unsupported" in str(error).lower():
            raise InputError(
                f"{path} holds Python objects that could run code, not only weights; it was not loaded. "
                "Save the bare state_dict of the model and pass that file."
            ) from None
        raise _broken(path) from None
    except PermissionError:
        raise
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, UnicodeDecodeError):
        raise _broken(path) from None  # OSError: torch looks for parts beyond the end of a file that was cut short
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}, expected a dictionary of weights.")
    return dict(state)


def load_parts(path: Path, parts: Iterable[str], advice: str = "Start anew without --resume.") -> dict[str, Any]:
    """The checkpoint of a training, which has all the parts; other errors as `load`.

    Raises:
        InputError: a part is missing; `advice` says what to do then.
    """
    state = load(path)
    lacking = next((name for name in parts if name not in state), None)
    if lacking is not None:
        raise InputError(f"{path} is no checkpoint of a training: it lacks `{lacking}`. {advice}")
    return state


def _broken(path: Path) -> InputError:
    return InputError(
        f"{path} is not a readable checkpoint ({path.stat().st_size} bytes); it may be cut short. "
        "Make or fetch it again."
    )


def load_weights(module: nn.Module, weights: Mapping[str, Any], source: object) -> None:
    """Load a state dict strictly; errors as `check_weights`."""
    check_weights(module, weights, source)
    module.load_state_dict(dict(weights))


def check_weights(module: nn.Module, weights: Mapping[str, Any], source: object) -> None:
    """Refuse a state dict that is not exactly the module's; `source` names it in errors. It may be on `meta`.

    Raises:
        InputError: a key is missing or too many, or a shape differs; the first difference is quoted.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in weights]
    extra = [key for key in weights if key not in expected]
    if missing or extra:
        difference = f"lacks `{missing[0]}`" if missing else f"has `{extra[0]}`, which the network does not have"
        raise InputError(
            f"{source} does not fit this network: it {difference} ({len(missing)} keys missing, {len(extra)} too many)."
        )
    for key, tensor in expected.items():
        value = weights[key]
        if not isinstance(value, Tensor) or value.shape != tensor.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"{source} does not fit this network: `{key}` is {shape}, expected {tuple(tensor.shape)}.")


def rng_state() -> dict[str, Any]:
    """State of the global generators of Python, NumPy, torch and every CUDA device, in plain values and tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - the state to keep
    return {
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng_state(state: Mapping[str, Any]) -> None:
    """Put the global generators where `rng_state` found them. CUDA states are set when the device count agrees."""
    python, arrays = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    keys = arrays["keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, arrays["position"], arrays["has_gauss"], arrays["cached"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the global generators as they were before the block; also a decorator: `@kept_generators()`."""
    before = rng_state()
    try:
        yield
    finally:
        restore_rng_state(before)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
