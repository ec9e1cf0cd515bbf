"""The training loop, which can be stopped and continued at any step.

After every epoch rank 0 evaluates. The checkpoints of the published code and one with everything that decides the rest
of the run, a quarter of a gigabyte together for ResNet18, are written at the pace of `ood_shared.training.Pace`.
SIGTERM saves between two steps; a killed run goes back to its last checkpoint.
"""

import math
import time
from typing import Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import autocast, tuned_convolutions
from ood_shared.errors import InputError
from ood_shared.runs import Run
from ood_shared.signals import StopRequest, Terminated, deferred_sigterm
from ood_shared.training import Pace, update
from torch import Tensor

from imood import figures, run_files
from imood.checkpoints import BEST, LATEST, MAX_QUEUE_BYTES, save_tensor, save_weights
from imood.checkpoints import FEATURES as FEATURE_FILE
from imood.data.batches import FEATURES, generator
from imood.losses import Losses, training_losses
from imood.state import HISTORIES, Job, Progress, save

LOG_EVERY = 100  # steps
TALK_EVERY = 10  # steps between which the ranks ask each other whether to stop


def fit(job: Job, run: Run, progress: Progress) -> None:
    """Train until `job.epochs`.

    Args:
        job: the run; `state.restore` has put it where a checkpoint left it.
        run: the open run folder.
        progress: fresh, or from `restore`.

    Raises:
        Terminated: SIGTERM arrived; the checkpoint holds the very step.
        InputError: the loss is no longer a number; the last checkpoint stays.
    """
    pace = Pace(progress.epoch)
    with deferred_sigterm() as stop, tuned_convolutions():
        while progress.epoch < job.epochs:
            started = time.perf_counter() - progress.seconds
            loss = _train_epoch(job, progress, stop, started, pace)
            _finish_epoch(job, run, progress, loss, started)
            stopping = distributed.on_any_rank(stop.requested, job.device)
            if pace.due(job.device, now=stopping or progress.epoch == job.epochs):
                _write(job, progress)
                pace.wrote(progress.epoch)
            if stopping:
                raise Terminated
    if distributed.is_main() and progress.histories["training_losses"]:
        figures.draw_curves(job.folder, progress.histories, job.show_groups)
    distributed.wait_for_all()


def step_losses(job: Job, images: Tensor, labels: Tensor, position: tuple[int, ...]) -> tuple[Losses, Tensor]:
    """Losses and features of a step's rows; outliers made of features go through the classifier only."""
    if job.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with autocast(job.device, job.precision):
        logits, features = job.forward(images)
    logits, features = _wide(logits), _wide(features)
    rows = features
    if job.synthetic is not None:
        made = job.synthetic(job.pool, generator(job.seed, FEATURES, *position)).to(features)
        logits = torch.cat([logits, job.network.classifier(made)])
        rows = torch.cat([features, made])
    losses = training_losses(job.objective, logits, rows, labels, job.adjustment, job.network, job.pool)
    return losses, features


