"""A training run of the VAE or the classifier: what it is made of, where it stands, saving it and going on."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from ood_shared import checkpoints
from ood_shared.runs import CHECKPOINT
from ood_shared.training import load_state, save_state
from torch import Tensor, nn

from oodgen.run_files import RunningMean

PARTS = dict.fromkeys(("network", "optimizer", "scaler", "progress"), Mapping)  # of a checkpoint
OWN = {"batches": Mapping, "noise": Tensor, "rng": Mapping}  # of a checkpoint, this process's own
MODEL = "model.pth"  # of the last epoch, or of the best one where a run stops early

History = list[dict[str, int | float]]  # one record per epoch: epoch, train_loss, vali_loss, accuracies, seconds


@runtime_checkable
class Batches(Protocol):
    """What `fit` needs of a loader: batches, and a position that can be saved."""

    def __iter__(self) -> Any: ...
    def __len__(self) -> int: ...
    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass
class Outcome:
    """Loss of one batch and what it counts for: tensors, so that nothing waits for the device."""

    loss: Tensor
    count: int
    correct: Tensor | None = None  # how many predictions were right


@dataclass
class Job:
    """A training run: what is trained, on what, and where it is written."""

    folder: Path
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: Batches
    step: Callable[[Any], Outcome]  # forward only; the loop does backward and update
    validate: Callable[[], Iterable[Outcome]]
    noise: torch.Generator
    epochs: int
    save_every: int
    log_names: tuple[str, str]  # training log, validation log
    patience: int | None = None  # epochs without a better validation loss before the run ends; then the best is kept


@dataclass
class Progress:
    """Where a run stands."""

    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the epoch that is under way
    history: History = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] | None = None
    stopped_early: bool = False
    loss: RunningMean = field(default_factory=RunningMean)  # of the epoch that is under way
    accuracy: RunningMean = field(default_factory=RunningMean)


def restore(job: Job, resume: bool) -> Progress:
    """Where the run stands: at its checkpoint when it is resumed and has one, else at the start.

    A run that starts anew removes the models of an earlier run in the same folder, so that the two never mix.

    Raises:
        InputError: the checkpoint is damaged, or of something else.
    """
    path = job.folder / CHECKPOINT
    if not resume or not path.is_file():
        for old in [*job.folder.glob("model_*.pth"), job.folder / MODEL, path]:
            old.unlink(missing_ok=True)
        return Progress()
    state, own = load_state(path, PARTS, OWN)
    with checkpoints.restoring(path):
        checkpoints.load_weights(job.network, state["network"], path)
        job.optimizer.load_state_dict(state["optimizer"])
        job.scaler.load_state_dict(state["scaler"])
        job.batches.load_state_dict(own["batches"])
        job.noise.set_state(own["noise"])
        checkpoints.restore_rng_state(own["rng"])
        standing = state["progress"]
        means = {name: RunningMean(**standing[name]) for name in ("loss", "accuracy")}
        return Progress(**{**standing, **means})


def save(job: Job, progress: Progress) -> None:
    """Write the checkpoint."""
    standing = {**vars(progress), "loss": progress.loss.state(), "accuracy": progress.accuracy.state()}
    save_state(
        job.folder / CHECKPOINT,
        {
            "network": job.network.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "scaler": job.scaler.state_dict(),
            "progress": standing,
        },
        {"batches": job.batches.state_dict(), "noise": job.noise.get_state(), "rng": checkpoints.rng_state()},
    )
