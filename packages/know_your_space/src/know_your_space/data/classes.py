"""Class codes, class counts, and the two ways in which rare classes count more: in the loss and in the sampler.

    weight in the loss      w[c] = 1 - n_c / N
    weight in the sampler   1 / n_c per image, N draws with replacement

Both at once favour rare classes twice; that is the paper's protocol.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float64, Int64
from ood_shared.errors import InputError
from torch import Tensor


def recode(
    raw: npt.NDArray[np.integer] | Sequence[int], known: npt.NDArray[np.integer] | Sequence[int] | None = None
) -> npt.NDArray[np.int64]:
    """Labels 0..K-1 in the order of the sorted class ids.

    The original codes each file by the values found in it, which shifts the codes of a validation file that lacks a
    class. Here the ids come from the training part.

    Args:
        raw: (n,) class ids as the source gives them.
        known: class ids of the training part, in any order, repeated or not; None takes those of `raw`.

    Raises:
        InputError: an id that `known` does not have.

    >>> recode([5, 2, 9]).tolist(), recode([9, 9], known=[5, 2, 9]).tolist()
    ([1, 0, 2], [2, 2])
    """
    labels = np.asarray(raw)
    ids = np.unique(labels if known is None else np.asarray(known))
    position = np.searchsorted(ids, labels).clip(max=max(len(ids) - 1, 0))
    unknown = np.ones(labels.shape, dtype=bool) if not len(ids) else ids[position] != labels
    if unknown.any():
        where = int(unknown.argmax())
        raise InputError(
            f"Class id {labels[where]} at row {where} is not one of the training part's "
            f"({', '.join(map(str, ids))}). Move its images to the novel classes, or add it to the training part."
        )
    return position.astype(np.int64)


def class_counts(labels: Int64[Tensor, " n"], n_classes: int) -> Int64[Tensor, " classes"]:
    """Images of each class.

    Raises:
        InputError: a label out of range, or a class without images.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise InputError(
            f"Labels reach from {int(labels.min())} to {int(labels.max())}; expected 0 to {n_classes - 1}."
        )
    counts = torch.bincount(labels, minlength=n_classes)
    if not counts.all():
        raise InputError(f"Class {int(counts.argmin())} has no image in the training part; every class needs some.")
    return counts


def class_weights(counts: Int64[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """1 - n_c / N, float32. A single class gets weight 0."""
    return (1 - counts.double() / counts.sum()).float()


def balanced_draws(
    labels: Int64[Tensor, " n"], counts: Int64[Tensor, " classes"], generator: torch.Generator
) -> Int64[Tensor, " n"]:
    """Indices of one epoch: as many as there are images, with replacement, every class equally likely.

    Args:
        labels: classes of the images, on the CPU.
        counts: images of each class.
        generator: on the CPU.
    """
    return torch.multinomial(sample_weights(counts)[labels], len(labels), replacement=True, generator=generator)


def sample_weights(counts: Int64[Tensor, " classes"]) -> Float64[Tensor, " classes"]:
    """1 / n_c: the sampler's weight of each image of class c."""
    return 1.0 / counts.double()
