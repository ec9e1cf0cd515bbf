"""The form of `result.json` and `scores.npz`, and the checks that hold them to it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_shared import metrics
from ood_shared.contract import BUDGETS
from ood_shared.errors import InputError

SCHEMA_VERSION = 1
CONVENTION = "higher = more OOD"
RESULT, SCORES = "result.json", "scores.npz"
PICTURES = "pictures.npz"  # optional
FACTS = ("backbone", "parameters", "epochs", "extra_data")  # in the `config` of every bench, and of nothing else
AGAIN = "Run the method again."
TOLERANCE = 1e-6  # between a metric in result.json and the same from scores.npz

Record = dict[str, Any]
ScoreArrays = dict[str, npt.NDArray[Any]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_share_with_interval(value: Any) -> bool:
    if not isinstance(value, dict) or not all(_is_number(value.get(part)) for part in ("value", "low", "high")):
        return False
    within = all(-1e-9 <= value[part] <= 1 + 1e-9 for part in ("value", "low", "high"))  # sums round
    return within and bool(value["low"] <= value["high"])


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _has_timings(value: Any) -> bool:
    names = ("train_seconds", "train_step_seconds", "score_seconds_per_1000")
    amount = _or_none(lambda seconds: _is_number(seconds) and seconds >= 0)
    return isinstance(value, dict) and all(name in value and amount(value[name]) for name in names)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


INTERVAL = "{value, low, high} between 0 and 1, low <= high"
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "method": ("a name", _is_text),
    "paper": ("authors, title, venue", _is_text),
    "id_dataset": ("a name", _is_text),
    "ood_datasets": ("a list of different names", _is_name_list),
    "seed": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "budget": (f"one of {', '.join(BUDGETS)}", lambda value: value in BUDGETS),
    "config": ("an object", _is_dict),
    "metrics": ("an object", lambda value: _is_dict(value) and all(map(_is_dict, value.values()))),
    "id_accuracy": (f"{INTERVAL}; or null", _or_none(_is_share_with_interval)),
    "timings": ("train_seconds, train_step_seconds and score_seconds_per_1000, each a number or null", _has_timings),
    "peak_memory_bytes": ("a whole number or null", _or_none(_is_count)),
    "hardware": ("an object", _is_dict),
    "versions": ("an object", _is_dict),
    "commit": ("a text or null", _or_none(_is_text)),
    "checkpoint_sha256": ("a text or null", _or_none(_is_text)),
    "score_convention": (f"`{CONVENTION}`", lambda value: value == CONVENTION),
}
ARRAYS = {"scores": "f", "labels": "iu", "dataset": "iu", "predictions": "iu", "names": "U"}
GROUPS = "groups"  # optional: the group of each input within its set, from 0 on, such as its patient; -1 by itself
ARRAY_FORMS = {"scores": "floats", "names": "texts"} | dict.fromkeys(
    ("labels", "dataset", "predictions", GROUPS), "integers"
)


def split_scores(scores: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The scores of each set: ID first, then the OOD sets in order."""
    return [scores["scores"][scores["dataset"] == position] for position in range(len(scores["names"]))]


def split_groups(scores: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.int64] | None]:
    """The groups of each set, in the order of `split_scores`, numbered without gaps; None where there are none."""
    if GROUPS not in scores:
        return [None] * len(scores["names"])
    of_sets = [scores[GROUPS][scores["dataset"] == position] for position in range(len(scores["names"]))]
    return [
        None if not len(own) or own.min() < 0 else np.unique(own, return_inverse=True)[1].astype(np.int64)
        for own in of_sets
    ]


def check_record(record: Any, where: str) -> None:
    """Raise `InputError` unless `record` has every entry of `FIELDS` in the form that is expected there."""
    if not isinstance(record, dict):
        raise InputError(f"{where} holds {_shown(record)}; expected an object with the entries {', '.join(FIELDS)}.")
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{where} has schema_version {_shown(version)}; this version reads {SCHEMA_VERSION}.")
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise InputError(f"{where} lacks {', '.join(f'`{name}`' for name in missing)}.")
    for name, (expected, fits) in FIELDS.items():
        if not fits(record[name]):
            raise InputError(f"{where}: `{name}` is {_shown(record[name])}; expected {expected}.")
    if list(record["metrics"]) != record["ood_datasets"]:
        raise InputError(
            f"{where}: `metrics` has the sets {_shown(list(record['metrics']))}; expected those of `ood_datasets` in "
            f"their order, {_shown(record['ood_datasets'])}."
        )
    for ood_name, entries in record["metrics"].items():
        forms = dict.fromkeys(metrics.NAMES, (INTERVAL, _is_share_with_interval))
        forms |= dict.fromkeys(("n_id", "n_ood"), ("a whole number from 1 on", _is_count))
        for name, (expected, fits) in forms.items():
            if not fits(entries.get(name)):
                found = _shown(entries.get(name))
                raise InputError(f"{where}: `metrics.{ood_name}.{name}` is {found}; expected {expected}.")


def check_scores(scores: Mapping[str, npt.NDArray[Any]], record: Record, where: str) -> None:
    """Raise `InputError` unless the arrays are complete and give the metrics of the record."""
    missing = [name for name in ARRAYS if name not in scores]
    if missing:
        raise InputError(f"{where} lacks the arrays {', '.join(missing)}.")
    n = len(scores["scores"])
    for name, kinds in (ARRAYS | ({GROUPS: "iu"} if GROUPS in scores else {})).items():
        array = scores[name]
        if array.ndim != 1 or array.dtype.kind not in kinds or (name != "names" and len(array) != n):
            raise InputError(
                f"{where}: `{name}` is {array.dtype} of shape {array.shape}; expected {ARRAY_FORMS[name]} of shape "
                f"{'(1 + OOD sets,)' if name == 'names' else f'({n},)'}."
            )
    names, expected = scores["names"].tolist(), [record["id_dataset"], *record["ood_datasets"]]
    if names != expected:
        raise InputError(f"{where}: `names` is {_shown(names)}; expected {_shown(expected)}, the sets of {RESULT}.")
    dataset = scores["dataset"]
    if not np.isin(dataset, np.arange(len(names))).all():
        raise InputError(f"{where}: `dataset` has values outside 0 … {len(names) - 1}, the positions in `names`.")
    if not np.array_equal(scores["labels"] < 0, dataset > 0):
        raise InputError(f"{where}: `labels` must be -1 for the inputs of OOD sets and 0 or more for ID inputs.")
    id_scores, *ood_scores = split_scores(scores)
    for name, values in zip(names[1:], ood_scores, strict=True):
        _check_metrics(record["metrics"][name], id_scores, values, f"{where}: {name}")


def _check_metrics(entries: Record, id_scores: npt.NDArray[Any], ood_scores: npt.NDArray[Any], where: str) -> None:
    counts = {"n_id": len(id_scores), "n_ood": len(ood_scores)}
    for name, count in counts.items():
        if entries[name] != count:
            raise InputError(f"{where}: {count} scores, but `{name}` in {RESULT} is {entries[name]}.")
    for name, value in metrics.evaluate(id_scores, ood_scores).items():
        if abs(entries[name]["value"] - value) > TOLERANCE:
            raise InputError(
                f"{where}: the scores give {name} {value:.6f}, but {RESULT} says {entries[name]['value']:.6f}. "
                f"Score: {CONVENTION}."
            )


def _shown(value: Any, most: int = 120) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
