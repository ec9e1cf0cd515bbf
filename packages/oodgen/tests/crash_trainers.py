"""Short trainings of both steps, as `ood_shared.testing.trainers` takes them."""

from pathlib import Path

import numpy as np
from ood_shared.testing.trainers import Trainer
from oodgen import cli
from PIL import Image


def trainers(place: Path) -> dict[str, Trainer]:
    draws = np.random.default_rng(0)
    data = place / "data/train/mnist"
    for split, count in (("train", 60), ("test", 6)):
        for label in "abc":
            folder = data / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 90, (28, 28), dtype=np.uint8)
                pixels[8 * "abc".index(label) : 8 * "abc".index(label) + 10] += 150
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    first = ["--in_data", str(data), "--seed", "1"]
    _must(["train_vae", *first, "--epochs", "1", "--save_path", str(place / "first")])
    for split in ("train", "test"):
        generated = ["--data", str(data), "--dataset", split, "--model_path", str(place / "first"), "--num_ood", "0.5"]
        _must(["gen_ood", *generated, "--seed", "1"])
    shared = ["--seed", "5", "--epochs", "4", "--batch_size", "12", "--device", "cpu", "--save_path", "{out}"]
    steps = {"train_vae": "vae", "train_classi": "classifer"}
    return {
        f"oodgen {step}": Trainer(
            cli.main, [step, "--in_data", str(data), *shared], ["--resume"], folder, f"{folder}/model.pth"
        )
        for step, folder in steps.items()
    }


def _must(words: list[str]) -> None:
    status = cli.main(words)
    assert status == 0, words
