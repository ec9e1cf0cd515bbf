"""A short training with synthesised outliers, as `ood_shared.testing.trainers` takes it."""

from pathlib import Path

from ascood import cli
from ood_shared.testing.modules import module_of
from ood_shared.testing.trainers import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    tree = module_of(Path(__file__).with_name("conftest.py"))
    data = tree.write_folder(place / "mine")
    words = ["train", "--id-data", f"folder:{data}", "--network.backbone.name", "lenet", "--optimizer.lr", "0.05"]
    words += [*tree.QUICK, "--optimizer.num_epochs", "8", "--device", "cpu", "--output-dir", "{out}"]
    return {"ascood train": Trainer(cli.main, words, ["--resume"], ".", "last_epoch*.ckpt")}
