"""A run folder that an earlier version wrote and left in the middle of an epoch is resumed and tested."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.run_model import keep_bench
from ood_shared.testing import commands
from ood_shared.testing.old_runs import check_epochs, check_scores, numbers_of
from PIL import Image

OLD = Path(__file__).parents[1] / "old_runs"
ID, OOD = "data/train/bars", "data/test/stripes"
RUN = Path("result/classifer")
TRAIN = (
    "train_classi", "--in_data", ID, "--epochs", "3", "--batch_size", "12", "--opt", "sgd", "--lr", "0.05",
    "--seed", "1", "--device", "cpu", "--resume",
)  # fmt: skip
TEST = ("test", "--in_data", ID, "--out_data", OOD, "--seed", "2", "--device", "cpu")


def write_data(place):
    """Bars whose height tells the class; noise and upright bars as generated outliers. Whole numbers, so that the
    pixels, of which the run folder has a checksum, are the same everywhere.
    """
    generator = np.random.default_rng(0)

    def write(path, bar=None, upright=False):
        image = generator.integers(0, 180, (28, 28))
        if bar is None:
            image = generator.integers(0, 256, (28, 28))
        else:
            image[2 + 3 * bar : 6 + 3 * bar, 3:-3] += 60
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.T if upright else image).astype(np.uint8)).save(path)

    for split, count in (("train", 80), ("test", 40)):
        for number in range(3 * count):
            write(place / ID / split / "abc"[number % 3] / f"{number:03d}.png", number % 3)
        for number in range(3 * count // 2):
            write(place / ID / "ood" / split / f"{number:06d}_1.png")
            write(place / ID / "ood" / split / f"{number:06d}_2.png", number % 3, upright=True)
    for number in range(60):
        write(place / OOD / "test/x" / f"{number:03d}.png", 3 + number % 4)


def without_numbers(printed):
    return re.sub(r" *\d+([./:]\d+)*", " #", printed).splitlines()


def scored(place):
    """What the test command prints, and numbers of what it writes."""
    printed = commands.printed_by("oodgen", place, *TEST)
    printed = "".join(line for line in printed.splitlines(True) if "stands at epoch" not in line)  # said since then
    keep_bench(place / "result", "oodgen", "--save_path")  # a run that was tested is not taken for a bench
    return {"lines": without_numbers(printed)} | numbers_of(place / "result", 10)


def unpack(place):
    shutil.unpack_archive(OLD / "classifer.tar.xz", place / "result", filter="data")


def observe(place):
    """The old folder as it is, and after it was resumed."""
    write_data(place)
    unpack(place)
    stopped, before = scored(place), commands.rows_without_time(place / RUN)
    printed = commands.printed_by("oodgen", place, *TRAIN)
    return {
        "stopped": stopped,
        "before": before,
        "lines": without_numbers(printed),
        "batches": re.findall(r"epoch (\d+)/3  batch (\d+)/40", printed),
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
    assert (progress["epoch"], progress["batch"]) == (1, 11)


def test_it_goes_on_where_it_was(observed, expected):
    """In the second epoch, after the 10th batch (every 10th is printed); the row of the first stays."""
    places = [["2", "20"], ["2", "30"], ["2", "40"], *(["3", str(batch)] for batch in (10, 20, 30, 40))]
    assert observed["batches"] == expected["batches"] == places
    assert observed["lines"] == expected["lines"]
    assert [row["epoch"] for row in observed["records"]] == [1, 2, 3]
    assert observed["records"][:1] == observed["before"]


def test_its_epochs_are_those_of_the_version_that_began_it(observed, expected):
    """Equal on the machine that wrote it; sums in another order differ in the 7th digit, and grow over 70 steps."""
    check_epochs(observed["records"], expected["records"], 2)


@pytest.mark.parametrize(("at", "tolerance"), [("stopped", 1e-4), ("finished", 1e-3)])
def test_its_scores_are_those_of_the_version_that_began_it(observed, expected, at, tolerance):
    """Scores are probabilities."""
    check_scores(observed[at], expected[at], tolerance)
