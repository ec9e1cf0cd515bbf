"""A run that stops, by whatever means, and goes on ends with the weights of one that never stopped."""

import shutil
import signal

import pytest
import torch
from know_your_space import loop as fit
from ood_shared import checkpoints
from ood_shared.testing import commands

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, runs, builders):
    """Weights and records of three epochs in one go."""
    place = tmp_path_factory.mktemp("whole")
    builders.write_tiny(place)
    process = runs.start("--output-dir", ".", cwd=place, epochs=3)
    assert commands.finish(process).status == 0
    return runs.weights(place), runs.metrics(place)


def stop_after(batches, monkeypatch):
    """SIGTERM in the given batch of the run, counted over epochs."""
    seen = [0]
    remember = fit._remember

    def counted(*arguments):
        seen[0] += 1
        if seen[0] == batches:
            signal.raise_signal(signal.SIGTERM)
        return remember(*arguments)

    monkeypatch.setattr(fit, "_remember", counted)


@pytest.mark.parametrize("batches", [1, 3, 5])  # in an epoch, at its end, and with full queues
def test_a_terminated_run_goes_on_at_the_very_batch(place, runs, whole, monkeypatch, batches):
    with monkeypatch.context() as patched:
        stop_after(batches, patched)
        found = runs.train(*runs.PAPER, epochs=3)
        assert (found.status, "--resume continues" in found.err) == (143, True)
    again = runs.trained(epochs=3)
    assert "Going on from" in again.out
    assert runs.same(runs.weights(), whole[0])
    assert runs.metrics() == whole[1]


def test_a_run_with_more_epochs_later_equals_one_with_all_of_them(place, runs, whole):
    runs.trained(epochs=2)
    runs.trained(epochs=3)
    assert runs.same(runs.weights(), whole[0])


def test_with_the_plateau_schedule_too(place, runs):
    runs.trained("--lr_schedule", "plateau", "--ckpt_name", "whole", epochs=3)
    runs.trained("--lr_schedule", "plateau", epochs=2)
    runs.trained("--lr_schedule", "plateau", epochs=3)
    assert runs.same(runs.weights(), runs.weights(name="whole"))


def test_queues_are_part_of_the_checkpoint(place, runs):
    runs.trained(epochs=2)
    state = checkpoints.load(runs.run_folder() / "checkpoint.pt")
    assert state["queue"]["counts"].tolist() == [6, 6, 6]
    assert float(state["queue"]["features"].abs().sum()) > 0


def test_a_killed_process_goes_on_from_its_last_epoch(place, runs, whole):
    process = runs.start(cwd=place, epochs=3)
    checkpoint = runs.run_folder() / "checkpoint.pt"
    commands.wait_until(lambda: checkpoint.is_file() or process.poll() is not None, patience=120)
    process.kill()
    process.communicate()
    assert checkpoint.is_file()
    runs.trained(epochs=3)
    assert runs.same(runs.weights(), whole[0])


def test_a_finished_run_is_left_as_it_is(place, runs):
    runs.trained(epochs=2)
    before = runs.checkpoint().read_bytes()
    found = runs.trained(epochs=2)
    assert "holds a finished run (2 of 2 epochs)" in found.out
    assert runs.checkpoint().read_bytes() == before


def test_restart_begins_anew(place, runs):
    runs.trained(epochs=2)
    first = runs.weights()
    runs.trained("--restart", "--seed", "9", epochs=1)
    assert not runs.same(runs.weights(), first)
    assert [record["epoch"] for record in runs.metrics()] == [1]


def test_a_three_key_checkpoint_of_the_original_is_gone_on_with(place, runs):
    runs.trained(epochs=2)
    best = checkpoints.load(runs.checkpoint(last=False))
    best["epoch"] = 3
    shutil.rmtree(runs.run_folder())
    checkpoints.save(runs.checkpoint(last=False), best)
    found = runs.trained(epochs=4)
    assert "with epoch 3, as the original does" in found.out
    assert [record["epoch"] for record in runs.metrics()] == [3, 4]
    assert checkpoints.load(runs.checkpoint())["epoch"] == 5


def test_the_schedule_of_such_a_run_starts_at_the_stored_rate(place, runs):
    runs.trained("--lr", "0.004", epochs=2)
    best = checkpoints.load(runs.checkpoint(last=False))
    best["epoch"] = 3
    best["optimizer"]["param_groups"][0]["lr"] = 0.0005
    shutil.rmtree(runs.run_folder())
    checkpoints.save(runs.checkpoint(last=False), best)
    runs.trained("--lr", "0.004", epochs=3)
    assert runs.metrics()[-1]["lr"] == 0.0005


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--m_in", "-20", "--beta1", "0.2"), "beta1 = 0.1"),
        (("--layers", "16"), "layers = 10"),
        (("--seed", "2"), "seed = 1"),
    ],
)
def test_other_settings_than_the_run_had_are_refused(place, runs, flags, words):
    runs.trained(epochs=1)
    error = runs.train(*runs.PAPER, *flags, epochs=2).error
    assert words in error
    assert "--restart" in error


def test_other_images_than_the_run_had_are_refused(place, runs, builders):
    runs.trained(epochs=1)
    builders.write_npz(place / "data" / "tiny.npz", n_classes=3, per_class={"train": 13, "val": 5, "test": 4})
    assert "trained on other images than are there now" in runs.train(*runs.PAPER, epochs=2).error


def test_a_damaged_checkpoint_is_refused_and_left(place, runs):
    runs.trained(epochs=1)
    path = runs.run_folder() / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    assert "is damaged or no checkpoint" in runs.train(*runs.PAPER, epochs=2).error
    assert path.stat().st_size == 1000


def test_a_checkpoint_of_something_else_is_refused(place, runs):
    runs.trained(epochs=1)
    checkpoints.save(runs.run_folder() / "checkpoint.pt", {"network": {}})
    assert "lacks `optimizer`" in runs.train(*runs.PAPER, epochs=2).error


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_epoch(place, runs, monkeypatch):
    runs.trained(epochs=1)
    before = (runs.run_folder() / "checkpoint.pt").read_bytes()
    monkeypatch.setattr("know_your_space.step.cross_entropy", lambda logits, *_: logits.sum() * torch.nan)
    error = runs.train(*runs.PAPER, epochs=2).error
    assert "training loss became nan in epoch 2" in error
    assert "checkpoints of epoch 1 are kept" in error
    assert (runs.run_folder() / "checkpoint.pt").read_bytes() == before
