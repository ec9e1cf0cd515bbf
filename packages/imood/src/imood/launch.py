"""Several processes for several GPUs (or, on request, on the CPU): who starts them and how they end.

`torchrun` may start them; otherwise `train` starts itself once for each, with the variables that `torchrun` would set.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import torch
import torch.distributed as dist
from ood_shared import distributed
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.signals import Terminated, delayed, status_of, undisturbed

from imood.modes import DIST_URL

PATIENCE = 20.0  # seconds that processes get to end by themselves when another one has failed
SAVING = 60.0  # seconds that they get when they are told to end, for the step under way and a checkpoint
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Processes:
    """The flags that say how many processes there are, and where; see `train.py --help`."""

    device: str = "auto"
    gpu: str | None = None
    ddp: bool = False
    nproc: int | None = None
    ddp_backend: str = "nccl"
    num_nodes: int = 1
    node_id: int = 0
    dist_url: str | None = None


def local_processes(options: Processes, device: torch.device) -> tuple[int, list[str]]:
    """How many processes this machine runs, and the GPUs that they see; (1, []) where nothing needs to be started.

    Args:
        options: of the command.
        device: of the first process, from `device_of`.

    Raises:
        InputError: a GPU that is no number, or several processes without --ddp.
    """
    if (options.nproc or 1) > 1 and not options.ddp:
        raise InputError(f"--nproc {options.nproc} is of --ddp. Pass both, or neither.")
    if device.type != "cuda":
        count = (options.nproc or 1) if options.ddp else 1
        return (count, []) if count * options.num_nodes > 1 else (1, [])
    if options.num_nodes > 1:
        count = torch.cuda.device_count()
        return count, [str(number) for number in range(count)]
    gpus = _gpus_there(options)
    if options.device != "auto" or len(gpus) < 2:
        return 1, []
    if not options.ddp:
        print(f"--gpu {options.gpu}: starting {len(gpus)} processes, as --ddp does.", flush=True)
    return len(gpus), gpus


def device_of(options: Processes) -> torch.device:
    """The device of the first process. Asked once: where a GPU is missing, it prints a warning.

    Of the GPUs of `--gpu` those count that this machine has, so that the documented command for two runs on one.

    Raises:
        InputError: a GPU that is no number, or none that this machine has.
    """
    if options.device != "auto" or not torch.cuda.is_available() or (options.gpu or "").strip() == "cpu":
        return resolve_device(options.device, options.gpu)
    if distributed.launched():  # the launcher has chosen: numbers count among the GPUs that it left visible
        return resolve_device()
    named, there = _gpus_named(options), _gpus_there(options)
    if there and len(there) < len(named):
        print(
            f"warning: --gpu {options.gpu}: this machine has {torch.cuda.device_count()} GPU(s), numbered from 0; "
            f"going on with {', '.join(there)}.",
            file=sys.stderr,
        )
    return resolve_device(options.device, there[0] if there else options.gpu)


def _gpus_named(options: Processes) -> list[str]:
    """The numbers in `--gpu`."""
    gpus = [word.strip() for word in (options.gpu or "").split(",") if word.strip()]
    for gpu in gpus:
        if len(gpus) > 1 and not gpu.isdecimal():
            raise InputError(f"--gpu {options.gpu}: `{gpu}` is not the number of a GPU. Pass e.g. 0,1, or cpu.")
    return gpus


def _gpus_there(options: Processes) -> list[str]:
    """Those of them that this machine has."""
    count = torch.cuda.device_count()
    return [gpu for gpu in _gpus_named(options) if gpu.isdecimal() and int(gpu) < count]


@contextlib.contextmanager
def joined(options: Processes, device: torch.device) -> Iterator[torch.device]:
    """The device of this process, which has joined the others when a launcher started it; `device` is of the first."""
    backend = options.ddp_backend
    if distributed.launched() and device.type == "cuda" and backend != "nccl":
        if backend == "mpi" and not dist.is_mpi_available():
            raise InputError("--ddp_backend mpi: this build of torch has no MPI. Pass nccl or gloo.")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        dist.init_process_group(backend, timeout=distributed.TIMEOUT)
        try:
            yield device
        finally:
            dist.destroy_process_group()
        return
    with distributed.setup(device) as own:
        yield own


def launch(words: Sequence[str], options: Processes, count: int, gpus: Sequence[str]) -> int:
    """Run `imood train` as `count` processes and wait for them.

    Args:
        words: the arguments.
        options: those about processes.
        count: processes on this machine.
        gpus: the GPUs that they see; empty on the CPU.

    Returns:
        0, or the exit status of the process that failed first.
    """
    host, port = _meeting_place(options)
    if options.node_id >= options.num_nodes:
        raise InputError(f"--node_id is {options.node_id} of {options.num_nodes} machines; they count from 0.")
    if options.num_nodes > 1:
        place = f"machine {options.node_id + 1} of {options.num_nodes}"
        print(f"{place}: training begins when all have joined at tcp://{host}:{port}.", file=sys.stderr)
    processes: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as stack:
        logs: list[IO[str] | None] = [None]
        logs += [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(count - 1)]
        for local, log in enumerate(logs):
            variables = {
                "RANK": str(options.node_id * count + local),
                "LOCAL_RANK": str(local),
                "WORLD_SIZE": str(count * options.num_nodes),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": host,
                "MASTER_PORT": str(port),
            }
            if gpus and options.num_nodes == 1:
                variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
            command = [sys.executable, "-m", "imood", "train", *words]
            processes.append(subprocess.Popen(command, env=os.environ | variables, stderr=log, text=True))
        status = _wait(processes)
        for process, log in zip(processes, logs, strict=True):
            if log is not None and process.returncode not in (0, processes[0].returncode):
                log.seek(0)
                print(log.read(), end="", file=sys.stderr)
    return status


def _wait(processes: Sequence["subprocess.Popen[Any]"]) -> int:
    """Wait for all; when one fails, or this one is told to end, the others are told, too."""
    try:
        while True:
            ended = [code for process in processes if (code := status_of(process)) is not None]
            failed = next((code for code in ended if code != 0), 0)
            if failed:
                with delayed():
                    _end(processes, PATIENCE)
                return failed if failed > 0 else 1
            if len(ended) == len(processes):
                return 0
            time.sleep(POLL_SECONDS)
    except (Terminated, KeyboardInterrupt):
        with undisturbed():
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            _end(processes, SAVING)
        raise


def _end(processes: Sequence["subprocess.Popen[Any]"], patience: float) -> None:
    """Wait for all, so many seconds in all; then kill what is left: one that waits for other machines hears nothing."""
    until = time.monotonic() + patience
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, until - time.monotonic()))
        if process.poll() is None:
            process.kill()
            process.wait()


def _meeting_place(options: Processes) -> tuple[str, int]:
    url = options.dist_url or DIST_URL
    address = re.fullmatch(r"tcp://([^:/]+):(\d+)/?", url)
    if address is None or not 0 < int(address[2]) < 65536:
        raise InputError(f"--dist_url is `{url}`; expected tcp://HOST:PORT.")
    if options.dist_url is None and options.num_nodes == 1:  # any free port does on one machine
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return "127.0.0.1", int(probe.getsockname()[1])
    return address[1], int(address[2])


def workers(given: int) -> int:
    """Workers of this process, as the published code divides them; no more than there are cores."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    wanted = given if local == 1 else int((given + local) / local)
    return min(wanted, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else wanted)
