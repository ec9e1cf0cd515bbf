"""Times for benchmarks: ways to do the same thing, measured in turns, so that a noisy machine is noisy for all."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch


class Timing(NamedTuple):
    """Seconds of one way."""

    median: float
    low: float
    high: float

    def record(self) -> dict[str, float]:
        """As JSON keeps it."""
        return dict(self._asdict())


def measure_in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, warm_up: int = 1
) -> dict[str, Timing]:
    """Seconds of each way over `repeats` rounds, after `warm_up` rounds that do not count.

    Args:
        ways: by name; each is called once a round.
        repeats: rounds, at least 1.
        device: waited for before and after each call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + repeats):
        for name, way in ways.items():
            taken = seconds_of(way, device)
            if number >= warm_up:
                seconds[name].append(taken)
    return {name: Timing(statistics.median(found), min(found), max(found)) for name, found in seconds.items()}


def seconds_of(way: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    synchronise(device)
    started = time.perf_counter()
    way()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
