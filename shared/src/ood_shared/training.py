"""What every training does and no paper mentions: how it computes, an optimizer step, saving and going on.

    compute = Compute.from_options(options)
    update(network, optimizer, scaler, loss)
    pace = Pace(progress.epoch)               # of writing: see there
    save_state(path, common, own)             # once for all ranks; `own` is gathered from each
    common, own = load_state(path, PARTS, OWN)

One policy for ranks: a checkpoint goes on with as many processes as wrote it. Their draws and their parts of the data
follow from their number, so that another number would be another run; it is refused with one line.
"""

import argparse
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ood_shared import checkpoints, distributed
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError

Settings = TypeVar("Settings")
RANKS = "ranks"  # in a checkpoint: what is each rank's own, by rank
SAVE_EVERY = 60.0  # seconds: a kill costs a minute at most, and 300 MiB are written in about 1 % of it


@dataclass(frozen=True)
class Compute:
    """How a run computes; its weights do not depend on it beyond rounding.

    Attributes:
        device: of this process.
        precision: `fp32`, `bf16` or `fp16`, of the passes through networks.
        compile: whether networks are compiled.
        log_to: `jsonl` or `tensorboard`.
        resume: whether a run in the folder is continued.
        data_dir: where named sets are kept; None for the default.
    """

    device: torch.device
    precision: str = "fp32"
    compile: bool = False
    log_to: str = "jsonl"
    resume: bool = False
    data_dir: str | None = None

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "Compute":
        """Of the flags that all commands share (`ood_shared.cli.add_shared_flags`); absent ones keep their default."""
        flags = [flag for flag in fields(cls) if flag.name != "device"]
        given: dict[str, Any] = {flag.name: getattr(options, flag.name, flag.default) for flag in flags}
        return cls(resolve_device(options.device), **given)


def settings_from(kind: type[Settings], options: argparse.Namespace, **others: Any) -> Settings:
    """A dataclass whose fields are the flags of the same names.

    Args:
        kind: the dataclass; a field without a flag and not among `others` keeps its default.
        options: parsed flags.
        others: fields that are not, or not as they are, flags.
    """
    names = {name.name for name in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in vars(options).items() if name in names} | others)


def update(network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: Tensor) -> None:
    """One optimizer step on a loss, with the gradients averaged over the ranks."""
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    distributed.average_gradients(network)
    scaler.step(optimizer)
    scaler.update()


class Pace:
    """When a run whose state is large writes it: not after every epoch, where epochs are short.

    It is written after the first epoch of a process, so that a run that is killed again and again gets on; then after
    epochs that end `SAVE_EVERY` seconds or more after the last writing; after the last epoch; and where the run is
    stopped.

    Args:
        epoch: finished epochs of the state that is on disk; 0 when there is none.

    Attributes:
        epoch: likewise, now.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch, self._wrote = epoch, -math.inf

    def due(self, device: torch.device, now: bool = False) -> bool:
        """Whether to write after this epoch; all ranks have to ask, and get one answer.

        Args:
            device: of this rank.
            now: write in any case.
        """
        return distributed.on_any_rank(now or time.monotonic() >= self._wrote + SAVE_EVERY, device)

    def wrote(self, epoch: int) -> None:
        """Take note that the state after so many epochs is on disk."""
        self.epoch, self._wrote = epoch, time.monotonic()


def save_state(path: Path, common: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Write a checkpoint, atomically. Every rank has to call it; rank 0 writes.

    Args:
        path: of the file.
        common: what is the same on all ranks; taken from rank 0.
        own: generators, positions in the data and whatever else differs by rank.
    """
    ranks = distributed.gather_objects(dict(own))
    if distributed.is_main():
        checkpoints.save(path, {**common, RANKS: ranks})


def load_state(
    path: Path, parts: Collection[str], own_parts: Collection[str], advice: str = "Start anew without --resume."
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The common part of a checkpoint, and what is this rank's own.

    A checkpoint of a single process from before there were `ranks` holds its own parts beside the common ones.

    Args:
        path: of the file.
        parts: names in the common part; a mapping gives the kind of each.
        own_parts: names in each rank's own, likewise.
        advice: what to do about a file that cannot be used.

    Raises:
        MissingFileError: the file is not there.
        InputError: the file is damaged, lacks a part or has one of another kind, or was written by another number of
            processes.
    """
    state = checkpoints.load(path)
    if RANKS not in state:
        state[RANKS] = [{name: state[name] for name in own_parts if name in state}]
    checkpoints.of_kinds(state, {RANKS: list}, path, advice)
    refuse_other_ranks(path, len(state[RANKS]), advice)
    own = state[RANKS][distributed.rank()]
    for names, where in ((parts, state), (own_parts, own)):
        checkpoints.of_kinds(where, names, path, advice)
    return state, dict(own)


def refuse_other_ranks(path: Path, written_by: int, advice: str) -> None:
    """The policy for ranks.

    Raises:
        InputError: another number of processes than wrote the checkpoint.
    """
    now = distributed.world_size()
    if written_by != now:
        were = "1 process" if written_by == 1 else f"{written_by} processes"
        raise InputError(
            f"{path} was written by {were}, now {'there is 1' if now == 1 else f'there are {now}'}. "
            f"Resume with --nproc-per-node {written_by}, or: {advice}"
        )
