"""The training loop, which can be stopped and continued at any step.

After every epoch rank 0 evaluates and writes the checkpoints of the published code and one with everything that
decides the rest of the run. SIGTERM saves between two steps.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from ood_shared import checkpoints, distributed
from ood_shared.devices import autocast
from ood_shared.errors import InputError
from ood_shared.runs import CHECKPOINT, Run
from ood_shared.signals import StopRequest, Terminated, deferred_sigterm
from torch import Tensor

from imood import records
from imood.checkpoints import BEST, LATEST, MAX_QUEUE_BYTES, save_tensor, save_weights
from imood.checkpoints import FEATURES as FEATURE_FILE
from imood.data.batches import FEATURES, Feed, generator
from imood.losses import Losses, Objective, training_losses
from imood.networks import Network
from imood.outliers import Outliers
from imood.pool import FeaturePool
from imood.validation import Validation

LOG_EVERY = 100  # steps
TALK_EVERY = 10  # steps between which the ranks ask each other whether to stop
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

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.adjustment.device


def fit(job: Job, run: Run, progress: Progress) -> None:
    """Train until `job.epochs`.

    Args:
        job: the run; `resuming.restore` has put it where a checkpoint left it.
        run: the open run folder.
        progress: fresh, or from `restore`.

    Raises:
        Terminated: SIGTERM arrived; the checkpoint holds the very step.
        InputError: the loss is no longer a number; the checkpoint of the last whole epoch stays.
    """
    with deferred_sigterm() as stop:
        while progress.epoch < job.epochs:
            started = time.perf_counter() - progress.seconds
            loss = _train_epoch(job, progress, stop, started)
            _finish_epoch(job, run, progress, loss, started)
            if distributed.on_any_rank(stop.requested, job.device):
                raise Terminated
    if distributed.is_main() and progress.histories["training_losses"]:
        records.draw_curves(job.folder, progress.histories, job.show_groups)
    distributed.wait_for_all()


def step_losses(job: Job, images: Tensor, labels: Tensor, place: tuple[int, ...]) -> tuple[Losses, Tensor]:
    """Losses and features of a step's rows; outliers made of features go through the classifier only."""
    if job.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with autocast(job.device, job.precision):
        logits, features = job.forward(images)
    logits, features = _wide(logits), _wide(features)
    rows = features
    if job.synthetic is not None:
        made = job.synthetic(job.pool, generator(job.seed, FEATURES, *place)).to(features)
        logits = torch.cat([logits, job.network.classifier(made)])
        rows = torch.cat([features, made])
    losses = training_losses(job.objective, logits, rows, labels, job.adjustment, job.network, job.pool)
    return losses, features


def save(job: Job, progress: Progress) -> None:
    """Write the checkpoint from which a run continues to the bit."""
    if not distributed.is_main():
        return
    state = {
        "network": job.network.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "scheduler": job.scheduler.state_dict(),
        "scaler": job.scaler.state_dict(),
        "pool": None if job.pool is None else job.pool.state_dict(),
        "rng": checkpoints.rng_state(),
        "progress": dict(vars(progress)),
        "seed": job.seed,
    }
    checkpoints.save(job.folder / CHECKPOINT, state)


def _train_epoch(job: Job, progress: Progress, stop: StopRequest, started: float) -> float:
    """Train to the end of the epoch; the mean loss of its steps."""
    job.network.train()
    total = torch.tensor(progress.loss_sum, dtype=torch.float64, device=job.device)
    rank = distributed.rank()
    for batch in job.feed.epoch(progress.epoch, progress.step):
        losses, features = step_losses(job, batch.images, batch.labels, (rank, progress.epoch, batch.step))
        loss = losses.id_loss + job.weight * losses.ood_loss + job.aux_weight * losses.aux_loss
        shown = batch.step % LOG_EVERY == 0
        if shown:
            _refuse_nan(job, progress, loss)
        if job.pool is not None:
            n_id = 2 * len(batch.labels)
            gathered = distributed.gather_batch(features[:n_id])
            job.pool.update(gathered, distributed.gather_batch(batch.labels.repeat(2)))
        job.optimizer.zero_grad(set_to_none=True)
        job.scaler.scale(loss).backward()
        _fill_projection(job)
        distributed.average_gradients(job.network)
        job.scaler.step(job.optimizer)
        job.scaler.update()
        total += loss.detach()
        progress.step += 1
        if shown and distributed.is_main():
            records.log_step(
                job.folder,
                progress.epoch,
                batch.step,
                loss,
                losses,
                [float(rate) for rate in job.scheduler.get_last_lr()],
            )
        if _stopping(stop, progress.step, job.device):
            progress.loss_sum, progress.seconds = float(total), time.perf_counter() - started
            save(job, progress)
            distributed.wait_for_all()
            raise Terminated
    _refuse_nan(job, progress, total)
    return float(total) / len(job.feed)


