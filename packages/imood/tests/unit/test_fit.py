"""The loop: what a step does, what an epoch leaves, and that stopping does not change a run."""

import json
import math
from dataclasses import replace

import pytest
import torch
from imood import loop as fitting
from imood.data.registry import open_task
from imood.data.tasks import Source
from imood.settings import Settings
from imood.state import restore
from imood.train import train
from ood_shared import checkpoints
from ood_shared.checkpoints import load_value
from ood_shared.errors import InputError, MissingFileError
from ood_shared.signals import Terminated
from ood_shared.training import Compute

CPU = torch.device("cpu")


@pytest.fixture
def task(data):
    return open_task(Source("cifar10", data, 0.1, "ResNet18", CPU), training=True)


def settings(task, **fields):
    base = {"epochs": 2, "batch_size": 16, "width": 2, "seed": 4, "lr": 0.01, "test_batch_size": 30}
    return Settings(**{"dataset": "cifar10", "model": "ResNet18", "counts": tuple(task.counts)} | base | fields)


def weights(folder, name="latest.pth"):
    found = load_value(folder / name)
    return found.get("model", found)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("metric", ["oe", "bkg_c", "mc_disc", "maha", "ada_energy", "ada_maha", "ada_bin_disc"])
def test_every_kind_of_metric_trains(task, tmp_path, metric):
    network, pool, progress = train(task, settings(task, ood_metric=metric, epochs=1), tmp_path, Compute(CPU))
    assert progress.epoch == 1
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert (pool is not None) == ("maha" in metric)
    assert (tmp_path / "id_feats.pth").is_file() == ("maha" in metric)


@pytest.mark.parametrize("kind", ["VOS", "NPOS"])
def test_outliers_made_of_features_train(data, tmp_path, kind):
    task = open_task(Source("cifar10", data, 0.1, "ResNet18", CPU, aux_kind=kind), training=True)
    chosen = settings(task, ood_metric="bin_disc", ood_aux_dataset=kind, aux_ood_loss="pascl", epochs=1)
    _, pool, progress = train(task, chosen, tmp_path, Compute(CPU))
    assert progress.histories["training_losses"][0] > 0
    assert pool.counters.any()


def test_the_pool_is_fed_with_first_views_of_id_images(task, tmp_path, monkeypatch):
    """The published code feeds it with the outliers."""
    seen = []

    def update(self, features, labels):
        seen.append((features.shape[0], labels.clone()))

    monkeypatch.setattr("imood.pool.FeaturePool.update", update)
    train(task, settings(task, ood_metric="maha", epochs=1), tmp_path, Compute(CPU))
    assert seen
    for rows, labels in seen:
        assert rows == 32
        assert torch.equal(labels[:16], labels[16:])


def test_an_epoch_leaves_the_published_files_and_curves(task, tmp_path, drawn):
    chosen = settings(task, ood_metric="maha", aux_ood_loss="pascl", save_epochs=1)
    train(task, chosen, tmp_path, Compute(CPU))
    latest = load_value(tmp_path / "latest.pth")
    assert list(latest) == [
        "model", "optimizer", "scheduler", "epoch", "best_overall_acc", "training_losses", "test_clean_losses", "f1s",
        "overall_accs", "many_accs", "median_accs", "low_accs",
    ]  # fmt: skip
    assert latest["epoch"] == 1
    assert len(latest["f1s"]) == 2
    assert not any(key.startswith("module.") for key in latest["model"])
    assert "cl_loss_weights" in latest["model"]
    assert set(load_value(tmp_path / "epoch0.pth")) == {"model", "optimizer"}
    assert load_value(tmp_path / "id_feats_epoch0.pth").shape == (10, 30, 16)
    for name in ("best_clean_acc.pth", "losses.png", "test_accs.png", "test_f1s.png", "metrics.jsonl", "config.json"):
        assert (tmp_path / name).is_file(), name
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]


def test_the_logs_have_the_published_lines(task, tmp_path):
    train(task, settings(task, epochs=1), tmp_path, Compute(CPU))
    number = r"\d+\.\d{4}"
    train_line = rf"\d\d/\d\d/\d\d \d\d:\d\d:\d\d epoch 0 batch 0 \(train\): loss {number} "
    train_line += rf"\({number}, {number}, {number}\) \| lr \[0.01\]"
    import re

    assert re.fullmatch(train_line, (tmp_path / "train_log.txt").read_text().strip())
    val_line = (
        rf"\S+ \S+ epoch 0 \(test\): ACC {number} \({number}, {number}, {number}\) \| F1 {number} \| time \d+\.\d"
    )
    assert re.fullmatch(val_line, (tmp_path / "val_log.txt").read_text().strip())


