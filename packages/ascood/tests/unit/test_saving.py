"""When the checkpoint of a run is written, and that a kill between two writings changes nothing but the time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ascood import cli, loop
from ascood.run_files import logged
from ood_shared import checkpoints, training


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def words(place: Path, make_folder: Callable[..., Path]) -> list[str]:
    """A training of four epochs on a few images; the output folder is missing."""
    own = make_folder(place / "mine")
    words = ["train", "--id-data", f"folder:{own}", "--network.backbone.name", "lenet", "--optimizer.lr", "0.05"]
    words += ["--num_workers", "0", "--num_gpus", "0", "--device", "cpu", "--optimizer.num_epochs", "4"]
    return [*words, "--merge_option", "merge", "--output-dir"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs after which the checkpoint was written."""
    found, original = list[int](), loop.save
    monkeypatch.setattr(loop, "save", lambda job, at: (found.append(at.epoch), original(job, at)))
    return found


def epochs_in(folder: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def said_in(folder: Path) -> list[str]:
    """The beginnings of the lines of `log.txt`, which hold no seconds."""
    return [line.split("|")[0] for line in (folder / "log.txt").read_text().splitlines()]


def test_short_epochs_share_a_writing_and_the_last_has_its_own(words: list[str], written: list[int]) -> None:
    assert cli.main([*words, "run"]) == 0
    assert written == [1, 4]


def test_long_epochs_are_written_each(words: list[str], written: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    assert cli.main([*words, "run"]) == 0
    assert written == [1, 2, 3, 4]


def test_a_kill_between_two_writings_leaves_each_epoch_once(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main([*words, "whole"]) == 0
    with monkeypatch.context() as patched:
        original, calls = loop._train_epoch, []

        def train_epoch(*parts: object) -> None:
            calls.append(1)
            if len(calls) == 4:
                raise Killed
            original(*parts)

        patched.setattr(loop, "_train_epoch", train_epoch)
        with pytest.raises(Killed):
            cli.main([*words, "cut"])
    assert epochs_in(Path("cut")) == [1, 2, 3]
    assert checkpoints.load(Path("cut/checkpoint.pt"))["progress"]["epoch"] == 1
    assert cli.main([*words, "cut", "--resume"]) == 0
    assert epochs_in(Path("cut")) == [1, 2, 3, 4]
    one, other = (checkpoints.load(Path(name, "checkpoint.pt"))["network"] for name in ("whole", "cut"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    whole, cut = (said_in(Path(name)) for name in ("whole", "cut"))
    assert [line for line in cut if line.startswith("Epoch")] == [f"Epoch 00{epoch} " for epoch in (1, 2, 3, 4)]
    assert cut == whole
    assert len(list(Path("cut").glob("best_epoch*.ckpt"))) == 1


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        (0, ""),
        (1, "a note\nEpoch 001 | one\n"),
        (2, "a note\nEpoch 001 | one\nanother\nEpoch 002 | two\n"),
        (9, "a note\nEpoch 001 | one\nanother\nEpoch 002 | two\nEpoch 003 | three\n"),
    ],
)
def test_a_log_goes_on_after_the_last_epoch_of_the_checkpoint(tmp_path: Path, epochs: int, kept: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text("a note\nEpoch 001 | one\nanother\nEpoch 002 | two\nEpoch 003 | three\nEpoch 004 | cut sh")
    with logged(path, epochs):
        print("more")
    assert path.read_text() == f"{kept}more\n"
