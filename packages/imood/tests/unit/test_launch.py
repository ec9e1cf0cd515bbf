"""How many processes the flags ask for, and what becomes of one that fails."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from imood import cli, launch
from ood_shared.errors import InputError
from ood_shared.signals import Terminated, raise_on_sigterm
from ood_shared.testing.commands import ctrl_c_is_heard
from ood_shared.training import settings_from


def options(*flags):
    return settings_from(launch.Processes, cli.train_parser().parse_args(list(flags)))


def processes(given):
    return launch.local_processes(given, launch.device_of(given))


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("ddp", [[], ["--ddp"]])
def test_several_gpus_start_a_process_each_with_or_without_ddp(two_gpus, capsys, ddp):
    """The published code takes the first one without --ddp."""
    assert processes(options("--gpu", "0,1", *ddp)) == (2, ["0", "1"])
    assert ("starting 2 processes" in capsys.readouterr().out) == (not ddp)


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        (["--gpu", "1"], 1),
        (["--gpu", "0", "--ddp"], 1),
        (["--gpu", "0,1", "--device", "cuda:1"], 1),
        (["--gpu", "cpu", "--ddp", "--nproc", "3"], 3),
        (["--gpu", "cpu", "--nproc", "1"], 1),
        (["--gpu", "cpu", "--ddp"], 1),
        (["--gpu", "0", "--num_nodes", "2"], 2),
    ],
)
def test_processes_follow_the_flags(two_gpus, flags, count):
    assert processes(options(*flags))[0] == count


def test_several_processes_without_ddp_are_refused(two_gpus):
    with pytest.raises(InputError, match=r"--nproc 3 is of --ddp\. Pass both, or neither\."):
        processes(options("--gpu", "cpu", "--nproc", "3"))


@pytest.mark.parametrize(
    ("gpus", "device", "started"), [("0,5", 0, (1, [])), ("5,1", 1, (1, [])), ("0,1,2", 0, (2, ["0", "1"]))]
)
def test_gpus_that_are_not_there_are_left_out_with_one_warning(two_gpus, capsys, gpus, device, started):
    """The documented command for two GPUs runs where there is one, as the published code runs on what is visible."""
    given = options("--gpu", gpus, "--ddp")
    found = launch.device_of(given)
    assert found == torch.device("cuda", device)
    assert launch.local_processes(given, found) == started
    assert capsys.readouterr().err.count(f"warning: --gpu {gpus}: this machine has 2 GPU(s)") == 1


@pytest.mark.parametrize(("gpus", "words"), [("5", "2 CUDA device"), ("5,6", "2 CUDA device"), ("0,x", "`x`")])
def test_no_gpu_that_is_there_is_an_error(two_gpus, gpus, words):
    with pytest.raises(InputError, match=words):
        processes(options("--gpu", gpus))


def test_a_started_process_counts_among_the_gpus_that_its_launcher_left_visible(two_gpus, monkeypatch, capsys):
    """`--gpu 2,3` gives each process CUDA_VISIBLE_DEVICES=2,3, which are 0 and 1 there."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.device_of(options("--gpu", "2,3")) == torch.device("cuda", 0)
    assert not capsys.readouterr().err


def test_several_gpus_without_any_fall_back_to_one_process_on_the_cpu(capsys):
    assert processes(options("--gpu", "0,1", "--ddp"))[0] == 1
    assert capsys.readouterr().err.count("warning") == 1


def test_a_process_that_fails_ends_the_others(monkeypatch):
    monkeypatch.setattr(launch, "PATIENCE", 0.1)
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    assert launch._wait([waiting, failing]) == 2
    assert waiting.returncode is not None


@pytest.mark.parametrize(
    ("status", "told"), [("0", ["line of 0"]), ("2", ["line of 0"]), ("2 * rank", ["line of 0", "line of 1"])]
)
def test_an_error_in_all_processes_is_one_line(monkeypatch, capfd, status, told):
    """Of the first process; another one's is told where it ended otherwise."""
    code = "import os, sys; rank = int(os.environ['RANK']); print('line of', rank, file=sys.stderr); "
    real, program, started = subprocess.Popen, [sys.executable, "-c", f"{code}sys.exit({status})"], []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **kw: started.append(command) or real(program, **kw))
    found = launch.launch(["-e", "1"], options("--gpu", "cpu", "--ddp", "--nproc", "2"), 2, [])
    assert started == [[sys.executable, "-m", "imood", "train", "-e", "1"]] * 2
    assert (found, capfd.readouterr().err.splitlines()) == (0 if status == "0" else 2, told)


def test_the_meeting_place_is_the_given_one_or_a_free_port():
    assert launch._meeting_place(options("--dist_url", "tcp://host:1234")) == ("host", 1234)
    host, port = launch._meeting_place(options())
    assert host == "127.0.0.1"
    assert port > 0
    assert launch._meeting_place(options("--num_nodes", "2")) == ("localhost", 23456)


class Child:
    """A process during whose wait SIGTERM arrives."""

    returncode, whole, sent = None, False, None

    def wait(self, timeout):
        self.returncode = -signal.SIGTERM
        return self.returncode

    def poll(self):
        if not self.whole:
            os.kill(os.getpid(), self.number)
            self.whole = True
        return self.returncode

    def send_signal(self, number):
        self.sent = number


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_is_heard_between_two_looks_and_handed_on(number, raised):
    child = Child()
    child.number = number
    with ctrl_c_is_heard(), raise_on_sigterm(), pytest.raises(raised):
        launch._wait([child])
    assert child.whole
    assert child.sent == signal.SIGTERM


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def test_a_process_that_does_not_hear_sigterm_is_killed_in_the_end(monkeypatch):
    """As one that waits for another machine, inside of torch."""
    monkeypatch.setattr(launch, "SAVING", 0.2)
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"deaf\n"
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with raise_on_sigterm(), process.stdout, pytest.raises(Terminated):
        launch._wait([process])
    assert process.returncode == -signal.SIGKILL


def test_several_machines_are_waited_for_in_a_line(capsys, monkeypatch):
    monkeypatch.setattr(launch, "_wait", lambda processes: [process.kill() for process in processes] and 0)
    given = options("--gpu", "cpu", "--num_nodes", "2", "--dist_url", "tcp://127.0.0.1:4711")
    assert launch.launch([], given, 1, []) == 0
    line = "machine 1 of 2: training begins when all have joined at tcp://127.0.0.1:4711.\n"
    assert capsys.readouterr().err == line
