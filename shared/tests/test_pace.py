"""How often the state of a run is written."""

import pytest
import torch
from ood_shared import training
from ood_shared.training import SAVE_EVERY, Pace

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    return now


def test_the_first_epoch_of_a_process_is_written_also_of_a_resumed_run(clock: list[float]) -> None:
    assert Pace().due(CPU)
    assert Pace(7).due(CPU)


def test_then_so_many_seconds_pass(clock: list[float]) -> None:
    pace = Pace()
    pace.wrote(1)
    clock[0] += SAVE_EVERY - 1
    assert not pace.due(CPU)
    clock[0] += 1
    assert pace.due(CPU)


def test_a_stop_does_not_wait(clock: list[float]) -> None:
    pace = Pace()
    pace.wrote(1)
    assert pace.due(CPU, now=True)


def test_it_knows_the_epoch_on_disk(clock: list[float]) -> None:
    pace = Pace(3)
    assert pace.epoch == 3
    pace.wrote(5)
    assert pace.epoch == 5


def test_ranks_agree_where_one_is_late(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.distributed, "on_any_rank", lambda flag, device: True)
    pace = Pace()
    pace.wrote(1)
    assert pace.due(CPU)
