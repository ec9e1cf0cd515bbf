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
    target = np.clip(np.rint(read_volume(label).data), 0, 1) == 1
    scores = np.zeros(target.size, np.float16)
    try:
        predicted = read_volume(prediction, np.float32).data
        if predicted.shape == target.shape:
            scores = np.clip(predicted.astype(np.float16), 0, 1).ravel()
    except InputError:
        pass  # the challenge's rule: zeros
    return target.ravel(), scores


def read_sample_pair(label: Path, prediction: Path) -> Pair:
    """Label and prediction of one volume from the first lines of two text files."""
    with reading(label, "label of a volume (0 or 1 in its first line)", "Correct it."):
        regular(label, what="a label")
        target = int(label.read_text()[:80].splitlines()[0])
        if target not in (0, 1):
            raise ValueError(f"it is {target}")
    try:
        score = float(np.clip(float(prediction.read_text().splitlines()[0]), 0, 1))
    except (OSError, ValueError, IndexError):
        score = 0.0
    return np.array([target == 1]), np.array([score if np.isfinite(score) else 0.0])


def joint_score(pairs: Sequence[Pair]) -> float:
    """AP over everything in all pairs together."""
    labels, scores = zip(*pairs, strict=True)
    return average_precision(np.concatenate(labels), np.concatenate(scores))


def bootstrap_score(pairs: Sequence[Pair], seed: int = 123, runs: int = 10, files_per_run: int = 2) -> float:
    """Mean AP over random subsets of the files, drawn as the challenge does."""
    draws = random.Random(seed)
    values = [joint_score([pairs[i] for i in draws.sample(range(len(pairs)), files_per_run)]) for _ in range(runs)]
    return float(np.mean([value if np.isfinite(value) else 0.0 for value in values]))


def unusable(prediction: Path, mode: str, like: Path) -> str:
    """Why a prediction counts as zeros, or is cut; empty where it counts as it is.

    Args:
        prediction: NIfTI, or a text file.
        mode: `pixel` or `sample`.
        like: the label, whose shape a NIfTI needs.
    """
    if not prediction.is_file():
        return "missing, counted as zeros"
    try:
        if mode == "pixel":
            values = read_volume(prediction, np.float32).data
            if values.shape != read_volume(like).data.shape:
                return "of another shape, counted as zeros"
        else:
            values = np.array([float(prediction.read_text().splitlines()[0])])
            if not np.isfinite(values).all():
                return "no number, counted as zero"
    except (InputError, OSError, ValueError, IndexError):
        return "unreadable, counted as zeros"
    return "clipped to [0, 1]" if values.min() < 0 or values.max() > 1 else ""


def evaluate_folder(labels: Path, predictions: Path, mode: str = "pixel") -> float:
    """AP of a folder of predictions (`data/{brain,abdom}/toy_label/{pixel,sample}` are the labels)."""
    reader = read_pixel_pair if mode == "pixel" else read_sample_pair
    wanted = is_volume if mode == "pixel" else (lambda name: name.endswith(".txt"))
    for folder in (labels, predictions):
        if not folder.is_dir():
            raise MissingFileError(f"Folder {folder} is missing.")
    names = sorted(path.name for path in labels.iterdir() if wanted(path.name))
    if not names:
        raise InputError(f"{labels} holds no labels for mode {mode}.")
    reasons = Counter(unusable(predictions / name, mode, labels / name) for name in names)
    for reason, count in sorted(reasons.items()):
        if reason:
            print(f"warning: {count} of {len(names)} predictions in {predictions} are {reason}.", file=sys.stderr)
    pairs = [reader(labels / name, predictions / name) for name in names]
    if not any(target.any() for target, _ in pairs):
        raise InputError(f"{labels} has no anomaly in {len(names)} label(s); AP needs one. Are the folders swapped?")
    return joint_score(pairs)
