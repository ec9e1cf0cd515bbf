"""The learning rate of each epoch.

The original feeds a reduce-on-plateau scheduler with the number of the epoch. That number never improves on its first
value, so the rate halves every `patience` + 1 epochs, whatever the network does: 1e-3 for epochs 1 to 31, 5e-4 to 62,
2.5e-4 to 93, 1.25e-4 to 100.
"""

from ood_shared.errors import InputError

LR = 1e-3
PATIENCE = 30
FACTOR = 0.5


def learning_rate(
    epoch: int, first_epoch: int = 1, lr: float = LR, patience: int = PATIENCE, factor: float = FACTOR
) -> float:
    """lr * factor^floor((epoch - first_epoch) / (patience + 1)).

    Args:
        epoch: the epoch that is about to run.
        first_epoch: the epoch that ran at `lr`. A run resumed from a three-key checkpoint of the original starts anew
            here: its first epoch runs at the rate stored in the optimizer's state.
        lr: rate of the first epoch.
        patience: epochs without improvement that the scheduler tolerates.
        factor: what the rate is multiplied with afterwards.

    Raises:
        InputError: the epoch lies before the first one.

    >>> [learning_rate(epoch) for epoch in (1, 31, 32)]
    [0.001, 0.001, 0.0005]
    """
    if epoch < first_epoch:
        raise InputError(f"Epoch {epoch} lies before the first epoch {first_epoch}.")
    return lr * factor ** ((epoch - first_epoch) // (patience + 1))
