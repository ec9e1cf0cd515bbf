"""The training loop: one schedule, one set of files, resumable at any batch."""

import math
from collections.abc import Callable

import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import tuned_convolutions
from ood_shared.errors import InputError
from ood_shared.runs import Run
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import update
from torch import Tensor

from know_your_space.schedule import learning_rate
from know_your_space.state import Job, Progress, save
from know_your_space.step import Losses
from know_your_space.validation import Watch, balanced_accuracy, one_vs_one_auc, say


def fit(job: Job, run: Run, progress: Progress) -> list[float]:
    """Train up to the last epoch; returns the seconds of the training half of each epoch.

    Raises:
        Terminated: SIGTERM arrived at some rank; the checkpoint holds the very batch.
        InputError: the loss is no longer a number; the checkpoints of the last whole epoch stay.
    """
    device, seconds = job.step.weights.device, []
    with deferred_sigterm() as stop, tuned_convolutions():
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
        losses = job.step(pixels, labels, None if job.outliers is None else next(job.outliers), epoch)
        update(job.network, job.optimizer, job.scaler, losses.total)
        progress.batch += 1
        _remember(job, progress, losses, labels)
        if progress.batch % job.print_freq == 0:
            _print_batch(job, progress, losses, labels, watch.read())
        elif distributed.is_main():
            watch.read()
        if stopped():
            save(job, progress)
            raise Terminated


def _remember(job: Job, progress: Progress, losses: Losses, labels: Tensor) -> None:
    margin = losses.margin
    progress.losses.append(torch.stack([losses.ce, margin.inliers, margin.outliers, losses.total]).detach())
    progress.probabilities.append(losses.logits.softmax(dim=1))
    progress.labels.append(labels)
    if losses.active and progress.margin_since is None:
        progress.margin_since = [progress.epoch + 1, progress.batch]
        if job.settings.beta1:
            say(f"The margin loss starts in epoch {progress.epoch + 1}, batch {progress.batch}.")


def _print_batch(job: Job, progress: Progress, losses: Losses, labels: Tensor, seconds: float) -> None:
    if not distributed.is_main():
        return
    ce, margin, total = losses.ce.item(), losses.margin.total.item(), losses.total.item()
    accuracy = balanced_accuracy(losses.logits.argmax(dim=1), labels)
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
        validation = job.validate()
    if job.settings.lr_schedule == "plateau":
        job.plateau.step(validation.loss)
    accuracy = validation.balanced_accuracy
    say(f"Validation AUC: {validation.auc:.3f}\tValidation Bal Acc: {accuracy:.3f}\n{validation.confusion}")
    if math.isnan(validation.auc):
        say("note: the AUC is not defined here: it needs two classes or more, and images of each.")
    progress.batch, progress.losses, progress.probabilities, progress.labels = 0, [], [], []
    if distributed.is_main():
        _write_models(job, progress, accuracy)
    progress.best_accuracy = max(progress.best_accuracy, accuracy)
    record = {
        **{"epoch": progress.epoch, "train_loss": total, "train_ce": ce, "margin_in": inliers, "margin_out": outliers},
        **{"train_auc": _plain(train_auc), "train_balanced_accuracy": train_accuracy, "lr": lr},
        **{"vali_loss": validation.loss, "vali_auc": _plain(validation.auc), "vali_balanced_accuracy": accuracy},
        "images": job.drawn,
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
