"""Where a training stands, and how it is saved and restored to the bit, at any batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.runs import CHECKPOINT
from ood_shared.training import RANKS, load_state, refuse_other_ranks, save_state
from torch import Tensor, nn

from ascood.data.loading import TrainBatches
from ascood.objectives import Objective

PARTS = dict.fromkeys(("network", "optimizer", "scaler", "progress"), Mapping)  # of a checkpoint, common to all ranks
OWN = {"batches": Mapping, "outliers": (Mapping, type(None)), "noise": Tensor, "rng": Mapping}  # each rank's own
ADVICE = "Start anew without --resume."


@dataclass
class Job:
    """A training run: what is trained, on what, and where it is written."""

    folder: Path
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: TrainBatches
    outliers: TrainBatches | None
    objective: Objective
    validate: Callable[[], tuple[float, float]]  # loss and accuracy on the validation set
    noise: torch.Generator
    epochs: int
    lr: float
    keep_all: bool = False
    images: int | None = None  # of an epoch, over all ranks, for the records


@dataclass
class Standing:
    """Where a run stands."""

    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the epoch that is under way
    step: int = 0  # finished optimizer steps
    smoothed: Tensor | None = None  # training loss of the epoch that is under way
    best_accuracy: float = 0.0
    best_epoch: int = 0
    last_accuracy: float = 0.0
    seconds: float = 0.0
    step_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def save(job: Job, standing: Standing) -> None:
    """Write the checkpoint. Every rank has to call it.

    Between the epochs' ends batch statistics and the smoothed loss are each rank's own, as the draws always are.
    """
    common = {
        "network": job.network.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "scaler": job.scaler.state_dict(),
        "progress": vars(standing),
    }
    own = {
        "batches": job.batches.state_dict(),
        "outliers": None if job.outliers is None else job.outliers.state_dict(),
        "noise": job.noise.get_state(),
        "rng": checkpoints.rng_state(),
    }
    if distributed.world_size() > 1:
        buffers = {name: buffer.cpu() for name, buffer in job.network.named_buffers()}
        own |= {"buffers": buffers, "smoothed": None if standing.smoothed is None else standing.smoothed.cpu()}
    save_state(job.folder / CHECKPOINT, common, own)
    if distributed.is_main():
        for old in _other_ranks(job.folder):
            old.unlink()


def restore(job: Job, resume: bool) -> Standing:
    """Where the run stands: at its checkpoint when it is resumed and has one, else at the start.

    Raises:
        InputError: the checkpoint is damaged, of something else, or of another number of processes.
    """
    path = job.folder / CHECKPOINT
    if not resume or not path.is_file():
        return Standing()
    common, own = _load_old(job.folder) if _other_ranks(job.folder) else load_state(path, PARTS, OWN, ADVICE)
    with checkpoints.restoring(path, ADVICE):
        checkpoints.load_weights(job.network, common["network"] | own.get("buffers", {}), path)
        job.optimizer.load_state_dict(common["optimizer"])
        job.scaler.load_state_dict(common["scaler"])
        job.batches.load_state_dict(own["batches"])
        if job.outliers is not None and own["outliers"] is not None:
            job.outliers.load_state_dict(own["outliers"])
        job.noise.set_state(own["noise"])
        checkpoints.restore_rng_state(own["rng"])
        standing = Standing(**common["progress"])
        if own.get("smoothed") is not None:
            standing.smoothed = own["smoothed"]
        return standing


def _load_old(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checkpoint of several processes in the form that each rank wrote a file of its own."""
    path, others = folder / CHECKPOINT, _other_ranks(folder)
    if RANKS in checkpoints.load(path):  # a newer one; the others were about to be removed
        return load_state(path, PARTS, OWN, ADVICE)
    refuse_other_ranks(path, 1 + len(others), ADVICE)
    rank = distributed.rank()
    state = checkpoints.load_parts(path if rank == 0 else folder / _name(rank), PARTS | OWN, ADVICE)
    return state, state


def _other_ranks(folder: Path) -> list[Path]:
    return sorted(folder.glob(_name("*")))


def _name(rank: int | str) -> str:
    return f"checkpoint_rank{rank}.pt"
