"""How alpha and the learning rates change during training."""

import math

from ood_shared.errors import InputError

FLOOR = 1e-6  # learning rate at the end of training, for the backbone's group


def alpha_at(epoch: int, epochs: int, alpha_min: float, alpha_max: float) -> float:
    """Strength of the outliers in an epoch, counted from 1: linear from alpha_max down to alpha_min.

    Epoch 1 already is one step below alpha_max and the last epoch is alpha_min, as in the original; so alpha_max itself
    never occurs (arXiv 2411.10794, section 3.4; the document's list calls alpha_min the initial value, its bracket and
    the code the final one).

    >>> [alpha_at(e, 3, 30.0, 300.0) for e in (1, 2, 3)]
    [210.0, 120.00000000000001, 30.0]
    """
    if not 1 <= epoch <= epochs:
        raise InputError(f"Epoch {epoch} is not one of 1 to {epochs}.")
    return (alpha_max - alpha_min) * (1 - epoch / epochs) + alpha_min


def cosine_factor(step: int, steps: int, lr: float) -> float:
    """What multiplies the learning rate of every group at a step, counted from 0: a cosine from 1 to 1e-6 / lr.

    The last layer's group, which starts at fc_lr_factor lr, thus ends at fc_lr_factor 1e-6.

    Args:
        step: optimizer steps done so far.
        steps: epochs times batches per epoch.
        lr: rate of the backbone's group at the start.
    """
    least = FLOOR / lr
    return least + (1 - least) * (1 + math.cos(math.pi * step / steps)) / 2
