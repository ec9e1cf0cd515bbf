"""The training loop, which can be stopped and continued at any batch.

After every epoch the folder holds the best weights so far. A checkpoint with everything that decides the rest of the
run is written at the pace of `ood_shared.training.Pace`. SIGTERM saves between two batches; a killed run goes back to
its last checkpoint. Under `torchrun` every rank runs this loop on its part of the data; gradients are averaged, and
rank 0 writes.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from ood_shared import distributed
from ood_shared.errors import InputError
from ood_shared.runs import Run, progress
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import Pace, update

from ascood import run_files
from ascood.data.loading import TrainBatches
from ascood.objectives import cosine_factor
from ascood.state import Job, Standing, save

SMOOTHING = 0.8  # of the training loss, which starts at 0 in every epoch, as in the original


def fit(job: Job, run: Run | None, standing: Standing) -> None:
    """Train until `job.epochs`; `standing.history` then has one record per epoch.

    Args:
        job: the run; `restore` has put it where a checkpoint left it when it is resumed.
        run: the open run folder; None on the ranks that do not write.
        standing: fresh, or from `restore`.

    Raises:
        Terminated: SIGTERM arrived; the checkpoint holds the very batch.
        InputError: the loss is no longer a number; the last checkpoint stays.
    """
    pace = Pace(standing.epoch)
    with deferred_sigterm() as stop:
        while standing.epoch < job.epochs:
            started = time.perf_counter()
            _train_epoch(job, standing, lambda: stop.requested, started)
            _finish_epoch(job, run, standing, started, pace)
            stopping = distributed.on_any_rank(stop.requested, _device(job))
            if pace.due(_device(job), now=stopping or standing.epoch == job.epochs):
                save(job, standing)
                pace.wrote(standing.epoch)
            if stopping:
                raise Terminated


def _train_epoch(job: Job, standing: Standing, stop_requested: Callable[[], bool], started: float) -> None:
    job.network.train()
    objective, epoch = job.objective, standing.epoch + 1
    alpha = objective.alpha(epoch, job.epochs)
    per_epoch = len(job.batches)
    steps = job.epochs * per_epoch
    last = per_epoch - 1 if objective.skips_last and per_epoch > 1 else per_epoch
    outliers = _endless(job.outliers) if job.outliers is not None else None
    device = _device(job)
    for images, labels in progress(job.batches, f"epoch {epoch}", per_epoch):
        if standing.batch < last:
            partners = next(outliers)[0] if outliers is not None else None
            factor = cosine_factor(standing.step, steps, job.lr)
            for group in job.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            losses = objective.step(images, labels, partners, alpha)
            update(job.network, job.optimizer, job.scaler, losses["loss"])
            loss = losses["loss"].detach()
            standing.smoothed = (1 - SMOOTHING) * loss + SMOOTHING * (
                0.0 if standing.smoothed is None else standing.smoothed
            )
            standing.step += 1
        standing.batch += 1
        if distributed.on_any_rank(stop_requested(), device):
            standing.seconds += time.perf_counter() - started
            save(job, standing)
            raise Terminated
    standing.step_seconds = (time.perf_counter() - started) / max(1, standing.batch)


def _finish_epoch(job: Job, run: Run | None, standing: Standing, started: float, pace: Pace) -> None:
    smoothed = distributed.sum_over_ranks(standing.smoothed) if standing.smoothed is not None else torch.zeros(())
    train_loss = float(smoothed) / distributed.world_size()
    distributed.broadcast(job.network)  # batch statistics are each rank's own; those of rank 0 are kept
    val_loss, accuracy = job.validate() if math.isfinite(train_loss) else (math.nan, 0.0)
    if math.isnan(val_loss):
        kept = f"the checkpoint of epoch {pace.epoch} is kept" if pace.epoch else "no epoch was finished"
        side, value = ("validation", val_loss) if math.isfinite(train_loss) else ("training", train_loss)
        raise InputError(f"The {side} loss became {value} in epoch {standing.epoch + 1}. Lower --optimizer.lr; {kept}.")
    standing.epoch += 1
    standing.seconds += time.perf_counter() - started
    standing.smoothed, standing.batch = None, 0
    standing.last_accuracy = accuracy
    is_best = accuracy >= standing.best_accuracy
    if is_best:
        standing.best_accuracy, standing.best_epoch = accuracy, standing.epoch
    record = {"epoch": standing.epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": accuracy}
    images = {} if job.images is None else {"images": job.images}
    standing.history.append({**record, **images, "seconds": standing.seconds})
    if run is not None:
        print(run_files.epoch_line(standing.epoch, standing.seconds, train_loss, val_loss, accuracy), flush=True)
        weights = job.network.state_dict()
        run_files.save_epoch(job.folder, weights, standing.epoch, accuracy, is_best, job.keep_all)
        if standing.epoch == job.epochs:
            run_files.save_last(job.folder, weights, standing.epoch, accuracy)
        run.log(standing.history[-1])


def _endless(batches: TrainBatches) -> Any:
    """Batches of outliers, begun anew when they are exhausted."""
    while True:
        yield from batches


def _device(job: Job) -> torch.device:
    return next(job.network.parameters()).device
