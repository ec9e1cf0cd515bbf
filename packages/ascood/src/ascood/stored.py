"""What `ascood.fit` and the bench say of a detector beside its weights, read once into typed values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import files
from ood_shared.errors import InputError, one_line
from ood_shared.results.schema import RESULT
from ood_shared.runs import is_size

from ascood.in_memory import SIZE
from ascood.run_files import DETECTOR

KINDS = {"str": "text", "dict": "a table", "list": "a list"}


@dataclass(frozen=True)
class Stored:
    """A detector of a folder.

    Attributes:
        weights: file of its weights.
        config: of its network.
        score: name of a score.
        args: hyper-parameters of the score.
        native: height and width of the training images, as they were stored.
        classes: names; None for numbers.
    """

    weights: Path
    config: Mapping[str, Any]
    score: str
    args: Mapping[str, Any]
    native: tuple[int, int]
    classes: tuple[str, ...] | None


def read_stored(folder: Path) -> Stored:
    """The record of a folder; of an older bench folder what its result says.

    Raises:
        InputError: it is of another method, or holds what cannot be.
    """
    path = folder / DETECTOR
    if not path.is_file():
        return _of_result(folder, files.read_json(folder / RESULT))
    about = files.read_json(path)
    score = _entry(path, about, "score", dict)
    native = _entry(path, about, "native", list)
    if not is_size(native):
        raise _wrong(path, "native", native, "height and width")
    classes = about.get("classes")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise _wrong(path, "classes", classes, "a list of names")
    return Stored(
        folder / _entry(path, about, "weights", str),
        _entry(path, about, "config", dict),
        _entry(path, score, "name", str),
        _entry(path, score, "args", dict),
        (native[0], native[1]),
        tuple(classes) if classes else None,
    )


def _of_result(folder: Path, result: Any) -> Stored:
    path = folder / RESULT
    method = result.get("method") if isinstance(result, dict) else None
    if method != "ascood":
        raise InputError(f"{folder} is of the method `{one_line(str(method), 60)}`, not of ascood.")
    config = _entry(path, result, "config", dict)
    score = _entry(path, config, "score", dict)
    name, args = _entry(path, score, "name", str), _entry(path, score, "args", dict)
    weights = folder / "run" / _entry(path, config, "weights", str)
    return Stored(weights, _entry(path, config, "train", dict), name, args, (SIZE, SIZE), None)


def _entry(path: Path, record: Any, name: str, kind: type) -> Any:
    """An entry of a record, of one type."""
    found = record.get(name) if isinstance(record, dict) else None
    if not isinstance(found, kind):
        raise _wrong(path, name, found, KINDS[kind.__name__])
    return found


def _wrong(path: Path, name: str, found: object, expected: str) -> InputError:
    said = "no" if found is None else f"{one_line(repr(found), 80)} as"
    return InputError(f"{path} has {said} `{name}`; expected {expected}. Fetch the folder again, or train anew.")
