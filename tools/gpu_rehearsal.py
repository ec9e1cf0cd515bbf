"""Tiny data in the layouts of the documented commands, for a rehearsal of the GPU checks on a CPU.

Images are noise and colours, made by the same functions as those of the packages' tests. Nothing that is trained on
them is a result.
"""

import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from ood_shared.datasets.medical import MEDICAL

TESTS = "packages/{}/tests/{}"
MNISTS = ("MNIST", "FashionMNIST")
PER_SPLIT = {"train": 600, "t10k": 300}  # images of an MNIST


def write_data(root: Path, checkout: Path) -> Path:
    """The folder that `--data` names, for all documented commands.

    Args:
        root: made here, unless it is there.
        checkout: of this project, with its tests.
    """
    if root.is_dir():
        return root
    new = root.with_suffix(".new")
    for number, name in enumerate(MNISTS):
        _write_mnist(new / name / "raw", np.random.default_rng(number))
    _module(checkout / TESTS.format("imood", "conftest.py")).write_data(new)
    _module(checkout / TESTS.format("ascood", "conftest.py")).write_benchmark(new, "cifar10", per_class=80)
    builders = _module(checkout / TESTS.format("know_your_space", "builders.py"))
    for name in MEDICAL:
        builders.write_medmnist(new, name, per_class={"train": 20, "val": 4, "test": 4})
    new.rename(root)
    return root


def _module(path: Path) -> ModuleType:
    """A file of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"rehearsal_{path.parts[-3]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write_mnist(folder: Path, draws: np.random.Generator) -> None:
    """Ten classes of noise with a bright bar whose place tells the class, in the files of MNIST."""
    folder.mkdir(parents=True)
    for split, count in PER_SPLIT.items():
        labels = np.arange(count) % 10
        images = draws.integers(0, 40, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] += 200
        _write_idx(folder / f"{split}-images-idx3-ubyte", images.astype(np.uint8))
        _write_idx(folder / f"{split}-labels-idx1-ubyte", labels.astype(np.uint8))


def _write_idx(path: Path, values: npt.NDArray[np.uint8]) -> None:
    path.write_bytes(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())
