"""What goes wrong on the way: a loss that is no number, a disk that is full, a folder that cannot be written."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from ood_shared import checkpoints
from ood_shared.results import record
from ood_shared.testing.commands import ctrl_c_is_heard
from oodgen import train as training
from oodgen.data import folders

ID = "./data/train/mnist"


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def hidden():
    return [path for path in Path().rglob(".*") if path.name not in {".", ".."}]


@pytest.mark.parametrize("step", ["train_vae", "train_classi"])
def test_a_loss_that_is_no_number_in_the_first_epoch_ends_the_run_without_a_model(trained, run, step):
    folder = Path("other", "vae" if step == "train_vae" else "classifer")
    flags = ("--opt", "rmsprop") if step == "train_vae" else ("--opt", "sgd")
    line = run(step, "--save_path", "other", "--lr", "1e30", "--batch_size", "12", "--epochs", "3", *flags).error
    assert "loss became nan in epoch 1. Lower --lr; no epoch was finished." in line
    assert names(folder) == ["config.json", "configuration.json", "metrics.jsonl"]


def test_a_loss_that_is_no_number_later_keeps_the_last_checkpoint(trained, run, monkeypatch):
    elbo, calls = training.elbo_loss, []

    def spoilt(*args):
        calls.append(1)
        return elbo(*args) * (float("nan") if len(calls) > 8 else 1.0)  # 3 steps and 1 validation an epoch

    monkeypatch.setattr(training, "elbo_loss", spoilt)
    line = run("train_vae", "--epochs", "4", "--batch_size", "12", "--save_path", "other", "--seed", "1").error
    assert "The training loss became nan in epoch 3. Lower --lr; the checkpoint of epoch 2 is kept." in line
    assert checkpoints.load(Path("other/vae/checkpoint.pt"))["progress"]["epoch"] == 2
    last, of_epoch = (checkpoints.load(Path("other/vae", name)) for name in ("model.pth", "model_2.pth"))
    assert all(torch.equal(last[key], of_epoch[key]) for key in last)
    assert not Path("other/vae/model_3.pth").exists()


@pytest.mark.parametrize("name", ["model_2.pth", "model.pth", "checkpoint.pt"])
def test_a_disk_that_fills_up_in_training_leaves_whole_files_and_a_run_that_can_go_on(
    place, run, done, monkeypatch, name
):
    save, flags = torch.save, ("train_vae", "--epochs", "2", "--batch_size", "12", "--seed", "1")
    done(*flags, "--save_path", "whole")

    def fills_up(state, file, *args, **kwargs):
        path = Path(file.name)
        if path.name.startswith(f".{Path(name).stem}.") and Path("cut/vae/model_1.pth").is_file():
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(state, file, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fills_up)
        line = run(*flags, "--save_path", "cut").error
    assert line == f"train_vae.py: error: cut/vae/{name}: No space left on device. Make room and run again."
    assert hidden() == []
    for path in Path("cut/vae").glob("*.p*t*"):
        assert checkpoints.load(path)
    done(*flags, "--save_path", "cut", "--resume")
    cut, whole = (checkpoints.load(Path(root, "vae/model.pth")) for root in ("cut", "whole"))
    assert all(torch.equal(cut[key], whole[key]) for key in whole)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a POSIX matter")
def test_a_write_that_the_system_really_refuses_is_one_line(place, start):
    """A limit on the size of files, which the logs stay below and the weights do not."""
    limited = Path("limited.py")
    limited.write_text(
        "import resource, sys\n"
        "from oodgen.cli import train_vae_main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "sys.exit(train_vae_main())\n"
    )
    process = start(str(limited.resolve()), "--epochs", "2")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == "train_vae.py: error: result/vae/model_1.pth: File too large. Make room and run again.\n"
    assert names("result/vae") == ["config.json", "configuration.json", "metrics.jsonl"]


def test_a_disk_that_fills_up_while_outliers_are_written_leaves_the_old_ones(trained, run, monkeypatch):
    before = {path.name: path.read_bytes() for path in Path(ID, "ood", "train").iterdir()}
    write = folders.write_png

    def fills_up(path, image):
        if path.name == "000020_2.png":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, image)

    monkeypatch.setattr(folders, "write_png", fills_up)
    assert "No space left on device. Make room and run again." in run("gen_ood").error
    assert {path.name: path.read_bytes() for path in Path(ID, "ood", "train").iterdir()} == before
    assert hidden() == []


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_outliers_are_written_leaves_the_old_ones(trained, run, monkeypatch, sent, status):
    before = {path.name: path.read_bytes() for path in Path(ID, "ood", "train").iterdir()}
    write = folders.write_png

    def interrupted(path, image):
        if path.name == "000020_2.png":
            os.kill(os.getpid(), sent)
        write(path, image)

    monkeypatch.setattr(folders, "write_png", interrupted)
    with ctrl_c_is_heard():
        found = run("gen_ood")
    assert (found.status, len(found.err.splitlines())) == (status, 1)
    assert {path.name: path.read_bytes() for path in Path(ID, "ood", "train").iterdir()} == before
    assert hidden() == []


def test_a_disk_that_fills_up_while_results_are_written_leaves_none_that_looks_complete(trained, run, monkeypatch):
    def fills_up(file, **arrays):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record.np, "savez_compressed", fills_up)
    assert "result/scores.npz: No space left on device. Make room and run again." in run("test").error
    assert names("result") == ["auroc.log", "classifer", "vae"]


@pytest.mark.parametrize(
    "words",
    [
        ("train_vae", "--epochs", "1", "--save_path", "file"),
        ("train_vae", "--epochs", "1", "--save_path", "file/deeper"),
        ("train_vae", "--epochs", "1", "--output-dir", "file"),
        ("train_classi", "--epochs", "1", "--output-dir", "file"),
        ("test", "--save_path", "file"),
        ("test", "--output-dir", "file/deeper"),
    ],
)
def test_a_file_where_the_results_should_go_is_named(trained, refused, words):
    Path("file").write_text("in the way")
    line = refused(*words)
    assert ": error: file" in line
    assert line.endswith("A folder is needed there; move the file away or choose another path.")


def test_a_file_where_the_outliers_should_go_is_named(trained, refused):
    folder = Path(ID, "ood", "train")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert "ood/train is a file; the outliers go into a folder of that name. Move the file away." in refused("gen_ood")


def test_a_folder_that_must_not_be_written_is_named(trained, run, monkeypatch):
    def forbidden(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    line = run("train_vae", "--epochs", "1", "--save_path", "other").error
    assert line.endswith("other/vae: Permission denied. Choose another path, or change its permissions.")


def test_the_traceback_is_shown_on_request_only(place, run):
    assert run("train_vae", "--in_data", "nowhere", "--debug").err.startswith("Traceback")
