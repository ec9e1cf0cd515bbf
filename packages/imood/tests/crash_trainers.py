"""A short long-tailed training with a feature pool, for `ood_shared.testing.crashes`."""

import importlib.util
from pathlib import Path

from imood import cli
from ood_shared.testing.crashes import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    spec = importlib.util.spec_from_file_location("tree", Path(__file__).with_name("conftest.py"))
    tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tree)
    data = tree.write_data(place / "data")
    words = [
        "train",
        *tree.SMALL,
        "--ds",
        "cifar10",
        "--drp",
        str(data),
        "-e",
        "3",
        "-b",
        "32",
        "--ood_metric",
        "ada_maha",
    ]
    return {
        "imood train": Trainer(cli.main, [*words, "--output-dir", "{out}"], ["--resume"], ".", "latest.pth"),
    }
