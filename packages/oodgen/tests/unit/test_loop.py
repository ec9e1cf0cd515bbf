import json
import math
import os
import signal

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.devices import make_scaler
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader
from ood_shared.runs import Run, read_metrics
from ood_shared.signals import Terminated
from oodgen.loop import fit
from oodgen.run_files import write_log
from oodgen.state import Job, Outcome, restore
from torch import nn

LOGS = ("train.log", "vali.log")
N, BATCH = 20, 6  # three batches an epoch: the last images are dropped


def make_job(folder, *, epochs=3, save_every=1, patience=None, lr=0.05, losses=None, on_step=lambda count: None):
    """A small regression with dropout and noise, which draws from every source that a resumed run must restore.

    `losses` replaces the validation loss of each epoch; `on_step` is called with the number of steps taken.
    """
    torch.manual_seed(7)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    noise = torch.Generator().manual_seed(8)
    images = torch.randint(0, 256, (N, 1, 2, 2), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    steps, planned = [0], iter(losses or ())

    def outcome(batch):
        inputs, labels, _ = batch
        found = network(inputs / 255 + 0.1 * torch.randn(inputs.shape, generator=noise)).squeeze(1)
        loss = (found - labels).square().mean()
        return Outcome(loss, len(labels), ((found > 0.5) == (labels > 0.5)).sum())

    def step(batch):
        steps[0] += 1
        on_step(steps[0])
        return outcome(batch)

    def validate():
        if losses is not None:
            return [Outcome(torch.tensor(next(planned)), N)]
        return [outcome((images, torch.arange(N) % 2, torch.arange(N)))]

    return Job(
        folder=folder,
        network=network,
        optimizer=torch.optim.Adadelta(network.parameters(), lr=lr),
        scaler=make_scaler(torch.device("cpu"), "fp32"),
        batches=DeviceLoader(
            images, torch.arange(N) % 2, BATCH, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(1)
        ),
        step=step,
        validate=validate,
        noise=noise,
        epochs=epochs,
        save_every=save_every,
        log_names=LOGS,
        patience=patience,
    )


def train(job, resume=False):
    progress = restore(job, resume)
    fit(job, Run(job.folder, {}, last_step=progress.epoch), progress)
    return progress


def model(folder, name="model.pth"):
    return checkpoints.load(folder / name)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_every_epoch_leaves_a_model_and_the_last_is_model_pth(tmp_path):
    train(make_job(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        "model.pth",
        "model_1.pth",
        "model_2.pth",
        "model_3.pth",
    ]
    assert same(model(tmp_path), model(tmp_path, "model_3.pth"))
    assert not same(model(tmp_path, "model_2.pth"), model(tmp_path, "model_3.pth"))


def test_model_pth_is_there_while_the_training_goes_on(tmp_path):
    seen = []
    train(make_job(tmp_path, on_step=lambda count: seen.append((tmp_path / "model.pth").is_file())))
    assert seen == [False] * 3 + [True] * 6


def test_models_can_be_thinned_out_but_the_last_stays(tmp_path):
    train(make_job(tmp_path, epochs=5, save_every=2))
    assert sorted(path.name for path in tmp_path.glob("model_*.pth")) == ["model_2.pth", "model_4.pth", "model_5.pth"]


def test_logs_have_epoch_loss_and_accuracy(tmp_path):
    progress = train(make_job(tmp_path))
    for name, side in zip(LOGS, ("train", "vali"), strict=True):
        expected = [
            f"{record['epoch']:03d} {record[f'{side}_loss']:.4f} {record[f'{side}_accuracy']:.4f}"
            for record in progress.history
        ]
        assert (tmp_path / name).read_text().splitlines() == expected
    assert [record["epoch"] for record in read_metrics(tmp_path)] == [1, 2, 3]


def test_the_training_loss_is_the_mean_over_the_images_that_were_used(tmp_path):
    job = make_job(tmp_path, epochs=1)
    seen, step = [], job.step

    def remembering(batch):
        outcome = step(batch)
        seen.append((outcome.loss.item(), outcome.count))
        return outcome

    job.step = remembering
    progress = train(job)
    assert sum(count for _, count in seen) == 18
    expected = sum(loss * count for loss, count in seen) / 18
    assert progress.history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_a_run_stops_after_so_many_epochs_without_a_better_loss_and_keeps_the_best(tmp_path):
    progress = train(make_job(tmp_path, epochs=9, patience=2, losses=[3.0, 1.0, 2.0, 1.0, 0.5]))
    assert progress.epoch == 4  # equal is not better
    assert same(model(tmp_path), model(tmp_path, "model_2.pth"))


def test_a_run_that_stopped_early_does_not_go_on_when_resumed(tmp_path):
    train(make_job(tmp_path, epochs=9, patience=1, losses=[1.0, 2.0]))
    progress = train(make_job(tmp_path, epochs=9, patience=1, losses=[]), resume=True)
    assert progress.epoch == 2
    assert same(model(tmp_path), model(tmp_path, "model_1.pth"))


def test_a_new_run_removes_the_models_of_the_old_one(tmp_path):
    train(make_job(tmp_path, epochs=3))
    train(make_job(tmp_path, epochs=1))
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["model.pth", "model_1.pth"]
    assert len(read_metrics(tmp_path)) == 1


@pytest.mark.parametrize("at", range(1, 10))
def test_a_run_that_sigterm_ends_at_any_batch_goes_on_bit_equal(tmp_path, at):
    whole = train(make_job(tmp_path / "whole"))

    def stop(count):
        if count == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        train(make_job(tmp_path / "cut", on_step=stop))
    progress = train(make_job(tmp_path / "cut"), resume=True)
    assert same(model(tmp_path / "cut"), model(tmp_path / "whole"))
    numbers = [[{k: v for k, v in record.items() if k != "seconds"} for record in p.history] for p in (progress, whole)]
    assert numbers[0] == numbers[1]
    assert [record["epoch"] for record in read_metrics(tmp_path / "cut")] == [1, 2, 3]


@pytest.mark.parametrize("at", [4, 6, 7, 9])
def test_a_run_that_dies_goes_back_to_its_last_epoch_and_ends_bit_equal(tmp_path, at):
    train(make_job(tmp_path / "whole"))

    def die(count):
        if count == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_job(tmp_path / "cut", on_step=die))
    train(make_job(tmp_path / "cut"), resume=True)
    assert same(model(tmp_path / "cut"), model(tmp_path / "whole"))
    assert (tmp_path / "cut" / LOGS[0]).read_text() == (tmp_path / "whole" / LOGS[0]).read_text()


@pytest.mark.parametrize("name", ["model_2.pth", "model.pth", "metrics.jsonl", LOGS[1], "checkpoint.pt"])
def test_a_run_that_dies_while_it_writes_ends_bit_equal(tmp_path, name, monkeypatch):
    train(make_job(tmp_path / "whole"))
    save, log = checkpoints.save, Run.log

    def at(path, epoch):
        if path.name == name and epoch == 2:
            raise KeyboardInterrupt

    job = make_job(tmp_path / "cut")
    progress = restore(job, False)
    monkeypatch.setattr(checkpoints, "save", lambda path, state: (at(path, progress.epoch), save(path, state)))
    monkeypatch.setattr(Run, "log", lambda run, r: (at(run.folder / "metrics.jsonl", r["epoch"]), log(run, r)))
    monkeypatch.setattr("oodgen.loop.write_log", lambda path, rows: (at(path, len(rows)), write_log(path, rows)))
    with pytest.raises(KeyboardInterrupt):
        fit(job, Run(job.folder, {}), progress)
    monkeypatch.undo()
    train(make_job(tmp_path / "cut"), resume=True)
    assert same(model(tmp_path / "cut"), model(tmp_path / "whole"))
    assert [record["epoch"] for record in read_metrics(tmp_path / "cut")] == [1, 2, 3]


def test_more_epochs_can_be_added_to_a_finished_run(tmp_path):
    train(make_job(tmp_path / "whole", epochs=4))
    train(make_job(tmp_path / "more", epochs=2))
    train(make_job(tmp_path / "more", epochs=4), resume=True)
    assert same(model(tmp_path / "more"), model(tmp_path / "whole"))


def test_resuming_without_a_checkpoint_starts_anew(tmp_path):
    assert train(make_job(tmp_path), resume=True).epoch == 3


def test_a_training_loss_that_is_no_number_ends_the_run_and_keeps_the_last_epoch(tmp_path):
    def spoil(count):
        if count == 5:  # in the second epoch
            with torch.no_grad():
                next(job.network.parameters()).fill_(math.nan)

    job = make_job(tmp_path, on_step=spoil)
    with pytest.raises(
        InputError, match=r"training loss became nan in epoch 2\. Lower --lr; the checkpoint of epoch 1"
    ):
        train(job)
    assert (tmp_path / "model_1.pth").is_file()
    assert not (tmp_path / "model_2.pth").exists()
    assert checkpoints.load(tmp_path / "checkpoint.pt")["progress"]["epoch"] == 1
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["epoch"] == 1


def test_a_validation_loss_that_is_no_number_in_the_first_epoch_leaves_no_model(tmp_path):
    with pytest.raises(InputError, match=r"validation loss became nan in epoch 1\. Lower --lr; no epoch was finished"):
        train(make_job(tmp_path, losses=[math.nan]))
    assert not list(tmp_path.glob("*.pth"))
