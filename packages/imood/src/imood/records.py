"""What the commands print and a training run keeps: the two logs of the published code, its curves, warnings."""

import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ood_shared import distributed, plots
from torch import Tensor

from imood.losses import Losses
from imood.validation import Validation

TRAIN_LOG, VAL_LOG = "train_log.txt", "val_log.txt"


def log_step(folder: Path, epoch: int, step: int, loss: Tensor, parts: Losses, rates: Sequence[float]) -> None:
    """`11/20/26 16:01:02 epoch 3 batch 100 (train): loss total (in, ood, aux) | lr [0.001]`, parts unweighted."""
    three = ", ".join(f"{part.item():.4f}" for part in parts)
    _log(folder / TRAIN_LOG, f"epoch {epoch} batch {step} (train): loss {loss.item():.4f} ({three}) | lr {list(rates)}")


def log_epoch(folder: Path, epoch: int, found: Validation, seconds: float) -> None:
    """`… epoch 3 (test): ACC overall (many, median, low) | F1 … | time seconds`."""
    groups = ", ".join(f"{value:.4f}" for value in found.groups)
    _log(
        folder / VAL_LOG,
        f"epoch {epoch} (test): ACC {found.accuracy:.4f} ({groups}) | F1 {found.f1:.4f} | time {seconds:.1f}",
    )


def draw_curves(folder: Path, histories: Mapping[str, Sequence[float]], with_groups: bool) -> None:
    """`losses.png`, `test_accs.png`, `test_f1s.png`."""
    losses = {"training": histories["training_losses"], "test": histories["test_clean_losses"]}
    names = ("overall", "many", "median", "low") if with_groups else ("overall",)
    accuracies = {name: histories[f"{name}_accs"] for name in names}
    for file, series, label in (
        ("losses.png", losses, "loss"),
        ("test_accs.png", accuracies, "accuracy"),
        ("test_f1s.png", {"macro F1": histories["f1s"]}, "F1"),
    ):
        plots.save(plots.curves(series, ylabel=label, first=0), folder / file)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings of this package as one line each, on rank 0 only."""

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if distributed.is_main():
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def _log(path: Path, text: str) -> None:
    line = f"{time.strftime('%m/%d/%y %H:%M:%S')} {text}"
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
