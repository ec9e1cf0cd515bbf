"""The checkpoint of a training: its parts, each of its kind, put back whole or not at all."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ood_shared.checkpoints.storage import load
from ood_shared.errors import InputError
from ood_shared.files.reading import passes, reason_of

ADVICE = "Start anew without --resume."
Kinds = Mapping[str, type | tuple[type, ...]]
_WORDS = {Mapping: "a mapping", Tensor: "a tensor", type(None): "nothing", int: "a whole number", list: "a list"}


def load_parts(path: Path, parts: Iterable[str], advice: str = ADVICE) -> dict[str, Any]:
    """The checkpoint of a training, which has all the parts; other errors as `load`.

    Args:
        path: of the file.
        parts: their names; a mapping gives the kind of each.
        advice: what to do when it is not one.

    Raises:
        InputError: a part is missing, or of another kind.
    """
    state = load(path)
    of_kinds(state, parts, path, advice)
    return state


def of_kinds(state: Any, parts: Iterable[str], path: object, advice: str = ADVICE) -> None:
    """Refuse a state that lacks a part or has one of another kind; arguments as `load_parts`.

    Raises:
        InputError: names the part.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"{path} is no checkpoint of a training: a {type(state).__name__} stands for parts. {advice}")
    lacking = next((name for name in parts if name not in state), None)
    if lacking is not None:
        raise InputError(f"{path} is no checkpoint of a training: it lacks `{lacking}`. {advice}")
    if isinstance(parts, Mapping):
        for name, kinds in parts.items():
            if not isinstance(state[name], kinds) or (isinstance(state[name], bool) and kinds is int):
                wanted = " or ".join(
                    _WORDS.get(k, k.__name__) for k in (kinds if isinstance(kinds, tuple) else (kinds,))
                )
                found = _WORDS.get(type(state[name]), type(state[name]).__name__)
                raise InputError(
                    f"{path} does not fit: its part `{name}` is {found}, expected {wanted}. "
                    f"Nothing of the run was changed. {advice}"
                )


@contextmanager
def restoring(path: object, advice: str = ADVICE) -> Iterator[None]:
    """Turn whatever fails while a run takes over a checkpoint's parts into one line about the file.

    Args:
        path: of the checkpoint.
        advice: what to do about it.

    Raises:
        InputError: a part does not fit; the run's files are as they were.
    """
    try:
        yield
    except Exception as error:
        if passes(error):
            raise
        reason = reason_of(error)
        raise InputError(
            f"{path} does not fit this run ({reason}). Nothing of the run was changed. {advice}"
        ) from error
