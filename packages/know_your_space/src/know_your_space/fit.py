"""The training loop: one schedule, one set of files, resumable at any batch.

Beside the two checkpoints of the original (three keys each: `epoch`, `optimizer`, `state_dict`) a run keeps
`checkpoint.pt` with everything that decides the rest: queues, scheduler, positions and generators, for each process.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader
from ood_shared.runs import CHECKPOINT, Run
from ood_shared.signals import Terminated, deferred_sigterm
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from know_your_space.data.outlier_batches import OutlierStream
from know_your_space.schedule import FACTOR, PATIENCE, learning_rate
from know_your_space.settings import TrainSettings
from know_your_space.step import Losses, Step
from know_your_space.validation import Validation, Watch, balanced_accuracy, one_vs_one_auc, say

PARTS = ("network", "optimizer", "scaler", "scheduler", "queue", "jittered", "progress", "ranks")  # of a checkpoint
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


def fit(job: Job, run: Run, progress: Progress) -> list[float]:
    """Train up to the last epoch; returns the seconds of the training half of each epoch.

    Raises:
        Terminated: SIGTERM arrived at some rank; the checkpoint holds the very batch.
        InputError: the loss is no longer a number; the checkpoints of the last whole epoch stay.
    """
    device, seconds = job.step.weights.device, []
    with deferred_sigterm() as stop:
        while progress.epoch < job.settings.epochs:
            watch = Watch()
            _train_epoch(job, progress, lambda: distributed.on_any_rank(stop.requested, device))
            seconds.append(watch.read())
            _finish_epoch(job, run, progress)
            if distributed.on_any_rank(stop.requested, device):
                raise Terminated
    if progress.margin_since is None and job.settings.beta1:
        why = "the latent queues never filled; lower --sample_number" if job.settings.latent else "lower --start_epoch"
        say(f"warning: the run ended without ever using the margin loss: {why}, or train longer.", warning=True)
    if repaired := int(job.step.jittered):
        say(f"warning: the covariance had to be repaired in {repaired} steps.", warning=True)
    return seconds


def _train_epoch(job: Job, progress: Progress, stopped: Callable[[], bool]) -> None:
    epoch, watch = progress.epoch + 1, Watch()
    if job.settings.lr_schedule == "steps":
        for group in job.optimizer.param_groups:
            group["lr"] = learning_rate(epoch, progress.first_epoch, progress.lr)
    if job.outliers is not None and progress.batch == 0:
        job.outliers.restart()
    job.network.train()
    for pixels, labels, _ in job.loader:
        found = job.step(pixels, labels, None if job.outliers is None else next(job.outliers), epoch)
        job.optimizer.zero_grad(set_to_none=True)
        job.scaler.scale(found.total).backward()
        distributed.average_gradients(job.network)
        job.scaler.step(job.optimizer)
        job.scaler.update()
        progress.batch += 1
        _remember(job, progress, found, labels)
        if progress.batch % job.print_freq == 0:
            _print_batch(job, progress, found, labels, watch.read())
        elif distributed.is_main():
            watch.read()
        if stopped():
            save(job, progress)
            raise Terminated


def _remember(job: Job, progress: Progress, found: Losses, labels: Tensor) -> None:
    margin = found.margin
    progress.losses.append(torch.stack([found.ce, margin.inliers, margin.outliers, found.total]).detach())
    progress.probabilities.append(found.logits.softmax(dim=1))
    progress.labels.append(labels)
    if found.active and progress.margin_since is None:
        progress.margin_since = [progress.epoch + 1, progress.batch]
        if job.settings.beta1:
            say(f"The margin loss starts in epoch {progress.epoch + 1}, batch {progress.batch}.")


def _print_batch(job: Job, progress: Progress, found: Losses, labels: Tensor, seconds: float) -> None:
    if not distributed.is_main():
        return
    ce, margin, total = found.ce.item(), found.margin.total.item(), found.total.item()
    accuracy = balanced_accuracy(found.logits.argmax(dim=1), labels)
    say(
        f"Epoch: {progress.epoch + 1}\tBatch: {progress.batch}/{len(job.loader)}\tTime: {seconds:.3f}\t"
        f"Loss In: {ce:.4f}\tLoss Margin: {margin:.4f}\tLoss Total: {total:.4f}\tBal Acc: {accuracy:.3f}"
    )


def _finish_epoch(job: Job, run: Run, progress: Progress) -> None:
    per_batch = len(job.loader)
    losses = distributed.sum_over_ranks(torch.stack(progress.losses).sum(dim=0)) / distributed.world_size() / per_batch
    ce, inliers, outliers, total = losses.tolist()
    probabilities, labels = (
        distributed.gather_rows(torch.cat(parts), job.drawn) for parts in (progress.probabilities, progress.labels)
    )
    if not math.isfinite(total):
        kept = f"the checkpoints of epoch {progress.epoch} are kept" if progress.epoch else "no epoch was finished"
        raise InputError(f"The training loss became {total} in epoch {progress.epoch + 1}. Lower --lr; {kept}.")
    train_auc, train_accuracy = (
        one_vs_one_auc(probabilities, labels),
        balanced_accuracy(probabilities.argmax(1), labels),
    )
    progress.epoch += 1
    say(
        f"Epoch: {progress.epoch}/{job.settings.epochs}\tTrain Loss: {total:.3f}\tTrain AUC: {train_auc:.3f}\t"
        f"Train Bal Acc: {train_accuracy:.3f}\tLoss In: {ce:.3f}\tLoss Margin: {inliers + outliers:.3f}"
    )
    lr = job.optimizer.param_groups[0]["lr"]
    distributed.broadcast(job.network)  # the running statistics of rank 0, which are those that are saved
    job.network.eval()
    with torch.inference_mode():
        found = job.validate()
    if job.settings.lr_schedule == "plateau":
        job.plateau.step(found.loss)
    say(f"Validation AUC: {found.auc:.3f}\tValidation Bal Acc: {found.balanced_accuracy:.3f}\n{found.confusion}")
    if math.isnan(found.auc):
        say("note: the AUC is not defined here: it needs two classes or more, and images of each.")
    progress.batch, progress.losses, progress.probabilities, progress.labels = 0, [], [], []
    if distributed.is_main():
        _write_models(job, progress, found.balanced_accuracy)
    progress.best_accuracy = max(progress.best_accuracy, found.balanced_accuracy)
    record = {
        **{"epoch": progress.epoch, "train_loss": total, "train_ce": ce, "margin_in": inliers, "margin_out": outliers},
        **{"train_auc": _plain(train_auc), "train_balanced_accuracy": train_accuracy, "lr": lr},
        **{"vali_loss": found.loss, "vali_auc": _plain(found.auc), "vali_balanced_accuracy": found.balanced_accuracy},
    }
    run.log(record)
    save(job, progress)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _write_models(job: Job, progress: Progress, accuracy: float) -> None:
    """The original's checkpoints: the best one so far, and the one after the last epoch."""
    state = {
        "epoch": progress.epoch + 1,
        "optimizer": job.optimizer.state_dict(),
        "state_dict": job.network.state_dict(),
    }
    if accuracy > progress.best_accuracy:
        checkpoints.save(job.best, state)
    if progress.epoch == job.settings.epochs:
        checkpoints.save(job.last, state)


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
    ranks = distributed.gather_objects(own)
    if not distributed.is_main():
        return
    standing = {
        name: value for name, value in vars(progress).items() if name not in ("losses", "probabilities", "labels")
    }
    checkpoints.save(
        job.folder / CHECKPOINT,
        {
            "network": job.network.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "scaler": job.scaler.state_dict(),
            "scheduler": job.plateau.state_dict(),
            "queue": job.step.queue.state_dict(),
            "jittered": job.step.jittered,
            "progress": standing,
            "ranks": ranks,
        },
    )


