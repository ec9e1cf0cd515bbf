"""A run folder that an earlier version wrote and left in the middle of an epoch is resumed and judged."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.testing import commands
from ood_shared.testing.old_runs import check_epochs
from PIL import Image

OLD = Path(__file__).parents[1] / "old_runs"
RUN = Path("root/s0")
SET = ("--id-data", "folder:mine", "--device", "cpu")
TRAIN = (
    "train", *SET, "--config", "configs/networks/ascood_net.yml", "configs/pipelines/train/train_ascood.yml",
    "small.yml", "--network.backbone.name", "lenet", "--optimizer.lr", "0.01", "--optimizer.num_epochs", "3",
    "--num_workers", "0", "--num_gpus", "0", "--merge_option", "merge", "--output-dir", "root/s0", "--resume",
)  # fmt: skip
TEST = (
    "eval_ood", *SET, "--wrapper-net", "ASCOODNet", "--num-workers", "0", "--root", "root", "--save-score",
    "--postprocessor", "msp,ebo,knn", "--no-aps",
)  # fmt: skip


def write_data(place):
    """Bars whose height tells the class, and others; whole numbers, so that they are the same everywhere."""
    generator = np.random.default_rng(0)

    def write(folder, count, level):
        folder.mkdir(parents=True)
        for number in range(count):
            image = generator.integers(0, 120, (32, 32, 3))
            image[3 + 6 * level : 8 + 6 * level] += 100
            Image.fromarray(image.astype(np.uint8)).save(folder / f"{number:02d}.png")

    for split, count in (("train", 30), ("val", 10), ("test", 10)):
        for label, name in enumerate("abc"):
            write(place / "mine" / split / name, count, label)
    write(place / "mine/ood/near/bars/x", 20, 3)
    write(place / "mine/ood/far/more/x", 20, 4)
    (place / "small.yml").write_text("dataset:\n  train:\n    batch_size: 6\n")


def without_numbers(printed):
    """The lines, with numbers as `#` and columns a space apart."""
    return re.sub(r" +", " ", re.sub(r"\d+([./:]\d+)*", "#", printed)).splitlines()


def scored(place):
    """What the test command prints, and numbers of what it writes."""
    printed = commands.printed_by("ascood", place, *TEST)
    found = {"lines": without_numbers(printed), "auroc": {}, "scores": {}}
    for name in ("msp", "ebo", "knn"):
        folder = place / RUN / "results" / name
        result = json.loads((folder / "result.json").read_text())
        found["auroc"] |= {f"{name} {ood}": cells["auroc"]["value"] for ood, cells in result["metrics"].items()}
        with np.load(folder / "scores.npz") as arrays:
            assert len(arrays["scores"]) == 70
            found["scores"][name] = arrays["scores"][::5].tolist()
    return found


def unpack(place):
    shutil.unpack_archive(OLD / "root.tar.xz", place, filter="data")


def observe(place):
    """The old folder as it is, by its best epoch, and after it was resumed."""
    write_data(place)
    unpack(place)
    stopped, before = scored(place), commands.rows_without_time(place / RUN)
    printed = commands.printed_by("ascood", place, *TRAIN)
    return {
        "stopped": stopped,
        "before": before,
        "lines": without_numbers(printed),
        "epochs": re.findall(r"Epoch (\d+)", printed),
        "records": commands.rows_without_time(place / RUN),
        "finished": scored(place),
    }


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    return json.loads(json.dumps(observe(tmp_path_factory.mktemp("old"))))


@pytest.fixture(scope="module")
def expected():
    return json.loads((OLD / "expected.json").read_text())


def test_the_old_folder_was_left_in_the_middle_of_an_epoch(tmp_path):
    unpack(tmp_path)
    progress = torch.load(tmp_path / RUN / "checkpoint.pt")["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 5, 20)


def test_it_goes_on_where_it_was(observed, expected):
    """In the second epoch, after 5 of 15 batches; the row of the first stays."""
    assert observed["epochs"] == expected["epochs"] == ["002", "003"]
    assert observed["lines"] == expected["lines"]
    assert [row["epoch"] for row in observed["records"]] == [1, 2, 3]
    assert observed["records"][:1] == observed["before"]


def test_its_epochs_are_those_of_the_version_that_began_it(observed, expected):
    """Equal on the machine that wrote it; sums in another order differ in the 7th digit, which decides which values of
    an image have the largest gradients, and so the third digit after 25 steps.
    """
    check_epochs(observed["records"], expected["records"], 0.07, 5e-3)


@pytest.mark.parametrize(("at", "tolerance"), [("stopped", 1e-4), ("finished", 2e-2)])
def test_its_scores_are_those_of_the_version_that_began_it(observed, expected, at, tolerance):
    found, wanted = observed[at], expected[at]
    assert found["lines"] == wanted["lines"]
    assert found["auroc"] == pytest.approx(wanted["auroc"], abs=0.02)
    for name, scores in wanted["scores"].items():
        assert found["scores"][name] == pytest.approx(scores, rel=tolerance, abs=tolerance), name
