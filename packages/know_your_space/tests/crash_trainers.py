"""A short training with latent inliers and pixel outliers, for `ood_shared.testing.crashes`."""

import importlib.util
from pathlib import Path

from know_your_space import cli
from ood_shared.testing.crashes import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    builders, runs = _beside("builders"), _beside("runs")
    builders.write_tiny(place)
    words = ["train", "--in_dataset", str(place / "data/tiny.npz"), *runs.TINY, *runs.PAPER, "--epochs", "3"]
    return {
        "know_your_space train": Trainer(
            cli.main,
            [*words, "--output-dir", "{out}", "--device", "cpu"],
            [],
            "ckpts/*/*/*/*",
            "ckpts/**/*last*.pth.tar",
        )
    }


def _beside(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
