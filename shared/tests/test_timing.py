"""Benchmarks' clock."""

import torch
from ood_shared.testing.timing import Timing, measure_in_turns


def test_ways_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []
    found = measure_in_turns(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2, torch.device("cpu"), warm_up=1
    )
    assert "".join(called) == "ababab"
    assert list(found) == ["a", "b"]
    assert 0 <= found["a"].low <= found["a"].median <= found["a"].high


def test_a_record_has_plain_numbers() -> None:
    assert Timing(2.0, 1.0, 3.0).record() == {"median": 2.0, "low": 1.0, "high": 3.0}
