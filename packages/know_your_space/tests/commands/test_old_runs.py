"""A run folder that an earlier version wrote and left in the middle of an epoch is resumed and tested."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.testing import commands
from ood_shared.testing.old_runs import check_epochs, check_scores, numbers_of

OLD = Path(__file__).parents[1] / "old_runs"
RUN = Path("ckpts/wrn/bars/in_latent_out_pix/in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_1.0")
SET = (
    "--in_dataset", "data/bars.npz", "--novel_classes", "3", "--layers", "10", "--widen-factor", "1", "--device", "cpu",
    "--no_download",
)  # fmt: skip
TRAIN = (
    "train", *SET, "--dist", "--augmix", "--rand_conv", "--droprate", "0", "--batch_size", "16", "--lr", "0.002",
    "--sample_number", "12", "--start_epoch", "1", "--epochs", "3", "--seed", "1", "--print-freq", "2", "--resume",
)  # fmt: skip
TEST = ("detect", *SET, "--out_test_dataset", "data/bars.npz,data/stripes.npz")


def write_data(place):
    """Coloured bars whose height tells the class; stripes. Whole numbers, so that the pixels, of which the run folder
    has a checksum, are the same everywhere.
    """
    generator = np.random.default_rng(0)

    def write(path, n_classes, width):
        arrays = {}
        for split, count in (("train", 40), ("val", 20), ("test", 5)):
            labels = np.tile(np.arange(n_classes), count)
            images = generator.integers(0, 200, (len(labels), 28, 28, 3))
            for image, label in zip(images, labels, strict=True):
                image[2 + 6 * label : 2 + 6 * label + width, 3:-3, label % 3] += 55
            arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels[:, None].astype(np.uint8)}
        np.savez(path, **arrays)

    (place / "data").mkdir()
    write(place / "data/bars.npz", 4, 5)
    write(place / "data/stripes.npz", 3, 1)


def without_numbers(printed):
    """The lines; of those that list all flags and settings, which may be more by now, only the first word."""
    printed = re.sub(r"(?m)^(arguments|settings): .*$", r"\1:", printed)
    return re.sub(r"[ \[]*-?\d+([./:]\d+)*", " #", printed).splitlines()


def scored(place, checkpoint):
    """What the test command prints, and numbers of what it writes."""
    printed = commands.printed_by("know_your_space", place, *TEST, "--checkpoint", checkpoint)
    (at,) = (place / "logs").rglob("result.json")
    return {"lines": without_numbers(printed)} | numbers_of(at.parent, 5)


def unpack(place):
    shutil.unpack_archive(OLD / "ckpts.tar.xz", place, filter="data")


def observe(place):
    """The old folder as it is, and after it was resumed."""
    write_data(place)
    unpack(place)
    stopped, before = scored(place, "best"), commands.rows_without_time(place / RUN)
    printed = commands.printed_by("know_your_space", place, *TRAIN)
    return {
        "stopped": stopped,
        "before": before,
        "lines": without_numbers(printed),
        "going_on": re.findall(r": (\d+ epochs and \d+ batches done)\.", printed),
        "batches": re.findall(r"Epoch: (\d+)\tBatch: (\d+)/8", printed),
        "records": commands.rows_without_time(place / RUN),
        "finished": scored(place, "last"),
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
    assert (progress["epoch"], progress["batch"]) == (1, 5)


def test_it_goes_on_where_it_was(observed, expected):
    """In the second epoch, after the 4th batch (every second is printed); the row of the first stays."""
    places = [["2", "6"], ["2", "8"], *(["3", str(batch)] for batch in (2, 4, 6, 8))]
    assert observed["batches"] == expected["batches"] == places
    assert observed["going_on"] == ["1 epochs and 5 batches done"]
    assert observed["lines"] == expected["lines"]
    assert [row["epoch"] for row in observed["records"]] == [1, 2, 3]
    assert observed["records"][:1] == observed["before"]


def test_its_epochs_are_those_of_the_version_that_began_it(observed, expected):
    """Equal on the machine that wrote it; sums in another order differ in the 7th digit, and grow over 12 steps."""
    check_epochs(observed["records"], expected["records"], 0.02)


@pytest.mark.parametrize(("at", "tolerance"), [("stopped", 1e-4), ("finished", 1e-3)])
def test_its_scores_are_those_of_the_version_that_began_it(observed, expected, at, tolerance):
    check_scores(observed[at], expected[at], tolerance)
