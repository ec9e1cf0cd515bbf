"""What a step of training makes a GPU wait for, looked for on the CPU: nothing but what is named here."""

from pathlib import Path

import pytest
from mood_dpa import simclr_train
from mood_dpa.loop import Trainer
from ood_shared.testing.stalls import stalls_of

TRAINERS = Path(__file__).parents[1] / "crash_trainers.py"
FIRST = {
    "item in loop.py, _check": "every `log_iter` steps",
    "item in loop.py, _iteration": "every `log_iter` steps",
    "item in loop.py, _validate": "at validation",
    "nonzero in preprocessing.py, _triangle": "once",
    "tensor in generators.py, rng_state": "when it saves",
    "tensor in loop.py, _validate": "at validation",
    "tensor in preprocessing.py, _triangle": "once",
    "tensor in slices.py, prepare": "the batch, from files",
}
SECOND = {
    "item in collapse.py, check": "after the warm-up and at the end of an epoch",
    "item in collapse.py, state_dict": "when it saves",
    "item in simclr_train.py, _train": "every `log_every_n_steps`",
    "item in simclr_train.py, _validate": "at validation",
    "nonzero in preprocessing.py, _triangle": "once",
    "tensor in preprocessing.py, _triangle": "once",
    "tensor in simclr.py, __init__": "once",
    "tensor in simclr_train.py, <listcomp>": "the batch, from files",
}


def test_a_step_of_train_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "mood-dpa train", Trainer, "_iteration", tmp_path)
    assert found - FIRST.keys() == set()


def test_a_step_of_simclr_waits_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = stalls_of(TRAINERS, "mood-dpa simclr", simclr_train, "_train", tmp_path)
    assert found - SECOND.keys() == set()
