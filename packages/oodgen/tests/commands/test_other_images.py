"""A VAE that is used with other images than it was trained on is said; the same images elsewhere are not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ID = "./data/train/mnist"
SAID = "other/train holds other images than result/vae was trained on"
PAPER = ("train_classi", "--mode", "paper", "--epochs", "1", "--batch_size", "16")
RECON = ("train_classi", "--id_recon", "--epochs", "1", "--batch_size", "16")


def inverted(root: Path) -> None:
    """Another set with the same classes and numbers of images."""
    for path in root.glob("*/*/*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


@pytest.mark.parametrize(
    ("step", "flag"),
    [
        (("gen_ood", "--dataset", "train"), "--data"),
        (("gen_ood", "--dataset", "test"), "--data"),
        (PAPER, "--in_data"),
        (RECON, "--in_data"),
    ],
)
def test_other_images_of_the_same_classes_are_said_in_one_line(done, trained, step, flag):
    shutil.copytree(ID, "other")
    assert done(*step, flag, "other", "--seed", "1").err == ""  # the same images at another path
    inverted(Path("other"))
    error = done(*step, flag, "other", "--seed", "1").err
    assert error.startswith(f"warning: {SAID}")
    assert error.count("\n") == 1


def test_the_outliers_are_the_same_whether_it_is_said_or_not(done, trained):
    def made() -> dict[str, bytes]:
        done("gen_ood", "--data", ID, "--seed", "4")
        return {path.name: path.read_bytes() for path in Path(ID, "ood/train").glob("*.png")}

    before = made()
    path = Path("result/vae/config.json")
    content = json.loads(path.read_text())
    content["settings"]["data_crc32"] += 1
    path.write_text(json.dumps(content))
    assert "warning" in done("gen_ood", "--data", ID, "--seed", "4").err
    assert made() == before


@pytest.mark.parametrize("content", [None, "{}", "{"])
def test_a_folder_that_does_not_tell_what_it_was_trained_on_passes(done, trained, content):
    path = Path("result/vae/config.json")
    path.unlink()
    if content is not None:
        path.write_text(content)
    inverted(Path(ID))
    assert done("gen_ood", "--data", ID, "--seed", "4").err == ""
