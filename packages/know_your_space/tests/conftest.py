"""Nothing random leaks from one test to the next."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from ood_shared.testing.modules import module_of
from ood_shared.testing.pictures import blank_pictures, drawn  # noqa: F401


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _module(name: str) -> ModuleType:
    """A module of this folder; tests cannot import each other under importlib mode."""
    return module_of(Path(__file__).with_name(f"{name}.py"))


@pytest.fixture(scope="session")
def literal_sampling() -> ModuleType:
    return _module("literal_sampling")


@pytest.fixture(scope="session")
def literal_augmix() -> ModuleType:
    return _module("literal_augmix")


@pytest.fixture(scope="session")
def builders() -> ModuleType:
    return _module("builders")


@pytest.fixture(scope="session")
def runs() -> ModuleType:
    return _module("runs")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builders: ModuleType) -> Path:
    """A folder with `data/tiny.npz`, three classes, in which the test runs: without a GPU, and without pictures of a
    training, which take longer than a tiny one.
    """
    builders.enter_tiny(tmp_path, monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the processes that tests start: Adam makes a step of the learning rate out of the last bit of a gradient
    near 0, and threads change that bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