def _train_epoch(job: Job, progress: Progress, stop: StopRequest, started: float, pace: Pace) -> float:
    """Train to the end of the epoch; the mean loss of its steps."""
    job.network.train()
    total = torch.tensor(progress.loss_sum, dtype=torch.float64, device=job.device)
    rank = distributed.rank()
    for batch in job.feed.epoch(progress.epoch, progress.step):
        losses, features = step_losses(job, batch.images, batch.labels, (rank, progress.epoch, batch.step))
        loss = losses.id_loss + job.weight * losses.ood_loss + job.aux_weight * losses.aux_loss
        shown = batch.step % LOG_EVERY == 0
        if shown:
            _refuse_nan(job, progress, loss, pace)
        if job.pool is not None:
            n_id = 2 * len(batch.labels)
            gathered = distributed.gather_batch(features[:n_id])
            job.pool.update(gathered, distributed.gather_batch(batch.labels.repeat(2)))
        update(job.network, job.optimizer, job.scaler, _on_all_ranks(job, loss, losses))
        total += loss.detach()
        progress.step += 1
        if shown and distributed.is_main():
            run_files.log_step(
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
    _refuse_nan(job, progress, total, pace)
    return float(total) / len(job.feed)


def _finish_epoch(job: Job, run: Run, progress: Progress, loss: float, started: float) -> None:
    """Evaluate, take note, and keep what is kept of this very epoch."""
    job.scheduler.step()
    distributed.broadcast(job.network)  # rank 0's batch-norm statistics are the ones that are saved and evaluated
    job.network.eval()
    with torch.no_grad():
        validation = job.validate()
    seconds = time.perf_counter() - started
    row = (loss, validation.loss, validation.f1, validation.accuracy, *validation.groups)
    for name, value in zip(HISTORIES, row, strict=True):
        progress.histories[name].append(float(value))
    number = progress.epoch
    better = validation.accuracy > progress.best_overall_acc and number >= 0.75 * job.epochs
    if better:
        progress.best_overall_acc = validation.accuracy
    write_best = better or (number + 1 == job.epochs and not progress.best_written)
    progress.best_written |= write_best
    progress.epoch, progress.step, progress.loss_sum, progress.seconds = number + 1, 0, 0.0, 0.0
    if distributed.is_main():
        run_files.log_epoch(job.folder, number, validation, seconds)
        _write_once(job, number, write_best)
        record: dict[str, Any] = {"epoch": number + 1, "lr": job.optimizer.param_groups[0]["lr"], "seconds": seconds}
        record["images"] = len(job.feed) * job.feed.batch_size * distributed.world_size()  # ID; as many outliers
        record |= {name.removesuffix("s"): values[-1] for name, values in progress.histories.items()}
        run.log({key: None if isinstance(v, float) and math.isnan(v) else v for key, v in record.items()})


def _write(job: Job, progress: Progress) -> None:
    """The published `latest.pth` and `id_feats.pth`, with weights that carry no prefix, and the full checkpoint."""
    if distributed.is_main():
        latest = {
            "model": job.network.state_dict(),
            "optimizer": job.optimizer.state_dict(),
            "scheduler": job.scheduler.state_dict(),
            "epoch": progress.epoch - 1,
            "best_overall_acc": progress.best_overall_acc,
            **progress.histories,
        }
        checkpoints.save(job.folder / LATEST, latest)
        if (queue := _queue(job)) is not None:
            save_tensor(job.folder / FEATURE_FILE, queue)
    save(job, progress)
    distributed.wait_for_all()


def _write_once(job: Job, number: int, write_best: bool) -> None:
    """What the published code keeps of an epoch, counted from 0: the best weights, and every `--save_epochs`."""
    if write_best:
        save_weights(job.folder / BEST, job.network)
    if job.save_epochs > 0 and number % job.save_epochs == 0:
        kept = {"model": job.network.state_dict(), "optimizer": job.optimizer.state_dict()}
        checkpoints.save(job.folder / f"epoch{number}.pth", kept)
        if (queue := _queue(job)) is not None:
            save_tensor(job.folder / f"id_feats_epoch{number}.pth", queue)


def _queue(job: Job) -> Tensor | None:
    """The features in the pool, as they are published; None without a pool, or where they are too many."""
    return job.pool.queue().cpu() if job.pool is not None and job.pool.queue_bytes <= MAX_QUEUE_BYTES else None


def _on_all_ranks(job: Job, loss: Tensor, losses: Losses) -> Tensor:
    """The loss, which reaches the projection when that of another rank does: all average the same parameters.

    The contrast is of images of the tail; a rank without one adds zeros, and where none has one nothing is added.
    """
    if job.objective.aux != "pascl" or distributed.world_size() == 1:
        return loss
    if not distributed.on_any_rank(losses.aux_loss.requires_grad, job.device):
        return loss
    return loss + 0 * sum(parameter.sum() for parameter in job.network.projection.parameters())


def _refuse_nan(job: Job, progress: Progress, value: Tensor, pace: Pace) -> None:
    """Stop all ranks when a loss is no number. Asked every 100 steps and at the end, to spare waits for the device."""
    loss = value.item()
    if distributed.on_any_rank(not math.isfinite(loss), job.device):
        kept = f"the checkpoint of epoch {pace.epoch} is kept" if pace.epoch else "no epoch was finished"
        raise InputError(f"The training loss became {loss} in epoch {progress.epoch + 1}. Lower --lr; {kept}.")


def _stopping(stop: StopRequest, step: int, device: torch.device) -> bool:
    if distributed.world_size() == 1:
        return stop.requested
    return step % TALK_EVERY == 0 and distributed.on_any_rank(stop.requested, device)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