def _finish_epoch(job: Job, run: Run, progress: Progress, loss: float, started: float) -> None:
    job.scheduler.step()
    distributed.broadcast(job.network)  # rank 0's batch-norm statistics are the ones that are saved and evaluated
    job.network.eval()
    with torch.no_grad():
        found = job.validate()
    seconds = time.perf_counter() - started
    row = (loss, found.loss, found.f1, found.accuracy, *found.groups)
    for name, value in zip(HISTORIES, row, strict=True):
        progress.histories[name].append(float(value))
    number = progress.epoch
    better = found.accuracy > progress.best_overall_acc and number >= 0.75 * job.epochs
    if better:
        progress.best_overall_acc = found.accuracy
    write_best = better or (number + 1 == job.epochs and not progress.best_written)
    progress.best_written |= write_best
    progress.epoch, progress.step, progress.loss_sum, progress.seconds = number + 1, 0, 0.0, 0.0
    if distributed.is_main():
        records.log_epoch(job.folder, number, found, seconds)
        _write_published(job, progress, number, write_best)
        record: dict[str, Any] = {"epoch": number + 1, "lr": job.optimizer.param_groups[0]["lr"], "seconds": seconds}
        record |= {name.removesuffix("s"): values[-1] for name, values in progress.histories.items()}
        run.log({key: None if isinstance(v, float) and math.isnan(v) else v for key, v in record.items()})
    save(job, progress)
    distributed.wait_for_all()


def _write_published(job: Job, progress: Progress, number: int, write_best: bool) -> None:
    """The checkpoints of the published code, with weights that carry no prefix."""
    latest = {
        "model": job.network.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "scheduler": job.scheduler.state_dict(),
        "epoch": number,
        "best_overall_acc": progress.best_overall_acc,
        **progress.histories,
    }
    checkpoints.save(job.folder / LATEST, latest)
    if write_best:
        save_weights(job.folder / BEST, job.network)
    extra = job.save_epochs > 0 and number % job.save_epochs == 0
    if extra:
        kept = {"model": latest["model"], "optimizer": latest["optimizer"]}
        checkpoints.save(job.folder / f"epoch{number}.pth", kept)
    if job.pool is not None and job.pool.queue_bytes <= MAX_QUEUE_BYTES:
        queue = job.pool.queue().cpu()
        save_tensor(job.folder / FEATURE_FILE, queue)
        if extra:
            save_tensor(job.folder / f"id_feats_epoch{number}.pth", queue)


def _fill_projection(job: Job) -> None:
    """Zeros for the projection where only other ranks had a tail image: all have to average the same parameters."""
    if job.objective.aux != "pascl" or distributed.world_size() == 1:
        return
    parameters = list(job.network.projection.parameters())
    if distributed.on_any_rank(parameters[0].grad is not None, job.device):
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def _refuse_nan(job: Job, progress: Progress, value: Tensor) -> None:
    """Stop all ranks when a loss is no number. Asked every 100 steps and at the end, to spare waits for the device."""
    found = value.item()
    if distributed.on_any_rank(not math.isfinite(found), job.device):
        kept = f"the checkpoint of epoch {progress.epoch} is kept" if progress.epoch else "no epoch was finished"
        raise InputError(f"The training loss became {found} in epoch {progress.epoch + 1}. Lower --lr; {kept}.")


def _stopping(stop: StopRequest, step: int, device: torch.device) -> bool:
    if distributed.world_size() == 1:
        return stop.requested
    return step % TALK_EVERY == 0 and distributed.on_any_rank(stop.requested, device)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
