"""Two processes on the CPU: the weights, the metrics and the pools of one."""

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from imood import cli
from ood_shared import checkpoints
from ood_shared.checkpoints import load_value
from ood_shared.testing.ranks import run_ranks

from ..conftest import SMALL

TWO = str(Path(__file__).parents[1] / "two_ranks.py")
HERE = {"PYTHONPATH": ":".join(path for path in sys.path if path)}


def train(place, *words, count=2):
    """What rank 0 of a training leaves in `place`; the processes are started as a launcher starts them."""
    found = run_ranks(["-m", "imood", "train", *words], count, place, HERE)
    return next((rank for rank in found if rank.status), found[0])


def good(ranks):
    for rank in ranks:
        assert rank.status == 0, rank.err
    return ranks


@pytest.mark.parametrize(("metric", "aux"), [("ada_bin_disc", "pascl"), ("oe", "none")])
def test_two_ranks_take_the_steps_of_one_process_with_averaged_gradients(data, tmp_path, metric, aux):
    good(run_ranks([TWO, str(data), str(tmp_path / "two"), "rank", metric, aux], environment=HERE))
    good(run_ranks([TWO, str(data), str(tmp_path / "one.pth"), "one", metric, aux], count=1, environment=HERE))
    two, one = load_value(tmp_path / "two/latest.pth")["model"], load_value(tmp_path / "one.pth")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-6, msg=key)  # order of a float32 sum


def test_pools_are_equal_on_all_ranks_and_hold_vectors_of_both(data, tmp_path):
    good(run_ranks([TWO, str(data), str(tmp_path / "run"), "rank", "ada_maha", "none"], environment=HERE))
    one, other = (checkpoints.load(tmp_path / f"run-pool{rank}") for rank in range(2))
    assert torch.equal(one["rows"], other["rows"])
    assert int(one["counters"].sum()) > 0


def test_test_on_two_ranks_gives_the_numbers_of_one(data, trained, tmp_path):
    words = ["-m", "imood", "test", "--gpu", "cpu", "--drp", str(data), "--ckpt_path", str(trained), "--tb", "25"]
    good(run_ranks([*words, "--output-dir", str(tmp_path / "two")], environment=HERE))
    good(run_ranks([*words, "--output-dir", str(tmp_path / "one")], count=1, environment=HERE))
    for name in ("res.txt", "res.csv"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert one["published"]["sets"].keys() == two["published"]["sets"].keys()
    for name, cells in one["published"]["sets"].items():
        assert two["published"]["sets"][name]["auroc"] == pytest.approx(cells["auroc"], abs=1e-9)


def test_an_error_is_one_line_of_each(place):
    """What a run prints that starts its own processes is `test_launch`'s."""
    ranks = run_ranks(["-m", "imood", "train", *SMALL, "--ds", "cifar10", "--ddp", "-b", "200"], 2, place, HERE)
    assert all("fewer than one batch" in rank.error for rank in ranks)


OWN = (*SMALL, "--ds", "cifar10", "-e", "3", "--ddp", "-b", "8", "--ood_metric", "ada_maha")


@pytest.fixture(scope="module")
def both(data, tmp_path_factory):
    """The folder of a run of two processes; not to be changed."""
    place = tmp_path_factory.mktemp("both")
    assert train(place, *OWN, "--drp", str(data), "--output-dir", "run").status == 0
    return place / "run"


def test_two_processes_write_once(both):
    assert len((both / "train_log.txt").read_text().splitlines()) == 3
    assert len((both / "val_log.txt").read_text().splitlines()) == 3
    assert not any(key.startswith("module.") for key in load_value(both / "latest.pth")["model"])
    assert load_value(both / "id_feats.pth").shape[0] == 10


def test_a_run_that_starts_its_processes_and_is_terminated_goes_on_where_it_was(both, place, start):
    cut_at(start("train.py", *OWN, "--nproc", "2", "--output-dir", "cut", cwd=place), 1, signal.SIGTERM)
    epochs = re.findall(r"epoch (\d)", (place / "cut/val_log.txt").read_text())
    assert epochs in (["0"], ["0", "1"])  # one process writes; it may end the epoch
    assert train(place, *OWN, "--output-dir", "cut", "--resume").status == 0
    assert_same(both, place / "cut")


ALONE = ("train", *SMALL, "--ds", "cifar10", "-e", "3", "--ood_metric", "ada_maha")


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The folder of a run of one process that was not stopped; not to be changed."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert cli.main([*ALONE, "--drp", str(data), "--output-dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_a_process_that_is_stopped_and_resumed_has_the_weights_of_one_that_was_not(alone, place, start, done, sent):
    cut_at(start("train.py", *ALONE[1:], "--output-dir", "cut", cwd=place), 2, sent)
    done(*ALONE, "--output-dir", "cut", "--resume")
    assert_same(alone, place / "cut")


def cut_at(process, epoch, sent):
    """Send a signal when an epoch, counted from 0, has begun, and wait for the end."""
    for line in process.stdout:
        if f"epoch {epoch} batch 0" in line:
            process.send_signal(sent)
            break
    said = process.communicate(timeout=120)[1]
    assert process.returncode == (143 if sent == signal.SIGTERM else -9), said


def assert_same(whole, cut):
    one, other = (load_value(folder / "latest.pth") for folder in (whole, cut))
    assert all(torch.equal(value, other["model"][key]) for key, value in one["model"].items())
    assert one["training_losses"] == other["training_losses"]
    assert (cut / "id_feats.pth").read_bytes() == (whole / "id_feats.pth").read_bytes()


@pytest.mark.parametrize(
    ("flags", "word"),
    [(["--dist_url", "localhost"], "tcp://HOST:PORT"), (["--num_nodes", "2", "--node_id", "2"], "--node_id is 2")],
)
def test_wrong_meeting_places_are_refused(place, run, flags, word):
    assert word in run("train", *SMALL, "--ds", "cifar10", "--ddp", "--nproc", "2", *flags).error


@pytest.mark.parametrize(("wrote", "now"), [(1, 2), (2, 1)])
def test_another_number_of_processes_than_wrote_the_checkpoint_is_refused(alone, both, place, wrote, now):
    """Their draws follow from their number: it would be another run."""
    folder, words = (alone, ALONE[1:]) if wrote == 1 else (both, OWN)
    shutil.copytree(folder, place / "run")
    found = train(place, *words, "--ddp", "--output-dir", "run", "--resume", count=now)
    assert f"written by {wrote} process" in found.error


def test_two_processes_go_on_with_what_two_of_an_earlier_version_left(both, place):
    """It did not say how many they were."""
    path = place / "run/checkpoint.pt"
    shutil.copytree(both, path.parent)
    state = checkpoints.load(path)
    own = state.pop("ranks")[0]
    del state["detector"]
    checkpoints.save(path, state | own)
    again = train(place, *OWN, "--output-dir", "run", "--resume")
    assert again.status == 0, again.err
