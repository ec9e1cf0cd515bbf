"""What a method leaves in its folder: `result.json`, the numbers, and `scores.npz`, the scores they come from.

    scores = pack_scores("digits", (id_scores, id_labels, id_predictions), {"faces": (ood_scores, ood_predictions)})
    metrics, id_accuracy = measure(scores, generator)
    write_result(folder, {"method": "oodgen", "metrics": metrics, "id_accuracy": id_accuracy, …}, scores)

One sign everywhere: a higher score means more OOD. The metrics must follow from the scores beside them; this is checked
when they are written and again when they are read, so a wrong sign or a mixed-up file shows at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ood_shared import checkpoints, files, metrics, runs
from ood_shared.contract import BUDGETS
from ood_shared.datasets.groups import numbered_groups
from ood_shared.devices import peak_memory
from ood_shared.files.arrays import read_arrays
from ood_shared.results.schema import (
    AGAIN,
    ARRAYS,
    CONVENTION,
    FACTS,
    GROUPS,
    RESULT,
    SCHEMA_VERSION,
    SCORES,
    Record,
    ScoreArrays,
    check_record,
    check_scores,
    split_groups,
    split_scores,
)

__all__ = [
    "BUDGETS",
    "CONVENTION",
    "RESULT",
    "SCHEMA_VERSION",
    "SCORES",
    "measure",
    "pack_scores",
    "read_result",
    "split_scores",
    "write_result",
]


def pack_scores(
    id_name: str,
    id_set: tuple[metrics.Scores, metrics.Labels, metrics.Labels | None],
    ood_sets: Mapping[str, tuple[metrics.Scores, metrics.Labels | None]],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> ScoreArrays:
    """The arrays of `scores.npz`.

    Args:
        id_name: name of the ID set.
        id_set: scores (n_id,), labels (n_id,) and predicted classes (n_id,) of the ID test inputs; None for the
            predictions of a method that predicts no class.
        ood_sets: for each OOD set its scores (n,) and predicted classes (n,) or None.
        groups: by name of a set, the group of each of its inputs, such as a patient; absent where each is by itself.
    """
    id_scores, id_labels, id_predictions = id_set
    sets = [(id_name, id_scores, id_labels, id_predictions)]
    sets += [(name, scores, np.full(len(scores), -1), predicted) for name, (scores, predicted) in ood_sets.items()]
    values = [metrics.as_scores(scores, f"scores of {name}") for name, scores, _, _ in sets]
    predictions = [
        np.full(len(scores), -1) if predicted is None else metrics.on_cpu(predicted) for _, scores, _, predicted in sets
    ]
    arrays = {
        "scores": np.concatenate(values),
        "labels": np.concatenate([metrics.on_cpu(labels) for _, _, labels, _ in sets]).astype(np.int64),
        "dataset": np.repeat(np.arange(len(sets)), [len(v) for v in values]).astype(np.int64),
        "predictions": np.concatenate(predictions).astype(np.int64),
        "names": np.array([name for name, *_ in sets], dtype=np.str_),
    }
    if groups:
        numbers = [
            numbered_groups(groups[name]) if name in groups else np.full(len(own), -1)
            for (name, *_), own in zip(sets, values, strict=True)
        ]
        arrays[GROUPS] = np.concatenate(numbers).astype(np.int64)
    return arrays


def measure(
    scores: Mapping[str, npt.NDArray[Any]], generator: np.random.Generator, resamples: int = 1000
) -> tuple[dict[str, Any], dict[str, float] | None]:
    """The entries `metrics` and `id_accuracy` of `result.json`, from the arrays of `scores.npz`.

    The accuracy is None when the method predicts no class (all predictions -1). Intervals draw whole groups, where
    there are some.
    """
    id_scores, *ood_scores = split_scores(scores)
    of_id_set, *of_ood_sets = split_groups(scores)
    found: dict[str, Any] = {}
    for name, values, own in zip(scores["names"][1:], ood_scores, of_ood_sets, strict=True):
        intervals = metrics.evaluate_with_intervals(id_scores, values, generator, resamples, (of_id_set, own))
        found[str(name)] = {**intervals, "n_id": len(id_scores), "n_ood": len(values)}
    of_id = scores["dataset"] == 0
    predictions, labels = scores["predictions"][of_id], scores["labels"][of_id]
    if (predictions < 0).all():
        return found, None
    correct = metrics.correct_predictions(predictions, labels)
    low, high = metrics.accuracy_interval(correct, generator, resamples, of_id_set)
    return found, {"value": float(correct.mean()), "low": low, "high": high}


def make_result(
    arrays: Mapping[str, np.ndarray],
    *,
    method: str,
    paper: str,
    seed: int,
    budget: str,
    config: Mapping[str, Any],
    timings: Mapping[str, float | None],
    device: torch.device,
    checkpoint: Path | str,
) -> dict[str, Any]:
    """The entries of `result.json`, with 95 % bootstrap intervals drawn from `seed`.

    Args:
        arrays: of `pack_scores`.
        method: name of the package.
        paper: authors, title and venue.
        seed: of the run.
        budget: of the run.
        config: settings that decided the result.
        timings: seconds by name; those that are not given are null.
        device: that the run used.
        checkpoint: file of the weights that were scored, or its SHA-256.
    """
    metrics, accuracy = measure(arrays, np.random.default_rng(seed))
    id_name, *ood_names = arrays["names"].tolist()
    versions = runs.versions()
    return {
        "method": method,
        "paper": paper,
        "id_dataset": id_name,
        "ood_datasets": ood_names,
        "seed": seed,
        "budget": budget,
        "config": dict(config),
        "metrics": metrics,
        "id_accuracy": accuracy,
        "timings": {"train_seconds": None, "train_step_seconds": None, "score_seconds_per_1000": None, **timings},
        "peak_memory_bytes": peak_memory(device),
        "hardware": runs.hardware(device),
        "versions": versions,
        "commit": versions["commit"],
        "checkpoint_sha256": checkpoint if isinstance(checkpoint, str) else checkpoints.sha256(checkpoint),
    }


def facts_of(
    backbone: str, network: nn.Module | Iterable[nn.Module], epochs: float, extra_data: str | None = None
) -> dict[str, Any]:
    """What a method used, for the `config` of its bench: the report shows it beside the result.

    Args:
        backbone: `common`, `paper`, or the words for a method without a classifier.
        network: what was trained, one or several.
        epochs: passes over the ID training images.
        extra_data: what was trained on beyond these and what is made of them; None for nothing.
    """
    networks = [network] if isinstance(network, nn.Module) else network
    parameters = sum(parameter.numel() for part in networks for parameter in part.parameters())
    return dict(zip(FACTS, (backbone, parameters, epochs, extra_data), strict=True))


def print_metrics(result: Mapping[str, Any]) -> None:
    """One line for each outlier set."""
    for name, cells in result["metrics"].items():
        print(f"{name:<12} AUROC {cells['auroc']['value']:.4f}  FPR95 {cells['fpr95']['value']:.4f}")


def write_result(folder: Path | str, result: Mapping[str, Any], scores: Mapping[str, npt.NDArray[Any]]) -> None:
    """Check and write both files, `result.json` last: where it stands, the run is complete.

    Args:
        folder: made when missing.
        result: the entries of `FIELDS`; `schema_version` and `score_convention` may be left out. Further entries are
            kept. NumPy numbers, tuples and paths become their JSON counterparts.
        scores: as `pack_scores` makes them.

    Raises:
        InputError: an entry is missing, has another form, or does not follow from the scores.
    """
    folder = Path(folder)
    record = _plain({"schema_version": SCHEMA_VERSION, "score_convention": CONVENTION, **result})
    check_record(record, RESULT)
    check_scores(scores, record, SCORES)
    (folder / RESULT).unlink(missing_ok=True)
    with files.atomic_path(folder / SCORES) as temporary:
        arrays: dict[str, Any] = {name: scores[name] for name in (*ARRAYS, GROUPS) if name in scores}
        np.savez_compressed(temporary, **arrays)
    files.write_json(folder / RESULT, record)


def read_result(folder: Path | str) -> tuple[Record, ScoreArrays]:
    """What `write_result` wrote, checked again.

    Raises:
        MissingFileError: one of the files is not there.
        InputError: a file is damaged, or the two do not fit each other.
    """
    folder = Path(folder)
    record = files.read_json(folder / RESULT)
    check_record(record, str(folder / RESULT))
    path = folder / SCORES
    stored = read_arrays(path, "file of scores", AGAIN)
    with files.reading(path, "file of scores", AGAIN):
        scores = {name: stored[name] for name in ARRAYS} | {n: stored[n] for n in (GROUPS,) if n in stored}
    check_scores(scores, record, str(path))
    return record, scores


def _plain(value: Any) -> Any:
    """The value with NumPy numbers, tuples and paths as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
