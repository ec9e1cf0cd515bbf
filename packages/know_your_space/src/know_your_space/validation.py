"""What a run knows about an epoch: accuracies, AUC, confusion matrix, and the lines that are printed.

The original prints the total loss as `Loss In`; here the cross-entropy stands under that name and the total beside it.
"""

import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.distributed import gather_rows, is_main, shard
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor

from know_your_space.losses import cross_entropy

Predict = Callable[[Tensor], Tensor]  # uint8 images -> logits


class Validation(NamedTuple):
    """Results on the validation part."""

    loss: float
    auc: float
    balanced_accuracy: float
    confusion: np.ndarray  # (classes, classes), rows = true class


@dataclass
class Watch:
    """Seconds since it was last read."""

    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.perf_counter()

    def read(self) -> float:
        """Seconds since the last reading."""
        before, self.started = self.started, time.perf_counter()
        return self.started - before


def say(line: str, *, warning: bool = False) -> None:
    """Print a line on rank 0."""
    if is_main():
        print(line, file=sys.stderr if warning else sys.stdout, flush=True)


def one_vs_one_auc(probabilities: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Multi-class AUC, one class against another, weighted by prevalence; of two classes the binary one.

    NaN where it is not defined: a single class, or a class without images.
    """
    n_classes = probabilities.shape[1]
    if n_classes < 2 or len(labels.unique()) < n_classes:
        return math.nan
    p, y = probabilities.double().cpu().numpy(), labels.cpu().numpy()
    if not np.isfinite(p).all():
        return math.nan
    if n_classes == 2:
        return float(roc_auc_score(y, p[:, 1]))
    p = p / p.sum(axis=1, keepdims=True)  # exactly 1 in double, as the library asks
    return float(roc_auc_score(y, p, multi_class="ovo", average="weighted"))


def balanced_accuracy(predicted: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> float:
    """Mean of the recalls of the classes present."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes that the batch lacks are no surprise
        return float(balanced_accuracy_score(labels.cpu().numpy(), predicted.cpu().numpy()))


def validate(
    predict: Predict,
    images: Tensor,
    labels: Tensor,
    weights: Float[Tensor, " classes"],
    batch_size: int,
    print_freq: int,
) -> Validation:
    """Score the validation part; its loss is the mean over batches, whatever their size.

    The ranks share the work and all get the same result, which is that of one process.

    Args:
        predict: logits of uint8 images, in eval mode.
        images: uint8 (n, 3, h, w), on the device.
        labels: int64 (n,), on the device.
        weights: of the classes in the cross-entropy.
        batch_size: images per batch.
        print_freq: batches between two lines.
    """
    rows = shard(torch.arange(len(images))).to(images.device)
    mine = torch.cat([predict(images.index_select(0, part)) for part in rows.split(batch_size)])
    logits = gather_rows(mine, len(images))
    watch, losses = Watch(), []
    batches = list(zip(logits.split(batch_size), labels.split(batch_size), strict=True))
    for number, (z, y) in enumerate(batches, 1):
        losses.append(cross_entropy(z, y, weights))
        if number % print_freq == 0:
            accuracy = (z.argmax(dim=1) == y).float().mean()
            say(
                f"Validation: {number}/{len(batches)}\tTime: {watch.read():.3f}\tLoss: {losses[-1]:.4f}\t"
                f"Acc: {accuracy:.3f}"
            )
    predicted, n_classes = logits.argmax(dim=1), logits.shape[1]
    confusion = torch.bincount(n_classes * labels + predicted, minlength=n_classes**2).view(n_classes, n_classes)
    return Validation(
        loss=float(torch.stack(losses).mean()),
        auc=one_vs_one_auc(logits.softmax(dim=1), labels),
        balanced_accuracy=balanced_accuracy(predicted, labels),
        confusion=confusion.cpu().numpy(),
    )
