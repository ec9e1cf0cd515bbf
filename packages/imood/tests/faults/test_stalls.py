"""What a step of training makes a GPU wait for, looked for on the CPU: nothing but what is named here."""

from pathlib import Path

import pytest
from imood import loop
from ood_shared.testing.stalls import stalls_of

TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"
RIGHT = {
    "item in loop.py, _refuse_nan": "every 100 steps and at the end",
    "item in loop.py, _train_epoch": "at the end",
    "item in run_files.py, <genexpr>": "every 100 steps",
    "item in run_files.py, log_step": "every 100 steps",
    "nonzero in augment.py, <listcomp>": "draws, on the host",
    "tensor in augment.py, colour_jitter": "draws, on the host",
    "tensor in loop.py, _train_epoch": "at the start",
}


def test_a_step_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "imood train", loop, "_train_epoch", tmp_path)
    assert found - RIGHT.keys() == set()