def restore(job: Job, path: Path) -> Progress:
    """Put the job where `checkpoint.pt` left it.

    Raises:
        InputError: the file is damaged, of something else, or of another number of processes.
    """
    state = checkpoints.load_parts(path, PARTS, "Pass --restart.")
    if len(state["ranks"]) != distributed.world_size():
        raise InputError(
            f"{path} was written by {len(state['ranks'])} processes, now there are {distributed.world_size()}. "
            "Resume with as many, or pass --restart."
        )
    checkpoints.load_weights(job.network, state["network"], path)
    job.optimizer.load_state_dict(state["optimizer"])
    job.scaler.load_state_dict(state["scaler"])
    job.plateau.load_state_dict(state["scheduler"])
    job.step.queue.load_state_dict(state["queue"])
    job.step.jittered.copy_(state["jittered"])
    own = state["ranks"][distributed.rank()]
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
    state = checkpoints.load(path)
    for name in ("epoch", "optimizer", "state_dict"):
        if name not in state:
            raise InputError(f"{path} lacks the key `{name}`; expected epoch, optimizer and state_dict.")
    checkpoints.load_weights(job.network, state["state_dict"], path)
    try:
        job.optimizer.load_state_dict(state["optimizer"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: its optimizer's state does not fit this network: {error}.") from None
    first = int(state["epoch"])
    return Progress(epoch=first - 1, first_epoch=first, lr=float(job.optimizer.param_groups[0]["lr"]))
