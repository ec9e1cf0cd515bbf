"""The files of a run folder that the original writes: config.yml, log.txt, bare checkpoints by epoch and accuracy."""

import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from ood_shared import checkpoints, distributed, files
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.schema import RESULT
from torch import Tensor

from ascood.extraction import fingerprint, read_cache, write_cache
from ascood.scores.base import Extract

MERGE_OPTIONS = ("default", "merge", "pass")
BEST = "best.ckpt"
BELOW = ("s*", "seed-*", "ascood/seed-*")  # where runs lie below a folder of several
EPOCH = re.compile(r"^Epoch (\d+) \|.*\n", re.MULTILINE)
DETECTOR, FEATURES = "detector.json", "training_features.npz"


def enter_folder(folder: Path, merge_option: str, resume: bool) -> bool:
    """Whether the run may write into its folder; a new one is always fine.

    Args:
        folder: of the run.
        merge_option: for a folder that exists: `default` asks on the terminal, `merge` goes on, `pass` ends the program
            when the folder already holds ood.csv.
        resume: a resumed run is never asked.

    Raises:
        InputError: an unknown option, another answer than y or n, or nobody to ask.
    """
    if merge_option not in MERGE_OPTIONS:
        raise InputError(f"merge_option `{merge_option}` is not known. Known: {', '.join(MERGE_OPTIONS)}.")
    if not folder.exists() or resume or merge_option == "merge":
        return True
    if merge_option == "pass":
        return not (folder / "ood.csv").is_file()
    if not sys.stdin.isatty():
        raise InputError(
            f"{folder} exists already, and there is no terminal to ask on. Pass --merge_option merge to write into it, "
            "--resume to continue the run in it, or another --mark."
        )
    answer = input(f"{folder} exists already. Write into it? (y/n) ").strip().lower()
    if answer not in ("y", "n"):
        raise InputError(f"The answer `{answer}` is neither y nor n.")
    return answer == "y"


class _Tee(io.TextIOBase):
    def __init__(self, first: TextIO, second: TextIO) -> None:
        self.first, self.second = first, second

    def write(self, text: str) -> int:
        self.second.write(text)
        return self.first.write(text)

    def flush(self) -> None:
        self.first.flush()
        self.second.flush()


@contextmanager
def logged(path: Path | None, epochs: int = 0) -> Iterator[None]:
    """Inside the block, what goes to standard output is also written to the file.

    Args:
        path: of the file; None for none.
        epochs: that a resumed run goes on from: the file keeps its lines up to that of the last of them. What a killed
            process did after its last checkpoint is done, and said, again. 0 begins the file anew.
    """
    if path is None:
        yield
        return
    before = sys.stdout
    files.write_text(path, _up_to_epoch(path.read_text("utf-8", "replace"), epochs) if path.is_file() else "")
    with path.open("a", encoding="utf-8", buffering=1) as file:
        sys.stdout = _Tee(before, file)
        try:
            yield
        finally:
            sys.stdout = before


def _up_to_epoch(text: str, last: int) -> str:
    """The text up to the line of that epoch, as `epoch_line` makes it; the last one before a line of a later epoch."""
    end = 0
    for line in EPOCH.finditer(text):
        if int(line[1]) > last:
            break
        end = line.end()
    return text[:end]


def save_epoch(
    folder: Path, weights: Mapping[str, Tensor], epoch: int, accuracy: float, is_best: bool, keep_all: bool
) -> None:
    """The bare weights of an epoch: always with `keep_all`, and as the best so far.

    Args:
        folder: of the run.
        weights: the network's state dict.
        epoch: from 1.
        accuracy: on the validation set, a fraction.
        is_best: at least as good as every epoch before.
        keep_all: `recorder.save_all_models`.
    """
    if keep_all:
        checkpoints.save(folder / f"model_epoch{epoch}.ckpt", weights)
    if is_best:
        named = folder / f"best_epoch{epoch}_acc{accuracy:.4f}.ckpt"
        checkpoints.save(named, weights)
        checkpoints.save(folder / BEST, weights)
        for old in folder.glob("best_epoch*.ckpt"):
            if old != named:
                old.unlink()


def save_last(folder: Path, weights: Mapping[str, Tensor], epoch: int, accuracy: float) -> None:
    """The bare weights after the final epoch."""
    for old in folder.glob("last_epoch*.ckpt"):
        old.unlink()
    checkpoints.save(folder / f"last_epoch{epoch}_acc{accuracy:.4f}.ckpt", weights)


def epoch_line(epoch: int, seconds: float, train_loss: float, val_loss: float, val_accuracy: float) -> str:
    """The line of an epoch on standard output."""
    return (
        f"Epoch {epoch:03d} | Time {int(seconds):5d}s | Train Loss {train_loss:.4f} | Val Loss {val_loss:.3f} | "
        f"Val Acc {100 * val_accuracy:.2f}"
    )


def find_run(path: Path) -> Path:
    """The file, or the folder of one run, that a path means.

    Raises:
        MissingFileError: there is nothing.
        InputError: a folder without a run, or with several.
    """
    if not path.exists():
        raise MissingFileError(f"{path} is missing; expected a run folder, one of the bench, or a file of weights.")
    if path.is_file() or _is_run(path):
        return path
    runs = [folder for pattern in BELOW for folder in sorted(path.glob(pattern)) if _is_run(folder)]
    if len(runs) == 1:
        return runs[0]
    if runs:
        raise InputError(f"{path} holds {len(runs)} runs; pass one of them: {', '.join(str(run) for run in runs[:6])}.")
    raise InputError(f"{path} holds no run; expected {BEST}, {DETECTOR} or {RESULT} in it.")


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (BEST, DETECTOR, RESULT))


def save_detector(
    folder: Path,
    weights: Path,
    config: Mapping[str, Any],
    score: Mapping[str, Any],
    features: Mapping[str, Extract],
    about: Mapping[str, Any],
) -> None:
    """`detector.json` and `training_features.npz`, from which `ascood.load` makes the detector without the images.

    Args:
        folder: of the result; the run lies below.
        weights: file of the network's weights, below the folder.
        config: of the training.
        score: name and hyper-parameters.
        features: outputs for the training and validation images.
        about: further entries: names of the classes, size of the ID images.
    """
    sha256 = checkpoints.sha256(weights)
    arrays = {
        f"{split}/{part}": getattr(outputs, part).cpu().numpy()
        for split, outputs in features.items()
        for part in ("logits", "features", "labels")
    }
    write_cache(folder / FEATURES, fingerprint({"weights": sha256}), arrays)
    if distributed.is_main():
        entries = {"weights": str(weights.relative_to(folder)), "sha256": sha256, "score": dict(score), **about}
        files.write_json(folder / DETECTOR, {**entries, "config": dict(config)})


def read_features(folder: Path, sha256: str) -> dict[str, Extract]:
    """What `save_detector` kept of the training and validation images; empty when there is none of these weights."""
    arrays = read_cache(folder / FEATURES, fingerprint({"weights": sha256})) or {}
    splits = {name.partition("/")[0] for name in arrays}
    parts = ("logits", "features", "labels")
    return {split: Extract(*(torch.from_numpy(arrays[f"{split}/{part}"]) for part in parts)) for split in splits}
