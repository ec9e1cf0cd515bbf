"""Where a run stands: saved at the pace of `ood_shared.training.Pace` and on SIGTERM, and gone on with.

To the bit from the full checkpoint, or plainly from the published files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError, MissingFileError
from ood_shared.runs import CHECKPOINT, read_settings
from ood_shared.training import RANKS, load_state, save_state
from torch import Tensor

from imood.checkpoints import LATEST, load_into, read_features
from imood.data.batches import Feed
from imood.data.inputs import Inputs
from imood.losses import Objective
from imood.networks import Network
from imood.outliers import Outliers
from imood.passes import Validation
from imood.pool import FeaturePool
from imood.settings import MAY_DIFFER, Settings

COMMON = {  # parts of the checkpoint
    **dict.fromkeys(("network", "optimizer", "scheduler", "scaler", "progress"), Mapping),
    "pool": (Mapping, type(None)),
    "seed": int,
}
OWN = {"rng": Mapping}  # of each rank
ADVICE = "Delete it, or start anew."
DETECTOR = "detector"  # part that a detector needs beyond weights and config.json; older runs lack it
HISTORIES = ("training_losses", "test_clean_losses", "f1s", "overall_accs", "many_accs", "median_accs", "low_accs")


@dataclass
class Progress:
    """Where a run stands."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch that is under way
    best_overall_acc: float = 0.0
    best_written: bool = False
    histories: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORIES})
    loss_sum: float = 0.0  # of the finished steps of the epoch that is under way
    seconds: float = 0.0  # spent on the epoch that is under way before the run was stopped


@dataclass
class Job:
    """A training run: what is trained, on what, and where it is written."""

    folder: Path
    network: Network
    forward: Callable[[Tensor], tuple[Tensor, Tensor]]  # the network, compiled when that is asked for
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    feed: Feed
    objective: Objective
    adjustment: Float[Tensor, "1 columns"]
    weight: float  # Lambda
    aux_weight: float  # Lambda2
    pool: FeaturePool | None
    synthetic: Outliers | None
    validate: Callable[[], Validation]
    epochs: int
    save_epochs: int
    precision: str
    channels_last: bool
    seed: int
    show_groups: bool  # draw the curves of the three groups
    inputs: Inputs  # of a detector that is made of the run
    score: str | None = None  # the detector's; None: as the test command chooses

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.adjustment.device


def save(job: Job, progress: Progress) -> None:
    """Write the checkpoint from which a run continues to the bit. Every rank has to call it."""
    common = {
        "network": job.network.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "scheduler": job.scheduler.state_dict(),
        "scaler": job.scaler.state_dict(),
        "pool": None if job.pool is None else job.pool.state_dict(),
        "progress": dict(vars(progress)),
        "seed": job.seed,
        DETECTOR: {**job.inputs.record(), "score": job.score},
    }
    save_state(job.folder / CHECKPOINT, common, {"rng": checkpoints.rng_state()})


def saved_seed(folder: Path | None) -> int | None:
    """The seed of the run in a folder, when its full checkpoint is there."""
    if folder is None or not (folder / CHECKPOINT).is_file():
        return None
    seed = read_settings(folder).get("seed")
    return seed if isinstance(seed, int) else None


def restore(job: Job, settings: Settings, folder: Path | None) -> Progress:
    """Where the run stands: at the start without a folder, else where the run in it was left.

    With the settings of that run its full checkpoint is taken, and the run goes on to the bit. With other ones, or
    with `latest.pth` (and `id_feats.pth`) alone, weights, optimiser, histories and pool are taken over from the last
    whole epoch; what does not fit is said.

    Raises:
        MissingFileError: the folder holds neither.
        InputError: the file is damaged, does not fit the network, or has no whole epoch for other settings.
    """
    if folder is None:
        return Progress()
    if (folder / CHECKPOINT).is_file():
        other = _difference(folder, settings)
        if other is None:
            return _restore_all(job, folder / CHECKPOINT)
        if not (folder / LATEST).is_file():
            raise InputError(
                f"--resume: {folder} was started with {other}, and has no finished epoch whose weights could be taken "
                f"over ({LATEST}). Resume with the flags of that run, or name another folder without --resume."
            )
        _say(f"--resume: {folder} was started with {other}; only weights, optimiser and histories are taken over.")
    return _restore_published(job, folder, len(settings.counts))


