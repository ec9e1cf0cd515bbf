"""A training run: what it is made of, where it stands, saving it and going on.

Beside the two checkpoints of the original (three keys each: `epoch`, `optimizer`, `state_dict`) a run keeps
`checkpoint.pt` with everything that decides the rest: queues, scheduler, positions and generators, for each process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from ood_shared import checkpoints
from ood_shared.loaders import DeviceLoader
from ood_shared.runs import CHECKPOINT
from ood_shared.training import load_state, save_state
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from know_your_space.data.outlier_batches import OutlierStream
from know_your_space.schedule import FACTOR, PATIENCE
from know_your_space.settings import TrainSettings
from know_your_space.step import Step
from know_your_space.validation import Validation

PARTS = {  # of a checkpoint
    **dict.fromkeys(("network", "optimizer", "scaler", "scheduler", "queue", "progress"), Mapping),
    "jittered": Tensor,
}
OWN = {  # of a checkpoint, each rank's
    **dict.fromkeys(("loader", "rng", "buffers", "epoch"), Mapping),
    "outliers": (Mapping, type(None)),
    "generator": Tensor,
}
OF_THE_EPOCH = ("losses", "probabilities", "labels")  # of `Progress`: what each rank has seen in the epoch under way


@dataclass
class Progress:
    """Where a run stands; plain values and tensors."""

    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the epoch that is under way
    first_epoch: int = 1  # whose learning rate is `lr`
    lr: float = 1e-3
    best_accuracy: float = -1.0
    margin_since: list[int] | None = None  # epoch and batch of the first margin loss
    losses: list[Tensor] = field(default_factory=list)  # of the epoch under way: (ce, inliers, outliers, total)
    probabilities: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)


@dataclass
class Job:
    """A training run: what is trained, on what, and where it is written."""

    settings: TrainSettings
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: Step
    loader: DeviceLoader
    outliers: OutlierStream | None
    validate: Callable[[], Validation]
    folder: Path  # of the run's own files
    best: Path
    last: Path
    drawn: int  # ID images of an epoch, over all ranks
    print_freq: int = 10
    plateau: ReduceLROnPlateau = field(init=False)

    def __post_init__(self) -> None:
        self.plateau = ReduceLROnPlateau(self.optimizer, factor=FACTOR, patience=PATIENCE)


def save(job: Job, progress: Progress) -> None:
    """Write `checkpoint.pt`: the common state once, the generators and positions of every rank."""
    own = {
        "loader": job.loader.state_dict(),
        "outliers": None if job.outliers is None else job.outliers.state_dict(),
        "generator": job.step.generator.get_state(),
        "rng": checkpoints.rng_state(),
        "buffers": {name: value.cpu() for name, value in job.network.named_buffers()},
        "epoch": {name: [part.cpu() for part in getattr(progress, name)] for name in OF_THE_EPOCH},
    }
    standing = {
        name: value for name, value in vars(progress).items() if name not in ("losses", "probabilities", "labels")
    }
    save_state(
        job.folder / CHECKPOINT,
        {
            "network": job.network.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "scaler": job.scaler.state_dict(),
            "scheduler": job.plateau.state_dict(),
            "queue": job.step.queue.state_dict(),
            "jittered": job.step.jittered,
            "progress": standing,
        },
        own,
    )


def restore(job: Job, path: Path) -> Progress:
    """Put the job where `checkpoint.pt` left it.

    Raises:
        InputError: the file is damaged, of something else, or of another number of processes.
    """
    state, own = load_state(path, PARTS, OWN, "pass --restart.")
    with checkpoints.restoring(path, "pass --restart."):
        checkpoints.load_weights(job.network, state["network"], path)
        job.optimizer.load_state_dict(state["optimizer"])
        job.scaler.load_state_dict(state["scaler"])
        job.plateau.load_state_dict(state["scheduler"])
        job.step.queue.load_state_dict(state["queue"])
        job.step.jittered.copy_(state["jittered"])
        job.loader.load_state_dict(own["loader"])
        if job.outliers is not None:
            job.outliers.load_state_dict(own["outliers"])
        job.step.generator.set_state(own["generator"])
        for name, buffer in job.network.named_buffers():
            buffer.copy_(own["buffers"][name])
        checkpoints.restore_rng_state(own["rng"])
        device = job.step.weights.device
        progress = Progress(**state["progress"])
        for name in OF_THE_EPOCH:
            setattr(progress, name, [part.to(device) for part in own["epoch"][name]])
        return progress


def restore_three_keys(job: Job, path: Path) -> Progress:
    """Go on from a checkpoint of the original: weights, Adam's state and the epoch; the rest starts anew.

    Raises:
        InputError: a key is missing, or the weights do not fit.
    """
    advice = "pass --restart."
    state = checkpoints.load_parts(path, {"epoch": int, "optimizer": Mapping, "state_dict": Mapping}, advice)
    with checkpoints.restoring(path, advice):
        checkpoints.load_weights(job.network, checkpoints.weights_in(state["state_dict"], path), path)
        job.optimizer.load_state_dict(state["optimizer"])
    first = int(state["epoch"])
    return Progress(epoch=first - 1, first_epoch=first, lr=float(job.optimizer.param_groups[0]["lr"]))
