"""Nothing random leaks from one test to the next."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _module(name: str) -> ModuleType:
    """A module of this folder; tests cannot import each other under importlib mode."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def literal_sampling() -> ModuleType:
    return _module("literal_sampling")


@pytest.fixture(scope="session")
def literal_augmix() -> ModuleType:
    return _module("literal_augmix")


@pytest.fixture(scope="session")
def builders() -> ModuleType:
    return _module("builders")
