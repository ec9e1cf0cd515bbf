"""Long-tailed class sizes, the images that they keep, and the prior that follows from them.

The prior inside the method is softmax(a) with the logit adjustments a = tau ln(pi): pi^tau, renormalised, and uniform
at tau = 0. Source: arXiv 2407.16430, sections 3 and 4.1; the class sizes are those of Cui et al., CVPR 2019.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from torch import Tensor

KINDS = ("exp", "step", "none")
EPSILON = 1e-12  # inside the logarithm of the prior


def class_sizes(n_images: int, n_classes: int, ratio: float, kind: str = "exp") -> list[int]:
    """Images that each class keeps of a balanced training set, the most frequent class first.

    Args:
        n_images: of the whole set; n_images / n_classes is the size of the first class.
        n_classes: at least 2.
        ratio: smallest over largest class size, in (0, 1].
        kind: `exp`: n_max ratio^(c / (C - 1)), truncated; `step`: the second half of the classes has n_max ratio;
            `none`: all have n_max.

    Raises:
        InputError: a ratio outside (0, 1], fewer than 2 classes, or an unknown kind.

    >>> class_sizes(50000, 10, 0.01)
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    if not 0 < ratio <= 1:
        raise InputError(f"--imbalance_ratio is {ratio}; expected a number above 0 and at most 1.")
    if n_classes < 2:
        raise InputError(f"There are {n_classes} classes; a long tail needs at least 2.")
    largest = n_images / n_classes
    if kind == "exp":
        return [int(largest * ratio ** (c / (n_classes - 1.0))) for c in range(n_classes)]
    if kind == "step":
        half = n_classes // 2
        return [int(largest)] * half + [int(largest * ratio)] * half
    if kind == "none":
        return [int(largest)] * n_classes
    raise InputError(f"The kind of imbalance `{kind}` is not known. Known: {', '.join(KINDS)}.")


def sizes_of_own(labels: Int64[np.ndarray, " n"], n_classes: int, ratio: float | None) -> list[int]:
    """Class sizes for a set that need not be balanced: as `class_sizes`, at least 1 and at most what the class has.

    Without a ratio all images are kept.
    """
    available = np.bincount(labels, minlength=n_classes)
    if ratio is None:
        return [int(have) for have in available]
    wanted = class_sizes(len(labels), n_classes, ratio)
    return [min(int(have), max(1, size)) for have, size in zip(available, wanted, strict=True)]


def select(labels: Int64[np.ndarray, " n"], sizes: Sequence[int]) -> Int64[np.ndarray, " kept"]:
    """Indices of the images that are kept: of each class the first ones in file order, ordered by class. Not random."""
    kept = [np.flatnonzero(labels == c)[:size] for c, size in enumerate(sizes)]
    return np.concatenate(kept).astype(np.int64)


def adjustments(counts: Sequence[int], tau: float, background: bool = False) -> Float[Tensor, "1 columns"]:
    """Logit adjustments a = tau ln(n_c / n), float32; zeros at tau = 0.

    Args:
        counts: images of each class in the long-tailed training set, OOD never included.
        tau: 0 or more.
        background: append one zero column, for the metric `bkg_c`.
    """
    if not 0 <= tau < float("inf"):
        raise InputError(f"--logit_adjust is {tau}; expected a number from 0 on.")
    shares = np.asarray(counts, dtype=np.float64) / np.sum(counts)
    values = tau * np.log(shares + EPSILON) if tau > 0 else np.zeros(len(shares))
    if background:
        values = np.append(values, 0.0)
    return torch.from_numpy(values.astype(np.float32)).unsqueeze(0)


def log_prior(adjustment: Float[Tensor, "1 columns"]) -> Float[Tensor, "1 columns"]:
    """Logarithm of the prior that the method works with: ln softmax(a)."""
    return torch.log_softmax(adjustment, dim=1)
