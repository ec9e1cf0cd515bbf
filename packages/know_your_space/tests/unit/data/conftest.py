"""A folder of data sets, empty or with BloodMNIST."""

from pathlib import Path
from types import ModuleType

import pytest
from know_your_space.data.options import DataOptions


@pytest.fixture
def at(tmp_path: Path) -> DataOptions:
    return DataOptions(data_dir=str(tmp_path), download=False)


@pytest.fixture
def blood(tmp_path: Path, builders: ModuleType) -> Path:
    return builders.write_medmnist(tmp_path, "bloodmnist")
