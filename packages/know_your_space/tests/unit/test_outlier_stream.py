"""The stream of pixel outliers."""

import pytest
import torch
from know_your_space.data.outlier_batches import OutlierStream
from torch import Tensor


def first_pixel(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Outliers that show which image they come from, and a draw."""
    made = torch.rand(len(pixels), generator=generator)[:, None, None, None]
    return pixels[:, :, :1, :1].float() + 0.5 * made


def stream(n: int = 11, batch_size: int = 2, seed: int = 0) -> OutlierStream:
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, 1, 1)
    order, draws = (torch.Generator().manual_seed(seed + offset) for offset in (0, 1))
    return OutlierStream(images, batch_size, first_pixel, order, draws)


def sources(batches: list[Tensor]) -> list[int]:
    return torch.cat(batches)[:, 0, 0, 0].floor().long().tolist()


def test_an_epoch_takes_every_image_once_and_keeps_the_last_small_batch():
    found = stream()
    epoch = [next(found) for _ in range(6)]
    assert [len(batch) for batch in epoch] == [2, 2, 2, 2, 2, 1]
    assert sorted(sources(epoch)) == list(range(11))


def test_an_exhausted_stream_begins_another_order():
    found = stream()
    first, second = ([next(found) for _ in range(6)] for _ in range(2))
    assert sorted(sources(second)) == list(range(11))
    assert sources(first) != sources(second)


def test_a_restart_leaves_the_rest_of_the_order_out():
    found = stream()
    next(found)
    found.restart()
    assert sorted(sources([next(found) for _ in range(6)])) == list(range(11))


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 6, 7, 13])
def test_a_stream_with_the_state_of_another_goes_on_as_that_one(taken):
    whole, stopped, resumed = stream(), stream(), stream(seed=5)
    for _ in range(taken):
        next(whole)
        next(stopped)
    resumed.load_state_dict(stopped.state_dict())
    for _ in range(9):
        assert torch.equal(next(whole), next(resumed))


def test_the_same_seeds_give_the_same_outliers():
    first, second = stream(), stream()
    assert all(torch.equal(next(first), next(second)) for _ in range(9))
