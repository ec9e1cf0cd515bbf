"""What a step of training makes a GPU wait for, looked for on the CPU: nothing but what is named here."""

from pathlib import Path

import pytest
from ascood import loop
from ood_shared.testing.stalls import stalls_of

TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"
RIGHT = {
    "tensor in loaders.py, channel_column": "once",
}


def test_a_step_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "ascood train", loop, "_train_epoch", tmp_path)
    assert found - RIGHT.keys() == set()
