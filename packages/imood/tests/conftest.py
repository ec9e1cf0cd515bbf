"""Small CIFAR trees in the original form, and ways to run the commands on them."""

import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from imood import cli
from ood_shared.files import write_text
from ood_shared.testing import commands
from ood_shared.testing.commands import Outcome
from ood_shared.testing.forked import Forked
from ood_shared.testing.gpus import never_a_gpu, no_gpu  # noqa: F401
from ood_shared.testing.pictures import blank_pictures, drawn  # noqa: F401
from PIL import Image

PACKAGE = Path(__file__).parents[1]
SETS = ("texture", "svhn", "cifar100", "tin", "lsun", "places365")
SMALL = ("--gpu", "cpu", "--width", "4", "-b", "16", "--tb", "50", "--rho", "0.1", "--seed", "3")


def colours(labels: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    """Images whose colour tells the class; uint8 (n, 32, 32, 3)."""
    generator = np.random.default_rng(seed)
    shade = np.stack([labels * 23 % 256, labels * 91 % 256, 255 - labels * 200 // n_classes], axis=1)
    noise = generator.integers(-30, 30, (len(labels), 32, 32, 3))
    return np.clip(shade[:, None, None, :] + noise, 0, 255).astype(np.uint8)


def write_cifar(
    root: Path, name: str, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> None:
    """The pickles of CIFAR-10 (five equal batches) or CIFAR-100; images (n, 32, 32, 3)."""
    folder = root / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"

    def dump(file: str, images: np.ndarray, labels: np.ndarray) -> None:
        content = {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), key: labels.tolist()}
        (folder / file).write_bytes(pickle.dumps(content))

    if name == "cifar10":
        for number, (images, labels) in enumerate(zip(*(np.array_split(part, 5) for part in train), strict=True), 1):
            dump(f"data_batch_{number}", images, labels)
        dump("test_batch", *test)
    else:
        dump("train", *train)
        dump("test", *test)


def write_scood(root: Path, id_name: str, name: str, images: np.ndarray, semantic: np.ndarray) -> None:
    """One SCOOD set as PNG files and its list."""
    lines = []
    folder = root / "SCOOD/data/images" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(images, semantic.tolist(), strict=True)):
        Image.fromarray(image).save(folder / f"{number:04d}.png")
        lines.append(f"{name}/{number:04d}.png {{'sc_label': {label}, 'name': 'x'}}")
    write_text(root / "SCOOD/data/imglist" / f"benchmark_{id_name}" / f"test_{name}.txt", "\n".join(lines) + "\n")


def write_data(root: Path, per_class: int = 30, n_aux: int = 64) -> Path:
    """The tree of the documented CIFAR-10 commands, made of colours and noise."""
    labels = np.arange(10 * per_class) % 10
    test = np.arange(60) % 10
    write_cifar(root, "cifar10", (colours(labels, 10, 0), labels), (colours(test, 10, 1), test))
    generator = np.random.default_rng(2)
    for number, name in enumerate(SETS):
        images = generator.integers(0, 256, (12 + number, 32, 32, 3), dtype=np.uint8)
        semantic = np.full(len(images), -1)
        semantic[:number] = np.arange(number)
        write_scood(root, "cifar10", name, images, semantic)
    (root / "tinyimages80m").mkdir()
    np.save(
        root / "tinyimages80m/300K_random_images.npy", generator.integers(0, 256, (n_aux, 32, 32, 3), dtype=np.uint8)
    )
    return root


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As the processes have it: the order of a sum depends on the number of threads, and waiting ones are slow."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that a command draws are the same in each run."""
    monkeypatch.setattr("secrets.randbelow", random.Random(7).randrange)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documented tree; not to be changed."""
    return write_data(tmp_path_factory.mktemp("tree") / "data")


@pytest.fixture
def place(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the tree under `data`; the test runs in it."""
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `ada_bin_disc` with `pascl` on the tree; not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "ada_bin_disc"
    words = ["train", *SMALL, "--ds", "cifar10", "--drp", str(data), "-e", "2", "--output-dir", str(folder)]
    words += ["--ood_metric", "ada_bin_disc", "--aux_ood_loss", "pascl", "--Lambda2", "0.05"]
    assert cli.main(words) == 0
    return folder


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """`run("train", "-e", "2")`: a command in this process."""
    return partial(commands.call, cli.main)


@pytest.fixture
def done() -> Callable[..., Outcome]:
    """As `run`, for a command that must succeed."""
    return partial(commands.succeed, cli.main)


@pytest.fixture(scope="session")
def start() -> Callable[..., Forked]:
    """`start("train.py", "-e", "2", cwd=folder)`: a script as a process of its own."""

    def begin(script: str, *argv: str, cwd: Path | None = None) -> Forked:
        return commands.start([str(PACKAGE / script), *argv], cwd)

    return begin


@pytest.fixture(scope="session")
def script(start: Callable[..., Forked]) -> Callable[..., Outcome]:
    """As `start`, and wait for the end."""

    def run_script(name: str, *argv: str, cwd: Path | None = None) -> Outcome:
        return commands.finish(start(name, *argv, cwd=cwd))

    return run_script
