"""Device, precision, compilation and seeding, chosen once per command.

No module of the project names a device of its own: tensors say where the work happens.
"""

import contextlib
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ood_shared.errors import InputError
from ood_shared.process import PRECISIONS

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def resolve_device(name: str = "auto", gpu: str | None = None) -> torch.device:
    """The device that a command runs on.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Anything but `auto` wins over `gpu`.
        gpu: value of an original GPU flag (`0`, `0,1`); its first number counts. Empty or `-1` means CPU. When it names
            a GPU and there is none, the CPU is taken and one warning line says so.

    Raises:
        InputError: `name` is no device, or names one that this machine does not have.
    """
    if name != "auto":
        return _named_device(name)
    if gpu is not None:
        first = gpu.split(",")[0].strip()
        if first in {"", "-1", "cpu"}:
            return torch.device("cpu")
        if not all(word.strip().isdecimal() for word in gpu.split(",") if word.strip()):
            raise InputError(f"GPU `{gpu}` is not a number. Pass e.g. 0, or -1 for the CPU.")
        if not torch.cuda.is_available():
            if torch.backends.mps.is_available():
                return torch.device("mps")
            print(f"warning: GPU {gpu} was asked for, but no GPU is available; running on the CPU.", file=sys.stderr)
            return torch.device("cpu")
        return _named_device(f"cuda:{first}")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def tuned_convolutions(wanted: bool = True) -> Iterator[None]:
    """Inside the block cuDNN tries its algorithms for each shape of input and keeps the fastest; matters on a GPU."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def channels_last_on(device: torch.device) -> bool:
    """Whether networks and images are laid out channels last without being asked: on CUDA, whose tensor cores want it.

    The result differs by rounding. On a CPU a package decides, since its published numbers may depend on it.
    """
    return device.type == "cuda"


def lay_out(network: torch.nn.Module, device: torch.device, wanted: bool = False) -> bool:
    """Lay the weights of a network channels last where that is wanted, or on its device in any case; whether it was."""
    last = wanted or channels_last_on(device)
    if last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return last


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What was made on the CPU, on the device; nothing waits: a GPU fetches it from pinned memory in its turn."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def _named_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device `{name}` is not a device. Pass auto, cpu, cuda, cuda:N or mps.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count == 0:
            raise InputError(f"--device {name}: this machine has no CUDA device. Pass --device cpu.")
        if (device.index or 0) >= count:
            raise InputError(f"--device {name}: this machine has {count} CUDA device(s), numbered from 0.")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps: Metal is not available here. Pass --device cpu.")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise InputError(f"--device `{name}` is not supported. Pass auto, cpu, cuda, cuda:N or mps.")
    return device


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Context in which forward passes run in `precision`; nothing changes for fp32."""
    if precision not in PRECISIONS:
        raise InputError(f"--precision `{precision}` is not known. Known: {', '.join(PRECISIONS)}.")
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def make_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Gradient scaler; it only scales for fp16 and is a pass-through otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def maybe_compile(function: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
    """`torch.compile` of a network's trunk when `--compile` asks for it; without, the function as it is.

    The number of images may change from call to call, as in a last batch or with outliers beside ID images: it is told
    to be dynamic, so that one graph serves all sizes from 2 on. What stays for a graph each is the mode (training or
    evaluation), and whether gradients of weights, of the images or of nothing are wanted.

    Args:
        function: a module or a method, from images (n, …) and perhaps more tensors of n rows to tensors. Losses, draws
            and whatever has shapes that depend on values stay outside.
        enabled: whether to compile.
    """
    if not enabled:
        return function
    compiled = torch.compile(function)
    mark: Callable[[torch.Tensor, int], None] = torch._dynamo.maybe_mark_dynamic

    def call(*rows: torch.Tensor) -> Any:
        for part in rows:
            mark(part, 0)
        return compiled(*rows)

    return call


def seed_everything(seed: int | None) -> int:
    """Seed Python, NumPy and torch from one number, drawn from the system when None, and return that number.

    The global generators serve what takes no generator argument (initialisation, dropout); everything else draws from
    generators made of the returned seed.
    """
    chosen = secrets.randbelow(2**31) if seed is None else seed
    random.seed(chosen)
    np.random.seed(chosen % 2**32)  # noqa: NPY002 - libraries that know no Generator read the global state
    torch.manual_seed(chosen)
    return chosen


def module_device(module: nn.Module) -> torch.device:
    """Where the parameters of a module live."""
    return next(module.parameters()).device


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes: allocated by torch on a CUDA device, else resident set of this process; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
