"""The MOOD challenge's own evaluation.

Source: rules of the Medical Out-of-Distribution Analysis Challenge 2020 (Zimmerer et al., IEEE TMI 41(10), 2022).
Predictions are read as float16 and clipped to [0, 1]; what is missing, unreadable or of another shape counts as zeros.
"""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mood_dpa.data.volumes import is_volume, read_volume
from mood_dpa.ranking import average_precision
from mood_dpa.standalone import InputError, MissingFileError, reading, regular

Pair = tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]


def read_pixel_pair(label: Path, prediction: Path) -> Pair:
    """Labels and predictions of one volume, flat.

    Args:
        label: NIfTI, rounded and clipped; 1 is an anomaly.
        prediction: NIfTI.
    """
    return _pixel_pair(label, prediction)[0]


def read_sample_pair(label: Path, prediction: Path) -> Pair:
    """Label and prediction of one volume from the first lines of two text files."""
    return _sample_pair(label, prediction)[0]


def _pixel_pair(label: Path, prediction: Path) -> tuple[Pair, str]:
    """The pair, and why its prediction counts as zeros or is cut; empty where it counts as it is."""
    target = np.clip(np.rint(read_volume(label).data), 0, 1) == 1
    zeros = np.zeros(target.size, np.float16)
    try:
        predicted = read_volume(prediction, np.float32).data
    except InputError:  # the challenge's rule: zeros
        return (target.ravel(), zeros), _unread(prediction)
    if predicted.shape != target.shape:
        return (target.ravel(), zeros), "of another shape, counted as zeros"
    return (target.ravel(), np.clip(predicted.astype(np.float16), 0, 1).ravel()), _cut(predicted)


def _sample_pair(label: Path, prediction: Path) -> tuple[Pair, str]:
    """As `_pixel_pair`."""
    with reading(label, "label of a volume (0 or 1 in its first line)", "Correct it."):
        regular(label, what="a label")
        target = int(label.read_text()[:80].splitlines()[0])
        if target not in (0, 1):
            raise ValueError(f"it is {target}")
    labels = np.array([target == 1])
    try:
        score = float(prediction.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return (labels, np.zeros(1)), _unread(prediction)
    if np.isnan(score):
        return (labels, np.zeros(1)), "no number, counted as zero"
    return (labels, np.clip(np.array([score]), 0, 1)), _cut(np.array(score))


def _unread(prediction: Path) -> str:
    return f"{'unreadable' if prediction.is_file() else 'missing'}, counted as zeros"


def _cut(values: npt.NDArray[np.floating]) -> str:
    return "clipped to [0, 1]" if values.min() < 0 or values.max() > 1 else ""


def joint_score(pairs: Sequence[Pair]) -> float:
    """AP over everything in all pairs together."""
    labels, scores = zip(*pairs, strict=True)
    return average_precision(np.concatenate(labels), np.concatenate(scores))


def bootstrap_score(pairs: Sequence[Pair], seed: int = 123, runs: int = 10, files_per_run: int = 2) -> float:
    """Mean AP over random subsets of the files, drawn as the challenge does."""
    draws = random.Random(seed)
    values = [joint_score([pairs[i] for i in draws.sample(range(len(pairs)), files_per_run)]) for _ in range(runs)]
    return float(np.mean([value if np.isfinite(value) else 0.0 for value in values]))


def evaluate_folder(labels: Path, predictions: Path, mode: str = "pixel") -> float:
    """AP of a folder of predictions (`data/{brain,abdom}/toy_label/{pixel,sample}` are the labels)."""
    reader = _pixel_pair if mode == "pixel" else _sample_pair
    wanted = is_volume if mode == "pixel" else (lambda name: name.endswith(".txt"))
    for folder in (labels, predictions):
        if not folder.is_dir():
            raise MissingFileError(f"Folder {folder} is missing.")
    names = sorted(path.name for path in labels.iterdir() if wanted(path.name))
    if not names:
        raise InputError(f"{labels} holds no labels for mode {mode}.")
    pairs, reasons = zip(*(reader(labels / name, predictions / name) for name in names), strict=True)
    for reason, count in sorted(Counter(reasons).items()):
        if reason:
            print(f"warning: {count} of {len(names)} predictions in {predictions} are {reason}.", file=sys.stderr)
    if not any(target.any() for target, _ in pairs):
        raise InputError(f"{labels} has no anomaly in {len(names)} label(s); AP needs one. Are the folders swapped?")
    return joint_score(pairs)