def test_one_epoch_leaves_a_best_file_whatever_its_accuracy(task, tmp_path):
    train(task, settings(task, epochs=1), tmp_path, Compute(CPU))
    assert same(weights(tmp_path, "best_clean_acc.pth"), weights(tmp_path))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(task, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(task, settings(task, epochs=1, seed=seed), tmp_path / name, Compute(CPU))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.fixture(scope="module", params=["ada_bin_disc", "ada_maha"])
def whole(request, data, tmp_path_factory):
    """Settings and folder of a run of three epochs that was not stopped."""
    task = open_task(Source("cifar10", data, 0.1, "ResNet18", CPU), training=True)
    chosen = settings(task, ood_metric=request.param, aux_ood_loss="pascl", epochs=3, batch_size=32)
    folder = tmp_path_factory.mktemp("whole")
    train(task, chosen, folder, Compute(CPU))
    return chosen, folder


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_run_stopped_at_any_step_and_resumed_is_the_run_that_was_not(whole, task, tmp_path, monkeypatch, stop_at):
    chosen, count = whole[0], 0
    original = fitting._stopping

    def stopping(stop, step, device):
        nonlocal count
        count += 1
        if count == stop_at:
            stop.tell()
        return original(stop, step, device)

    monkeypatch.setattr(fitting, "_stopping", stopping)
    with pytest.raises(Terminated):
        train(task, chosen, tmp_path / "cut", Compute(CPU))
    train(task, chosen, tmp_path / "cut", Compute(CPU), tmp_path / "cut")
    one, other = (checkpoints.load(folder / "checkpoint.pt") for folder in (whole[1], tmp_path / "cut"))
    assert same(one["network"], other["network"])
    assert one["progress"]["histories"]["training_losses"] == other["progress"]["histories"]["training_losses"]
    if chosen.ood_metric == "ada_maha":
        assert torch.equal(one["pool"]["rows"], other["pool"]["rows"])
        assert torch.equal(one["pool"]["counters"], other["pool"]["counters"])
    for key, state in one["optimizer"]["state"].items():
        assert torch.equal(state["exp_avg"], other["optimizer"]["state"][key]["exp_avg"])


def test_the_published_files_alone_are_enough_for_a_plain_continuation(task, tmp_path, capsys):
    chosen = settings(task, ood_metric="maha", epochs=3)
    train(task, replace(chosen, epochs=2), tmp_path / "first", Compute(CPU))
    (tmp_path / "first" / "checkpoint.pt").unlink()
    _, pool, progress = train(task, chosen, tmp_path / "second", Compute(CPU), tmp_path / "first")
    assert "going on with epoch 2" in capsys.readouterr().out
    assert len(progress.histories["f1s"]) == 3
    assert progress.histories["f1s"][:2] == load_value(tmp_path / "first/latest.pth")["f1s"]
    assert int(pool.counters.sum()) > int((load_value(tmp_path / "first/id_feats.pth") != 0).any(2).sum())
    rows = [json.loads(line) for line in (tmp_path / "second/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["epoch"] == 3
    assert rows[-1]["lr"] == pytest.approx(0.01 * (1 + math.cos(math.pi)) / 2, abs=1e-9)


def test_other_settings_take_over_weights_only_and_say_so(task, tmp_path, capsys):
    train(task, settings(task, epochs=1), tmp_path / "first", Compute(CPU))
    train(task, settings(task, epochs=2, Lambda=0.1), tmp_path / "second", Compute(CPU), tmp_path / "first")
    out = capsys.readouterr().out
    assert "was started with" in out
    assert "only weights" in out


def test_other_settings_before_the_first_whole_epoch_are_refused(task, tmp_path, monkeypatch, capsys):
    """A run that was stopped in it has a checkpoint, and no weights that could be taken over."""
    monkeypatch.setattr(fitting, "_stopping", lambda *_: True)
    with pytest.raises(Terminated):
        train(task, settings(task), tmp_path, Compute(CPU))
    assert (tmp_path / "checkpoint.pt").is_file()
    capsys.readouterr()
    words = (
        r"was started with Lambda = 0\.5, now it is 0\.9, and has no finished epoch .*Resume with the flags of that run"
    )
    with pytest.raises(InputError, match=words):
        train(task, settings(task, Lambda=0.9), tmp_path, Compute(CPU), tmp_path)
    assert "taken over" not in capsys.readouterr().out


def test_an_optimiser_that_does_not_fit_starts_anew_and_says_so(task, tmp_path, capsys):
    """The published code is silent about it."""
    train(task, settings(task, epochs=1), tmp_path / "first", Compute(CPU))
    state = load_value(tmp_path / "first/latest.pth")
    state["optimizer"]["param_groups"][0]["params"] = [0]
    torch.save(state, tmp_path / "first/latest.pth")
    (tmp_path / "first/checkpoint.pt").unlink()
    train(task, settings(task, epochs=2), tmp_path / "second", Compute(CPU), tmp_path / "first")
    assert "the optimizer of" in capsys.readouterr().out


def test_an_empty_folder_is_no_run_to_resume(task, tmp_path):
    with pytest.raises(MissingFileError, match="holds neither"):
        train(task, settings(task), tmp_path / "new", Compute(CPU), tmp_path)


def test_a_checkpoint_of_something_else_is_refused(task, tmp_path):
    train(task, settings(task, epochs=1), tmp_path, Compute(CPU))
    checkpoints.save(tmp_path / "checkpoint.pt", {"network": {}})
    with pytest.raises(InputError, match="lacks `optimizer`"):
        train(task, settings(task, epochs=1), tmp_path, Compute(CPU), tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_epoch(task, tmp_path, monkeypatch):
    original = fitting.training_losses

    def broken(objective, logits, *rest):
        return original(objective, logits * (float("nan") if broken.on else 1), *rest)

    broken.on = False
    monkeypatch.setattr(fitting, "training_losses", broken)
    train(task, settings(task, epochs=1), tmp_path, Compute(CPU))
    before = (tmp_path / "latest.pth").read_bytes()
    broken.on = True
    with pytest.raises(InputError, match=r"loss became nan in epoch 1"):
        train(task, settings(task, epochs=1), tmp_path, Compute(CPU))
    assert (tmp_path / "latest.pth").read_bytes() == before


def test_nothing_is_restored_without_a_folder(task):
    assert restore(None, settings(task), None).epoch == 0


def test_half_precision_and_channels_last_train(task, tmp_path):
    train(task, settings(task, epochs=1, precision="bf16", channels_last=True), tmp_path, Compute(CPU))
    assert all(value.dtype != torch.bfloat16 for value in weights(tmp_path).values())