def _restore_all(job: Job, path: Path) -> Progress:
    state, own = _read(path)
    with checkpoints.restoring(path, ADVICE):
        if "cl_loss_weights" in state["network"] and "cl_loss_weights" not in job.network.state_dict():
            job.network.register_buffer("cl_loss_weights", state["network"]["cl_loss_weights"].to(job.device))
        checkpoints.load_weights(job.network, state["network"], path)
        job.optimizer.load_state_dict(state["optimizer"])
        job.scheduler.load_state_dict(state["scheduler"])
        job.scaler.load_state_dict(state["scaler"])
        if job.pool is not None and state["pool"] is not None:
            job.pool.load_state_dict(state["pool"])
        checkpoints.restore_rng_state(own["rng"])
        return Progress(**state["progress"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The common part of the checkpoint and what is this rank's own.

    Several processes of an earlier version left what a single one left. Nothing of theirs differed, and how many they
    were is not written: any number goes on.
    """
    if distributed.world_size() > 1:
        state = checkpoints.load_parts(path, COMMON, ADVICE)
        if RANKS not in state:
            return state, state
    return load_state(path, COMMON, OWN, ADVICE)


def _restore_published(job: Job, folder: Path, n_classes: int) -> Progress:
    path = folder / LATEST
    if not path.is_file():
        raise MissingFileError(f"--resume: {folder} holds neither {CHECKPOINT} nor {LATEST}. Name the folder of a run.")
    state = checkpoints.load(path)
    for line in load_into(job.network, checkpoints.weights_in(state, path), path, n_classes):
        _say(line)
    for name, target in (("optimizer", job.optimizer), ("scheduler", job.scheduler)):
        try:
            if name == "optimizer":
                target.load_state_dict(state[name])
        except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            _say(f"--resume: the {name} of {path} does not fit ({type(error).__name__}); it starts anew.")
    epoch = state.get("epoch")
    if not isinstance(epoch, int) or epoch < -1:
        raise InputError(f"{path} does not say after which epoch it was written.")
    _set_epoch(job, epoch + 1)
    if job.pool is not None:
        _restore_pool(job, folder)
    with checkpoints.restoring(path, ADVICE):
        histories = {name: [float(value) for value in state.get(name, [])] for name in HISTORIES}
        best = float(state.get("best_overall_acc", 0.0))
    _say(f"--resume: going on with epoch {epoch + 1} from {path}.")
    return Progress(epoch=epoch + 1, best_overall_acc=best, histories=histories)


def _set_epoch(job: Job, epoch: int) -> None:
    """The learning rate of an epoch, which is a function of its number."""
    scheduler: Any = job.scheduler
    scheduler.last_epoch = epoch
    rates = [base * factor(epoch) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, base, rate in zip(job.optimizer.param_groups, scheduler.base_lrs, rates, strict=True):
        group["initial_lr"], group["lr"] = base, rate
    scheduler._last_lr = rates


def _restore_pool(job: Job, folder: Path) -> None:
    stored = read_features(folder)
    if stored is None:
        _say(f"--resume: {folder} has no id_feats.pth; the feature pool starts empty.")
    elif job.pool is not None:
        job.pool.load_queue(stored[0].to(job.device))


def _difference(folder: Path, settings: Settings) -> str | None:
    """The first setting that differs from those of the run in the folder, in words."""
    before = read_settings(folder)
    for name, value in settings.record().items():
        if name not in MAY_DIFFER and name in before and before[name] != value:
            return f"{name} = {before[name]!r}, now it is {value!r}"
    return None


def _say(line: str) -> None:
    if distributed.is_main():
        print(line, flush=True)
