"""Tiny data in OpenOOD's layout, and ways to run the commands on it."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ascood import cli
from ascood.data import openood
from ood_shared import checkpoints
from ood_shared.testing import commands
from ood_shared.testing.commands import Outcome
from ood_shared.testing.forked import Forked
from ood_shared.testing.gpus import never_a_gpu, no_gpu  # noqa: F401
from ood_shared.testing.pictures import blank_pictures, drawn  # noqa: F401
from PIL import Image

PACKAGE = Path(__file__).parents[1]


def write_images(folder: Path, count: int, generator: np.random.Generator, side: int, level: int) -> list[str]:
    """Noisy images with a bright bar whose place tells the class; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        pixels = generator.integers(0, 60, (side, side, 3))
        start = (level * side // 8) % (side - 4)
        pixels[start : start + side // 6] += 180
        names.append(f"{level}_{number}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / names[-1])
    return names


def write_benchmark(
    data: Path, name: str, per_class: int = 3, classes: int = 2, outliers: int = 3, side: int = 36
) -> None:
    """All lists and images of a benchmark, a few images each."""
    generator = np.random.default_rng(0)
    for row in openood.rows(name):
        folder, path = data / row.data_dir, data / "benchmark_imglist" / row.imglist
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{row.split}_{row.name}"
        lines = []
        if row.split in ("id", "csid"):
            for label in range(classes):
                written = write_images(folder / prefix, per_class, generator, side, label)
                lines += [f"{prefix}/{image} {label}" for image in written]
        else:
            written = write_images(folder / prefix, outliers, generator, side, 5)
            lines = [f"{prefix}/{image} -1" for image in written]
        path.write_text("\n".join(lines) + "\n")


def write_folder(root: Path, per_class: int = 6, classes: tuple[str, ...] = ("a", "b"), side: int = 32) -> Path:
    """Own data: train, val and test in ImageFolder layout, and one near and one far OOD set."""
    generator = np.random.default_rng(1)
    for split in ("train", "val", "test"):
        for label, name in enumerate(classes):
            write_images(root / split / name, per_class, generator, side, label)
    write_images(root / "ood" / "near" / "bars" / "x", 5, generator, side, 4)
    write_images(root / "ood" / "far" / "more" / "x", 5, generator, side, 6)
    return root


@pytest.fixture(scope="session")
def make_benchmark() -> Callable[..., None]:
    return write_benchmark


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    return write_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """`run("train", "--config", …)`: a command in this process."""
    return partial(commands.call, cli.main)


@pytest.fixture
def done() -> Callable[..., Outcome]:
    """As `run`, for a command that must succeed."""
    return partial(commands.succeed, cli.main)


@pytest.fixture(scope="session")
def done_here() -> Callable[..., Outcome]:
    """As `done`, in a folder."""

    def done_here(folder: Path, *words: str) -> Outcome:
        before = Path.cwd()
        os.chdir(folder)
        try:
            return commands.succeed(cli.main, *words)
        finally:
            os.chdir(before)

    return done_here


@pytest.fixture(scope="session")
def start() -> Callable[..., Forked | subprocess.Popen[str]]:
    """`start("python", "main.py", …, cwd=folder)`: a process of its own; scripts find this Python first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

    def start(*words: str, cwd: Path | None = None) -> Forked | subprocess.Popen[str]:
        environment = commands.clean_environment(OMP_WAIT_POLICY="PASSIVE", PATH=path)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
        if words[0] == "python" and words[1] != "-c":
            return commands.start(words[1:], cwd, environment)
        return subprocess.Popen(list(words), cwd=cwd, env=environment, **pipes)  # type: ignore[call-overload]

    return start


@pytest.fixture(scope="session")
def process(start: Callable[..., Forked | subprocess.Popen[str]]) -> Callable[..., Outcome]:
    """As `start`, and wait for the end."""

    def process(*words: str, cwd: Path | None = None) -> Outcome:
        return commands.finish(start(*words, cwd=cwd))

    return process


QUICK = ["--num_workers", "0", "--merge_option", "merge", "--num_gpus", "0"]
DIGITS = ["--network.backbone.name", "lenet", "--optimizer.lr", "0.05", *QUICK]
DIGITS_ROOT = "results/digits_ascood_net_ascood_e{}_lr0.05_w1.0_p0.1_otype_{}_nmg_30.0_300.0_default"


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the embedded data trained for one epoch; not to be changed."""
    at = tmp_path_factory.mktemp("digits")
    before = Path.cwd()
    os.chdir(at)
    try:
        words = ["train", "--id-data", "digits", *DIGITS, "--optimizer.num_epochs", "1", "--device", "cpu"]
        assert cli.main([*words, "--trainer.trainer_args.ood_type", "shuffle"]) == 0
    finally:
        os.chdir(before)
    return at / DIGITS_ROOT.format(1, "shuffle")


OWN = ["--id-data", "folder:mine", "--network.backbone.name", "lenet", "--optimizer.lr", "0.05", *QUICK]
EVAL = ["--id-data", "folder:mine", "--wrapper-net", "ASCOODNet", "--device", "cpu", "--num-workers", "0"]


@pytest.fixture
def own(place: Path) -> Path:
    """The folder of the test, with own images in `mine`."""
    write_folder(place / "mine")
    return place


def weights_of(folder: Path | str) -> dict[str, torch.Tensor]:
    """The last weights of a run."""
    found: dict[str, torch.Tensor] = checkpoints.load(next(Path(folder).glob("last_epoch*.ckpt")))
    return found


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether the weights are bit-equal."""
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(scope="session")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny own data in `mine`, and a run of one epoch in `run/s0`; not to be changed."""
    at = tmp_path_factory.mktemp("own")
    write_folder(at / "mine")
    before = Path.cwd()
    os.chdir(at)
    try:
        words = ["train", *OWN, "--optimizer.num_epochs", "1", "--device", "cpu", "--output-dir", "run/s0"]
        assert cli.main([*words, "--trainer.trainer_args.ood_type", "shuffle"]) == 0
    finally:
        os.chdir(before)
    return at
