"""The documented ImageNet-LT commands on a tree of a few images."""

import json
import shutil

import numpy as np
import pytest
from ood_shared import blocks
from ood_shared.checkpoints import load_value
from ood_shared.files import write_text
from PIL import Image

COUNTS = (2, 1, 1)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    generator = np.random.default_rng(0)
    lines = []

    def picture(path, red):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, (64, 80, 3), dtype=np.uint8)
        pixels[..., 0] = red
        Image.fromarray(pixels).resize((300, 240)).save(path, "JPEG")

    for label, count in enumerate(COUNTS):
        for number in range(count):
            relative = f"train/n{label:02d}/{number}.JPEG"
            picture(root / "data/imagenet" / relative, 80 * label)
            lines.append(f"{relative} {label}")
        picture(root / f"data/imagenet/val/n{label:02d}/0.JPEG", 80 * label)
    write_text(root / "data/imagenet/ImageNet_LT_train.txt", "\n".join(lines) + "\n")
    write_text(root / "data/imagenet/ImageNet_LT_val.txt", "\n".join(lines[1:]) + "\n")
    for folder, count in (("extra_1k", 3), ("ood_test_1k", 2)):
        for number in range(count):
            picture(root / f"data/imagenet/{folder}/n99/{number}.JPEG", 200)
    return root


def test_the_documented_imagenet_commands_train_and_test(tree, tmp_path, monkeypatch, done):
    shutil.copytree(tree, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blocks, "BLOCK", 3)  # rows that are scored together: each set has fewer
    done(
        "train", "--gpu", "0,1", "--ds", "imagenet", "--md", "ResNet50", "-e", "1", "--opt", "sgd", "--decay",
        "multisteps", "--lr", "0.1", "--wd", "5e-5", "-b", "3", "--tb", "3", "--ddp", "--dist_url",
        "tcp://localhost:23457", "--drp", "data", "--srp", "srp", "--imbalance_ratio", ".01", "--logit_adjust", "1.0",
        "--ood_metric", "ada_bin_disc", "--Lambda", "0.5", "--Lambda2", "0.05", "--aux_ood_loss", "pascl",
        "--id_class_number", "3", "--num_workers", "0",
    )  # fmt: skip
    (folder,) = (tmp_path / "srp/imagenet3-lt/ResNet50").iterdir()
    assert folder.name.startswith(f"e1-b3-sgd-m0.9-lr{0.1 * 3 / 256}-wd5e-05-multisteps60-80_LA1.0-ada_bin_disc-")
    assert load_value(folder / "latest.pth")["model"]["fc.weight"].shape == (4, 2048)
    (tmp_path / "weights/imagenet").mkdir(parents=True)
    folder.rename(tmp_path / "weights/imagenet/ada_bin_disc")
    found = done(
        "test", "--gpu", "0", "--ds", "imagenet", "--model", "ResNet50", "--tb", "200", "--drp", "data", "--ood_metric",
        "bin_disc", "--ckpt_path", "weights/imagenet/ada_bin_disc", "--num_workers", "0",
    )  # fmt: skip
    assert "imagenet10k" in found.out
    assert "Total" not in found.out
    at = tmp_path / "weights/imagenet/ada_bin_disc"
    assert "===imagenet10k===" in (at / "res.txt").read_text()
    assert json.loads((at / "result.json").read_text())["config"]["class_counts"] == list(COUNTS)
