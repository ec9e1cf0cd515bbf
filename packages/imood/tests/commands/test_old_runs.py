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
from ood_shared.testing.old_runs import check_epochs

OLD = Path(__file__).parents[1] / "old_runs"
TRAIN = (
    "train", "--gpu", "cpu", "-e", "4", "--width", "1", "-b", "16", "--lr", "0.01", "--rho", "0.1", "--seed", "3",
    "--ood_metric", "ada_maha", "--aux_ood_loss", "pascl", "--output-dir", "run", "--resume",
)  # fmt: skip
TEST = ("test", "--gpu", "cpu", "--ckpt_path", "run")


def without_numbers(printed):
    return re.sub(r"\d+([./:]\d+)*", "#", printed).splitlines()


def scored(place):
    """What the test command prints, and numbers of what it writes; `rank` are areas under curves and shares."""
    printed = commands.printed_by("imood", place, *TEST)
    result = json.loads((place / "run/result.json").read_text())
    keep_bench(place / "run", "imood", "--output-dir")  # a run that was tested is not taken for a bench
    with np.load(place / "run/scores.npz") as arrays:
        scores = arrays["scores"]
    rank = {name: cells["auroc"]["value"] for name, cells in result["metrics"].items()}
    return {
        "lines": without_numbers(printed),
        "rank": rank | {"accuracy": result["published"]["accuracy"]},
        "n_scores": len(scores),
        "scores": scores[::100].tolist(),
    }


def unpack(place):
    shutil.unpack_archive(OLD / "run.tar.xz", place, filter="data")


def observe(place):
    """The old folder as it is, and after it was resumed."""
    unpack(place)
    stopped, before = scored(place), commands.rows_without_time(place / "run")
    printed = commands.printed_by("imood", place, *TRAIN)
    return {
        "stopped": stopped,
        "before": before,
        "lines": without_numbers(printed),
        "batches": re.findall(r"epoch \d+ batch \d+", printed),
        "records": commands.rows_without_time(place / "run"),
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
    progress = torch.load(tmp_path / "run/checkpoint.pt")["progress"]
    assert (progress["epoch"], progress["step"]) == (2, 8)


def test_it_goes_on_where_it_was(observed, expected):
    """In the third epoch, whose first batch (every 100th is printed) is done; the rows of two epochs stay."""
    assert observed["batches"] == expected["batches"] == ["epoch 3 batch 0"]
    assert observed["lines"] == expected["lines"]
    assert [row["epoch"] for row in observed["records"]] == [1, 2, 3, 4]
    assert observed["records"][:2] == observed["before"]


def test_its_epochs_are_those_of_the_version_that_began_it(observed, expected):
    """Equal on the machine that wrote it; sums in another order differ in the 7th digit, and grow over 40 steps."""
    check_epochs(observed["records"], expected["records"], 0.02)


@pytest.mark.parametrize(("at", "tolerance"), [("stopped", 1e-3), ("finished", 1e-2)])
def test_its_scores_are_those_of_the_version_that_began_it(observed, expected, at, tolerance):
    """With plain instead of wide processor instructions distances differ by 2e-6, and after 40 steps by 2e-3."""
    found, wanted = observed[at], expected[at]
    assert found["lines"] == wanted["lines"]
    assert found["n_scores"] == wanted["n_scores"]
    assert found["rank"] == pytest.approx(wanted["rank"], abs=0.02)
    assert found["scores"] == pytest.approx(wanted["scores"], rel=tolerance)
