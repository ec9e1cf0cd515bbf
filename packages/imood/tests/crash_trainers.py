"""A short long-tailed training with a feature pool, as `ood_shared.testing.trainers` takes it."""

from pathlib import Path

from imood import cli
from ood_shared.testing.modules import module_of
from ood_shared.testing.trainers import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    tree = module_of(Path(__file__).with_name("conftest.py"))
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
