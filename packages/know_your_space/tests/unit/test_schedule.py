"""The schedule against the scheduler that it replaces."""

import pytest
import torch
from know_your_space.schedule import learning_rate
from ood_shared.errors import InputError


@pytest.mark.parametrize(("patience", "factor"), [(30, 0.5), (2, 0.1), (0, 0.5)])
def test_it_is_a_plateau_scheduler_fed_with_the_epoch(patience: int, factor: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience, factor=factor, min_lr=0, eps=0)
    for epoch in range(5, 100):
        plateau.step(epoch)
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(epoch, 5, 0.4, patience, factor) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("epoch", "lr"), [(1, 1e-3), (31, 1e-3), (32, 5e-4), (63, 2.5e-4), (94, 1.25e-4)])
def test_the_defaults_are_the_documented_steps(epoch: int, lr: float) -> None:
    assert learning_rate(epoch) == lr


def test_an_epoch_before_the_first_is_refused() -> None:
    with pytest.raises(InputError, match="Epoch 3 lies before the first epoch 4"):
        learning_rate(3, first_epoch=4)
