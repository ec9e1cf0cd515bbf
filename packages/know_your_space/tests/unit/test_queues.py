"""The queue against literal first-in-first-out lists."""

import pytest
import torch
from know_your_space.queues import LatentQueue
from ood_shared.errors import InputError
from torch import Tensor


def rows(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def push(queue: LatentQueue, values: list[float], labels: list[int]) -> bool:
    return queue.push(rows(*values), torch.tensor(labels, dtype=torch.int64))


def held(queue: LatentQueue) -> list[list[float]]:
    return queue.ordered().squeeze(2).tolist()


def test_features_fill_the_slots_of_their_class_in_order() -> None:
    queue = LatentQueue(2, 3, 1)
    push(queue, [1, 2, 3], [1, 0, 1])
    assert held(queue) == [[2, 0, 0], [1, 3, 0]]


def test_surplus_features_of_a_full_class_are_dropped_while_another_fills() -> None:
    queue = LatentQueue(2, 2, 1)
    push(queue, [1, 2, 3], [0, 0, 0])
    assert held(queue) == [[1, 2], [0, 0]]
    assert not queue.full


def test_the_batch_that_completes_the_queue_is_told_it_was_not_full() -> None:
    queue = LatentQueue(1, 2, 1)
    assert not push(queue, [1, 2, 3], [0, 0, 0])
    assert queue.full
    assert push(queue, [4], [0])


def test_a_full_queue_drops_its_oldest() -> None:
    queue = LatentQueue(2, 2, 1)
    push(queue, [1, 2, 3, 4], [0, 0, 1, 1])
    push(queue, [5, 6, 7], [1, 0, 1])
    assert held(queue) == [[2, 6], [5, 7]]


def test_of_more_than_a_queueful_the_last_ones_stay() -> None:
    queue = LatentQueue(1, 2, 1)
    push(queue, [1, 2], [0, 0])
    push(queue, [3, 4, 5, 6, 7], [0] * 5)
    assert held(queue) == [[6, 7]]


def test_an_empty_batch_changes_nothing() -> None:
    queue = LatentQueue(1, 2, 1)
    push(queue, [1, 2], [0, 0])
    queue.push(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    assert held(queue) == [[1, 2]]


def test_gradients_are_cut() -> None:
    queue = LatentQueue(1, 1, 1)
    queue.push(rows(1.0).requires_grad_(), torch.tensor([0]))
    assert not queue.features.requires_grad


def test_half_precision_features_are_kept_in_float32() -> None:
    queue = LatentQueue(1, 1, 1)
    queue.push(rows(1.5).bfloat16(), torch.tensor([0]))
    assert queue.features.dtype == torch.float32
    assert held(queue) == [[1.5]]


def test_a_restored_queue_goes_on_as_the_saved_one() -> None:
    first, second = LatentQueue(2, 2, 1), LatentQueue(2, 2, 1)
    push(first, [1, 2, 3, 4, 5], [0, 0, 1, 1, 0])
    push(first, [6], [0])
    assert not second.full
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        assert push(queue, [7, 8, 9], [1, 1, 1])
    assert held(first) == held(second)


@pytest.mark.parametrize("arguments", [(0, 2, 2), (2, 0, 2), (2, 2, 0)])
def test_sizes_below_one_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        LatentQueue(*arguments)
