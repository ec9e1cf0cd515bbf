"""Tiny data in the layouts of the documented commands, for a rehearsal of the GPU checks on a CPU.

Images are noise and colours, made by the same functions as those of the packages' tests. Nothing that is trained on
them is a result.
"""

from pathlib import Path

import numpy as np
from ood_shared.datasets.medical import MEDICAL
from ood_shared.files import write_json
from ood_shared.testing.modules import module_of
from PIL import Image
from trainings import STATE

TESTS = "packages/{}/tests/{}"
PREPARED = {"train": 60, "test": 10}  # images of a class
OODGEN = "oodgen_gpu_mnist"


def write_data(work: Path, checkout: Path) -> Path:
    """The folder that `--data` names, for all documented commands.

    `oodgen prepare` takes the whole MNIST alone. Its two calls count as done, and what they leave is written here.

    Args:
        work: folder of the trainings; the data go to a folder in it, unless they are there.
        checkout: of this project, with its tests.
    """
    root = work / "data"
    if root.is_dir():
        return root
    new = root.with_suffix(".new")
    for number, (name, word) in enumerate((("MNIST", "mnist"), ("FashionMNIST", "fmnist"))):
        (new / name / "raw").mkdir(parents=True)
        _write_prepared(work / OODGEN / "data" / word, np.random.default_rng(number))
    write_json(work / OODGEN / STATE, {"done": [0.0, 0.0]})
    tree = module_of(checkout / TESTS.format("imood", "conftest.py"))
    tree.write_data(new, per_class=200, n_aux=300)  # a batch has 256 of each
    module_of(checkout / TESTS.format("ascood", "conftest.py")).write_benchmark(new, "cifar10", per_class=80)
    builders = module_of(checkout / TESTS.format("know_your_space", "builders.py"))
    for name in MEDICAL:
        builders.write_medmnist(new, name, per_class={"train": 20, "val": 4, "test": 4})
    new.rename(root)
    return root


def _write_prepared(folder: Path, draws: np.random.Generator) -> None:
    """`<split>/<class>/*.png`: ten classes of noise with a bright bar whose place tells the class."""
    for split, count in PREPARED.items():
        for label in range(10):
            target = folder / split / str(label)
            target.mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 40, (28, 28), dtype=np.uint8)
                pixels[2 * label : 2 * label + 4] += 200
                Image.fromarray(pixels).save(target / f"{number:03d}.png")
