"""Saving, going on, and the policy for ranks."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError, MissingFileError
from ood_shared.training import Compute, load_state, save_state, settings_from, update
from torch import nn


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_state(tmp_path / "c.pt", {"network": {"w": torch.ones(2)}, "epoch": 3}, {"at": 7})
    common, own = load_state(tmp_path / "c.pt", ("network", "epoch"), ("at",))
    assert (common["epoch"], own["at"]) == (3, 7)
    assert torch.equal(common["network"]["w"], torch.ones(2))


def test_a_checkpoint_from_before_there_were_ranks_is_one_of_a_single_process(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "c.pt", {"epoch": 3, "at": 7})
    common, own = load_state(tmp_path / "c.pt", ("epoch",), ("at",))
    assert (common["epoch"], own["at"]) == (3, 7)


def test_another_number_of_processes_is_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    checkpoints.save(tmp_path / "c.pt", {"epoch": 3, "ranks": [{"at": 1}, {"at": 2}]})
    with pytest.raises(InputError, match=r"by 2 processes, now there is 1\. Resume with --nproc-per-node 2") as error:
        load_state(tmp_path / "c.pt", ("epoch",), ("at",))
    assert "\n" not in str(error.value)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert load_state(tmp_path / "c.pt", ("epoch",), ("at",))[1] == {"at": 2}
    save = tmp_path / "old.pt"
    checkpoints.save(save, {"epoch": 3, "at": 7})
    with pytest.raises(InputError, match="written by 1 process, now there are 2"):
        load_state(save, ("epoch",), ("at",))


def test_lacking_parts_are_named(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "c.pt", {"epoch": 3})
    with pytest.raises(InputError, match="lacks `network`"):
        load_state(tmp_path / "c.pt", ("network",), ())
    with pytest.raises(InputError, match=r"lacks `at`\. Delete it"):
        load_state(tmp_path / "c.pt", ("epoch",), ("at",), "Delete it.")
    with pytest.raises(MissingFileError):
        load_state(tmp_path / "none.pt", (), ())


def test_an_update_is_a_step_of_the_optimizer() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.ones_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    net.weight.grad = torch.full((1, 2), 100.0)  # of an earlier step; it must not count
    update(net, optimizer, torch.amp.GradScaler("cpu", enabled=False), net(torch.tensor([[1.0, 2.0]])).sum())
    assert net.weight.tolist() == [[0.5, 0.0]]


def test_compute_and_settings_come_from_flags_of_their_names() -> None:
    options = argparse.Namespace(device="cpu", precision="bf16", compile=True, epochs=3, other=1)
    assert Compute.from_options(options) == Compute(torch.device("cpu"), "bf16", True)

    @dataclass(frozen=True)
    class Settings:
        epochs: int = 1
        lr: float = 0.1
        classes: int = 2

    assert settings_from(Settings, options, classes=5) == Settings(3, 0.1, 5)
