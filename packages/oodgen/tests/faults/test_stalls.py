"""What a step of training makes a GPU wait for, looked for on the CPU: nothing but what is named here."""

from pathlib import Path

import pytest
from ood_shared.testing.stalls import stalls_of
from oodgen import loop

TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"
FIRST = {
    "item in run_files.py, sum": "every 10 steps, for the line",
}
SECOND = {
    "item in run_files.py, sum": "every 10 steps, for the line",
    "tensor in loaders.py, channel_column": "once",
}


def test_a_step_of_train_vae_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "oodgen train_vae", loop, "_train_epoch", tmp_path)
    assert found - FIRST.keys() == set()


def test_a_step_of_train_classi_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "oodgen train_classi", loop, "_train_epoch", tmp_path)
    assert found - SECOND.keys() == set()
