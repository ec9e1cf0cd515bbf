"""A short training with synthesised outliers, for `ood_shared.testing.crashes`."""

import importlib.util
from pathlib import Path

from ascood import cli
from ood_shared.testing.crashes import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    spec = importlib.util.spec_from_file_location("tree", Path(__file__).with_name("conftest.py"))
    tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tree)
    data = tree.write_folder(place / "mine")
    words = ["train", "--id-data", f"folder:{data}", "--network.backbone.name", "lenet", "--optimizer.lr", "0.05"]
    words += [*tree.QUICK, "--optimizer.num_epochs", "8", "--device", "cpu", "--output-dir", "{out}"]
    return {"ascood train": Trainer(cli.main, words, ["--resume"], ".", "last_epoch*.ckpt")}
