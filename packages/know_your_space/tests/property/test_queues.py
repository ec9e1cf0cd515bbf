"""The vectorised queue against a loop over samples, for batches nobody thought of."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from know_your_space.queues import LatentQueue


def literal_push(lists: list[list[float]], length: int, values: list[float], labels: list[int]) -> None:
    """Sample by sample: fill until every class is full, then push at the end and drop the oldest."""
    was_full = all(len(kept) == length for kept in lists)
    for value, label in zip(values, labels, strict=True):
        if was_full:
            lists[label].append(value)
            lists[label].pop(0)
        elif len(lists[label]) < length:
            lists[label].append(value)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=12))
def test_the_queue_is_the_literal_one(classes: int, length: int, batches: list[list[int]]) -> None:
    queue, lists, value = LatentQueue(classes, length, 1), [[] for _ in range(classes)], 0.0
    for batch in batches:
        labels = [label % classes for label in batch]
        values = [value + i + 1 for i in range(len(batch))]
        value += len(batch)
        assert queue.full == all(len(kept) == length for kept in lists)
        queue.push(torch.tensor(values).reshape(-1, 1), torch.tensor(labels, dtype=torch.int64))
        literal_push(lists, length, values, labels)
        expected = [kept + [0.0] * (length - len(kept)) for kept in lists]
        assert queue.ordered().squeeze(2).tolist() == expected
