"""Tiny image trees, and ways to run the commands on them."""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ood_shared.testing import commands
from ood_shared.testing.commands import Outcome, clean_environment
from ood_shared.testing.forked import Forked
from ood_shared.testing.gpus import no_gpu  # noqa: F401
from ood_shared.testing.pictures import blank_pictures, drawn  # noqa: F401
from oodgen import cli
from PIL import Image

PACKAGE = Path(__file__).parents[1]
SAME_DRAWS = PACKAGE / "tests" / "same_draws"
ID, OOD = "./data/train/mnist", "./data/test/fmnist"
CLASSES = ("a", "b", "c")


def picture(kind: int, generator: np.random.Generator, side: int = 28) -> np.ndarray:
    """A grey image with a bar whose height tells the class, and some noise."""
    image = generator.integers(0, 40, (side, side))
    image[2 + 3 * kind : 6 + 3 * kind, 3:-3] += 180
    return image.astype(np.uint8)


def write_split(folder: Path, per_class: int, classes: Sequence[str] = CLASSES, seed: int = 0, side: int = 28) -> None:
    generator = np.random.default_rng(seed)
    for kind, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(picture(kind, generator, side)).save(folder / name / f"{number:03d}.png")


def write_tree(
    root: Path | str, train: int = 12, test: int = 8, classes: Sequence[str] = CLASSES, side: int = 28
) -> Path:
    """`<root>/{train,test}/<class>/*.png`."""
    write_split(Path(root) / "train", train, classes, 0, side)
    write_split(Path(root) / "test", test, classes, 1, side)
    return Path(root)


def write_documented_trees(at: Path, **kwargs: object) -> None:
    """The two folders of the documented commands, below `at`."""
    write_tree(at / ID, **kwargs)  # type: ignore[arg-type]
    write_split(at / OOD / "test", 8, ("x", "y"), seed=2)


def environment() -> dict[str, str]:
    """A clean one in which the same seeds are drawn in each run."""
    return clean_environment(
        PYTHONPATH=os.pathsep.join([str(SAME_DRAWS), *filter(None, [os.environ.get("PYTHONPATH")])])
    )


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that a command draws in this process are the same in each run; see `same_draws/sitecustomize.py`."""
    monkeypatch.setattr("secrets.randbelow", random.Random(7).randrange)


@pytest.fixture(scope="session")
def make_tree() -> Callable[..., Path]:
    return write_tree


@pytest.fixture(scope="session")
def make_documented_trees() -> Callable[..., None]:
    return write_documented_trees


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the documented trees; the test runs in it."""
    write_documented_trees(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """`run("train_vae", "--epochs", "2")`: a command in this process."""
    return partial(commands.call, cli.main)


@pytest.fixture
def done() -> Callable[..., Outcome]:
    """As `run`, for a command that must succeed."""
    return partial(commands.succeed, cli.main)


@pytest.fixture(scope="session")
def start() -> Callable[..., Forked]:
    """`start("train_vae.py", "--epochs", "2", cwd=folder)`: a script as a process of its own."""

    def begin(script: str, *argv: str, cwd: Path | None = None) -> Forked:
        return commands.start([str(PACKAGE / script), *argv], cwd, environment())

    return begin


@pytest.fixture(scope="session")
def script(start: Callable[..., Forked]) -> Callable[..., Outcome]:
    """As `start`, and wait for the end."""

    def run_script(name: str, *argv: str, cwd: Path | None = None) -> Outcome:
        return commands.finish(start(name, *argv, cwd=cwd))

    return run_script


@pytest.fixture(scope="session")
def all_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the four steps have run for two epochs; copied by `trained`, not to be changed."""
    at = tmp_path_factory.mktemp("steps")
    write_documented_trees(at)
    before = Path.cwd()
    os.chdir(at)
    try:
        for words in (
            ["train_vae", "--epochs", "2", "--batch_size", "12", "--seed", "1"],
            ["gen_ood", "--dataset", "train", "--seed", "2"],
            ["gen_ood", "--dataset", "test", "--seed", "3"],
            ["train_classi", "--epochs", "2", "--batch_size", "24", "--seed", "4"],
        ):
            assert cli.main([*words, "--device", "cpu"]) == 0, words
    finally:
        os.chdir(before)
    return at


@pytest.fixture
def trained(all_steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `all_steps` of one's own; the test runs in it."""
    shutil.copytree(all_steps, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
