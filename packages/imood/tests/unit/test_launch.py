"""How many processes the flags ask for, and what becomes of one that fails."""

import subprocess
import sys

import pytest
import torch
from imood import cli, launch
from ood_shared.errors import InputError


def options(*flags):
    return cli.train_parser().parse_args(list(flags))


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("ddp", [[], ["--ddp"]])
def test_several_gpus_start_a_process_each_with_or_without_ddp(two_gpus, capsys, ddp):
    """The published code takes the first one without --ddp."""
    assert launch.local_processes(options("--gpu", "0,1", *ddp)) == (2, ["0", "1"])
    assert ("starting 2 processes" in capsys.readouterr().out) == (not ddp)


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (["--gpu", "1"], 1),
        (["--gpu", "0", "--ddp"], 1),
        (["--gpu", "0,1", "--device", "cuda:1"], 1),
        (["--gpu", "cpu", "--ddp", "--nproc", "3"], 3),
        (["--gpu", "cpu", "--nproc", "3"], 1),
        (["--gpu", "cpu", "--ddp"], 1),
        (["--gpu", "0", "--num_nodes", "2"], 2),
    ],
)
def test_processes_follow_the_flags(two_gpus, flags, count):
    assert launch.local_processes(options(*flags))[0] == count


def test_a_gpu_that_is_not_there_is_refused(two_gpus):
    with pytest.raises(InputError, match=r"--gpu 5: this machine has 2 GPU"):
        launch.local_processes(options("--gpu", "0,5"))


def test_several_gpus_without_any_fall_back_to_one_process_on_the_cpu(capsys):
    assert launch.local_processes(options("--gpu", "0,1", "--ddp"))[0] == 1
    assert capsys.readouterr().err.count("warning") == 1


def test_a_process_that_fails_ends_the_others(monkeypatch):
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    assert launch._wait([waiting, failing]) == 2
    assert waiting.returncode is not None


def test_the_meeting_place_is_the_given_one_or_a_free_port():
    assert launch._meeting_place(options("--dist_url", "tcp://host:1234")) == ("host", 1234)
    host, port = launch._meeting_place(options())
    assert host == "127.0.0.1"
    assert port > 0
    assert launch._meeting_place(options("--num_nodes", "2")) == ("localhost", 23456)
