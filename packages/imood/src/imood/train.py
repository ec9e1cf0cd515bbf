"""Training: from settings and a task to a run folder with weights."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ood_shared import distributed, optimizers
from ood_shared.devices import lay_out, make_scaler, maybe_compile, seed_everything
from ood_shared.locks import claimed
from ood_shared.runs import Run, read_metrics
from ood_shared.training import Compute
from torch import nn

from imood import longtail, run_files
from imood.contrastive import class_weights
from imood.data.batches import Feed
from imood.data.tasks import SYNTHETIC, Task
from imood.loop import fit
from imood.losses import Objective
from imood.metrics import metric_of, n_outputs_of
from imood.networks import Network, build
from imood.outliers import Outliers
from imood.passes import Pass, validate
from imood.pool import FeaturePool, capacities_of
from imood.settings import Settings, learning_rate_factor
from imood.state import Job, Progress, restore


def make_optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Adam with L2 weight decay in the gradient, or SGD with Nesterov momentum, over all parameters."""
    if settings.opt == "adam":
        return optimizers.make(torch.optim.Adam, network.parameters(), lr=settings.lr, weight_decay=settings.wd)
    constants: dict[str, Any] = {"momentum": settings.momentum, "weight_decay": settings.wd, "nesterov": True}
    return optimizers.make(torch.optim.SGD, network.parameters(), lr=settings.lr, **constants)


def make_network(settings: Settings) -> Network:
    """A network with the initial weights of the seed."""
    seed_everything(settings.seed)
    n_classes = len(settings.counts)
    return build(settings.model, n_classes, n_outputs_of(settings.ood_metric, n_classes), settings.width)


def train(
    task: Task,
    settings: Settings,
    folder: Path,
    compute: Compute,
    resume: Path | None = None,
    on_start: Callable[[], None] | None = None,
    score: str | None = None,
) -> tuple[Network, FeaturePool | None, Progress]:
    """Train and leave weights, logs and checkpoints in `folder`.

    Args:
        task: the images.
        settings: what decides the weights.
        folder: the run folder.
        compute: how it runs.
        resume: folder of a run to go on with.
        on_start: called before the first step, once nothing can refuse the run any more.
        score: that a detector loaded from the folder gives; None leaves it to the rule of the test command.

    Returns:
        The network in eval mode on the device, the feature pool of the Mahalanobis metrics, and where the run stands.

    Raises:
        InputError: data or a checkpoint that do not fit, or a loss that is no number.
    """
    device, objective = compute.device, _objective(settings)
    network = make_network(settings).to(device)
    last = lay_out(network, device, settings.channels_last)
    distributed.broadcast(network)
    if settings.aux_ood_loss == "pascl":
        weights = class_weights(len(settings.counts), settings.k).to(device)
        network.register_buffer("cl_loss_weights", weights)
    forward = maybe_compile(network, compute.compile)
    optimizer = make_optimizer(network, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: learning_rate_factor(settings, epoch))
    synthetic = Outliers(settings.ood_aux_dataset) if settings.ood_aux_dataset in SYNTHETIC else None
    metric, pool = metric_of(settings.ood_metric), None
    if metric.pool or synthetic is not None:
        capacities = capacities_of(settings.counts, settings.maha_capacity)
        pool = FeaturePool(capacities, network.classifier.in_features, device)
    aux = task.aux() if task.aux is not None else None
    feed = Feed(task.train(), aux, task.views, settings.batch_size, settings.seed, device)
    passing = Pass(forward, task.test_views, settings.test_batch_size, device, settings.precision, last)
    val = task.val()
    job = Job(
        folder=folder,
        network=network,
        forward=forward,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=make_scaler(device, settings.precision),
        feed=feed,
        objective=objective,
        adjustment=longtail.adjustments(settings.counts, settings.logit_adjust, metric.background).to(device),
        weight=settings.Lambda,
        aux_weight=settings.Lambda2,
        pool=pool,
        synthetic=synthetic,
        validate=lambda: validate(passing, val, settings.ood_metric, settings.counts, settings.test_batch_size),
        epochs=settings.epochs,
        save_epochs=settings.save_epochs,
        precision=settings.precision,
        channels_last=last,
        seed=settings.seed,
        show_groups=min(settings.counts) < max(settings.counts),
        inputs=task.inputs,
        score=score,
    )
    with claimed(folder):
        progress = restore(job, settings, resume)
        if resume and distributed.is_main():
            read_metrics(folder)  # refused before anything is written
        if on_start is not None:
            on_start()
        run = Run(folder, settings.record(), log_to=compute.log_to, last_step=progress.epoch)
        if resume == folder and distributed.is_main():
            run_files.cut_logs(folder, progress.epoch, progress.step)
        distributed.wait_for_all()
        try:
            fit(job, run, progress)
        finally:
            run.close()
    network.eval()
    return network, pool, progress


def timestamp() -> str:
    """Now, as YYYYMMDDHHMMSS."""
    return time.strftime("%Y%m%d%H%M%S")


def scaled_rate(dataset: str, lr: float, batch_size: int) -> float:
    """The learning rate of a run: for ImageNet times batch size over 256."""
    rate = lr * batch_size / 256 if dataset == "imagenet" else lr
    if not math.isfinite(rate):
        raise ValueError(f"learning rate {rate}")
    return rate


def _objective(settings: Settings) -> Objective:
    return Objective(settings.ood_metric, len(settings.counts), settings.aux_ood_loss, settings.k, settings.T)
