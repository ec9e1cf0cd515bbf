"""Claims that every detector's file has to meet, for the tests of the packages.

`bench_digits` makes a bench; `check_digits` and `check_run` look at its file, `check_forgeries` at the file's parts,
`check_verbs` at the commands.
"""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ood_shared import model_file
from ood_shared.calibrated import Calibrated
from ood_shared.contract import COMMON, MODEL, Common, Request
from ood_shared.datasets import load
from ood_shared.datasets.benchmark import read_benchmark
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.results.record import read_result, split_scores
from ood_shared.testing.commands import call, succeed

DIGITS, HELD, LETTERS = "digits.npz", "held.npz", "letters.npz"  # beside the folder of a bench; its test digits alone
TRAINED, TESTED, OTHERS = 200, 60, 30  # images of these files
Restore = Callable[[State, torch.device], Any]
CPU = torch.device("cpu")


def bench_digits(main: Callable[[list[str]], int], out: Path, schedule: Common) -> Path:
    """The folder of a bench of some steps on a few digits, every test image of which is scored.

    Args:
        main: the package's console command.
        out: an empty folder; beside the bench's it gets the images, as files.
        schedule: in place of the budget `smoke`; at least `TESTED` test images.
    """
    train, test, letters = load("digits", "train"), load("digits", "test"), load("letters", "test")
    for name, parts in (
        (DIGITS, {"train": (train, TRAINED), "test": (test, TESTED)}),
        (HELD, {"test": (test, TESTED)}),
        (LETTERS, {"test": (letters, OTHERS)}),
    ):
        arrays: dict[str, Any] = {f"{split}_images": found.images[:n] for split, (found, n) in parts.items()}
        arrays |= {f"{split}_labels": found.labels[:n] for split, (found, n) in parts.items()}
        np.savez(out / name, **arrays)
    folder = out / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COMMON, "smoke", schedule)
        words = ["--id", str(out / DIGITS), "--ood", f"{out / LETTERS},gaussian", "--output-dir", str(folder)]
        assert main(["bench", *words, "--device", "cpu"]) == 0
    return folder


def check_digits(folder: Path, side: int, channels: int, schedule: Common) -> Calibrated:
    """As `check_run`, of a folder of `bench_digits`: the file is calibrated on all test images."""
    loaded = check_run(folder, side, channels, (schedule.train_images, schedule.test_images))
    images = load(str(folder.parent / DIGITS), "test").images
    assert loaded.limit.n == TESTED
    assert (loaded.score(images) == loaded.scores).all()
    return loaded


def check_run(folder: Path, side: int, channels: int, limits: tuple[int | None, int | None]) -> Calibrated:
    """The detector in `model.ood` of a bench's folder, after it gave every score of `scores.npz` to the bit.

    Args:
        folder: of a run of seed 0 without novel classes.
        side: of the network's images, pixels.
        channels: of the images.
        limits: most images to train on, and of each set to score, as in the run.
    """
    record, arrays = read_result(folder)
    request = Request(record["id_dataset"], ",".join(record["ood_datasets"]), seed=record["seed"])
    generator = torch.Generator().manual_seed(request.seed)
    benchmark = read_benchmark(request, side, channels, generator, *limits)
    before = torch.get_rng_state()
    loaded = model_file.load(folder / MODEL, "cpu")
    assert torch.equal(torch.get_rng_state(), before), "the caller's generator was moved"
    for (name, images), scores in zip(benchmark.scored(request.id).items(), split_scores(arrays), strict=True):
        found = loaded.outputs(images)[0].numpy()
        assert (found == scores).all(), f"{name}: scores differ by up to {abs(found - scores).max()}"
    assert (loaded.scores == split_scores(arrays)[0]).all()
    assert loaded.about["method"] == record["method"]
    return loaded


def check_forgeries(detector: Any, restore: Restore, words: Mapping[str, Any]) -> Any:
    """The detector made again from its state; states that lack a part, or have another one, are refused in words.

    Args:
        detector: with `state`.
        restore: of its package.
        words: for settings, values that are none.
    """
    state = detector.state()
    for name, value in words.items():
        _refuse(restore, forged(state, settings={name: value}), name)
    for name in state.tensors:
        _refuse(restore, forged(state, without=name), name)
        if name.endswith(("weight", "features", "rows")):
            _refuse(restore, forged(state, tensors={name: torch.zeros(2, 3, 1, 7, 1)}), name)
    return restore(forged(state), CPU)


def forged(
    state: State,
    settings: Mapping[str, Any] | None = None,
    tensors: Mapping[str, torch.Tensor] | None = None,
    without: str | None = None,
) -> State:
    """The state as a file gives it, with other parts."""
    read = json.loads(json.dumps({**state.settings, **(settings or {})}))
    values = {name: value.detach().clone().contiguous() for name, value in state.tensors.items() if name != without}
    return State(state.kind, state.classes, read, values | dict(tensors or {}))


def check_verbs(main: Callable[[list[str]], int], folder: Path, place: Path) -> None:
    """`calibrate` of a bench's folder on what it was tested with, `score` and `check` of the file.

    Args:
        main: the package's console command.
        folder: of `bench_digits`.
        place: an empty folder.
    """
    written = model_file.load(folder / MODEL, "cpu")
    target, table = place / "again.ood", place / "out.csv"
    digits, held, letters = (str(folder.parent / name) for name in (DIGITS, HELD, LETTERS))
    words = ["--id", digits, "--output", str(target), "--device", "cpu"]
    said = succeed(main, "calibrate", str(folder), *words).out
    again = model_file.load(target, "cpu")
    assert (again.scores == written.scores).all()
    assert again.limits == written.limits
    assert again.words() in said
    assert "If none of them was trained on" in said
    succeed(main, "score", str(target), held, letters, "--csv", str(table), "--device", "cpu")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = np.concatenate([again.score(load(path, "test").images) for path in (held, letters)])
    assert np.allclose([float(row["score"]) for row in rows], scores, rtol=1e-8, atol=0)  # nine digits are written
    assert [row["decision"] == "OOD" for row in rows] == (scores > again.threshold).tolist()
    said = succeed(main, "check", str(target), held, "--device", "cpu").out
    assert f"{int((written.scores > written.limit.value).sum())} of {written.limit.n} images flagged" in said
    few = call(main, "calibrate", str(folder), *words, "--alarm-rate", "0.0001")
    assert "cannot support an alarm rate of 0.0001" in few.error


def _refuse(restore: Restore, state: State, what: str) -> None:
    try:
        restore(state, CPU)
    except InputError as error:
        message = str(error)
    else:
        raise AssertionError(f"{what}: a forged state made a detector")
    assert "\n" not in message, f"{what}: more than one line"
