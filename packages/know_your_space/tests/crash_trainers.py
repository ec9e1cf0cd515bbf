"""A short training with latent inliers and pixel outliers, as `ood_shared.testing.trainers` takes it."""

from pathlib import Path

from know_your_space import cli
from ood_shared.testing.modules import module_of
from ood_shared.testing.trainers import Trainer


def trainers(place: Path) -> dict[str, Trainer]:
    builders, runs = (module_of(Path(__file__).with_name(name)) for name in ("builders.py", "runs.py"))
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
