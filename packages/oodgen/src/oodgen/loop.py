"""One training loop for the VAE and the classifier, which can be stopped and continued at any batch.

After every epoch the folder holds the weights (`model_<epoch>.pth`, `model.pth`), the logs and a checkpoint with
everything that decides the rest of the run. SIGTERM saves between two batches; a killed run goes back to its last
epoch.
"""

import math
import time
from collections.abc import Callable

import torch
from ood_shared import checkpoints
from ood_shared.devices import tuned_convolutions
from ood_shared.errors import InputError
from ood_shared.runs import Run
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import update

from oodgen.run_files import RunningMean, write_log
from oodgen.state import MODEL, Job, Outcome, Progress, save

PRINT_EVERY = 10  # batches


def fit(job: Job, run: Run, progress: Progress) -> None:
    """Train until `job.epochs` or early stopping; `progress.history` then has one record per epoch.

    Args:
        job: the run; `restore` has put it where a checkpoint left it when it is resumed.
        run: the open run folder.
        progress: fresh, or from `restore`.

    Raises:
        Terminated: SIGTERM arrived; the checkpoint holds the very batch.
        InputError: the loss is no longer a number; the checkpoint of the last whole epoch stays.
    """
    with deferred_sigterm() as stop, tuned_convolutions():
        while progress.epoch < job.epochs and not progress.stopped_early:
            started = time.perf_counter()
            _train_epoch(job, progress, lambda: stop.requested, started)
            _finish_epoch(job, run, progress, time.perf_counter() - started)
            if stop.requested:
                raise Terminated
    if progress.stopped_early:
        print(f"stopped: no better validation loss than in epoch {progress.best_epoch}, whose weights are kept")
    if progress.best_weights is not None:
        job.network.load_state_dict(progress.best_weights)
    checkpoints.save(job.folder / MODEL, job.network.state_dict())


def _train_epoch(job: Job, progress: Progress, stop_requested: Callable[[], bool], started: float) -> None:
    job.network.train()
    for batch in job.batches:
        outcome = job.step(batch)
        update(job.network, job.optimizer, job.scaler, outcome.loss)
        _count(progress.loss, progress.accuracy, outcome)
        progress.batch += 1
        if progress.batch % PRINT_EVERY == 0:
            seconds = time.perf_counter() - started
            print(
                f"epoch {progress.epoch + 1}/{job.epochs}  batch {progress.batch}/{len(job.batches)}  "
                f"loss {progress.loss.avg:.4f}  {seconds:.1f} s",
                flush=True,
            )
        if stop_requested():
            save(job, progress)
            raise Terminated


def _finish_epoch(job: Job, run: Run, progress: Progress, seconds: float) -> None:
    loss, accuracy = RunningMean(), RunningMean()
    job.network.eval()
    with torch.no_grad():
        for outcome in job.validate():
            _count(loss, accuracy, outcome)
    if not math.isfinite(progress.loss.avg) or math.isnan(loss.avg):
        side, value = ("validation", loss.avg) if math.isfinite(progress.loss.avg) else ("training", progress.loss.avg)
        kept = f"the checkpoint of epoch {progress.epoch} is kept" if progress.epoch else "no epoch was finished"
        raise InputError(f"The {side} loss became {value} in epoch {progress.epoch + 1}. Lower --lr; {kept}.")
    progress.epoch += 1
    record: dict[str, int | float] = {"epoch": progress.epoch, "train_loss": progress.loss.avg, "vali_loss": loss.avg}
    if accuracy.count:
        record |= {"train_accuracy": progress.accuracy.avg, "vali_accuracy": accuracy.avg}
    progress.history.append(record | {"images": progress.loss.count, "seconds": seconds})
    print(f"epoch {progress.epoch}/{job.epochs}  validation loss {loss.avg:.4f}" + _percent(accuracy), flush=True)
    if job.patience is not None:
        _keep_best(job, progress, loss.avg, job.patience)
    progress.loss, progress.accuracy, progress.batch = RunningMean(), RunningMean(), 0

    weights = job.network.state_dict()
    if progress.epoch % job.save_every == 0 or progress.epoch == job.epochs:
        checkpoints.save(job.folder / f"model_{progress.epoch}.pth", weights)
    checkpoints.save(job.folder / MODEL, progress.best_weights or weights)
    run.log(progress.history[-1])
    _write_logs(job, progress)
    save(job, progress)


def _count(loss: RunningMean, accuracy: RunningMean, outcome: Outcome) -> None:
    loss.update(outcome.loss.detach(), outcome.count)
    if outcome.correct is not None:
        accuracy.update(100.0 * outcome.correct / outcome.count, outcome.count)


def _percent(accuracy: RunningMean) -> str:
    return f"  accuracy {accuracy.avg:.2f} %" if accuracy.count else ""


def _keep_best(job: Job, progress: Progress, loss: float, patience: int) -> None:
    if loss < progress.best_loss:
        progress.best_loss, progress.best_epoch = loss, progress.epoch
        progress.best_weights = {key: value.detach().cpu().clone() for key, value in job.network.state_dict().items()}
    progress.stopped_early = progress.epoch - progress.best_epoch >= patience


def _write_logs(job: Job, progress: Progress) -> None:
    for side, name in zip(("train", "vali"), job.log_names, strict=True):
        keys = [key for key in (f"{side}_loss", f"{side}_accuracy") if key in progress.history[0]]
        rows = [(int(record["epoch"]), *(record[key] for key in keys)) for record in progress.history]
        write_log(job.folder / name, rows)
