"""Steps 1 and 3: train the conditional VAE, train the n+1 classifier."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ood_shared import optimizers
from ood_shared.augment import common_views
from ood_shared.devices import autocast, lay_out, make_scaler, maybe_compile, seed_everything
from ood_shared.errors import InputError
from ood_shared.loaders import DeviceLoader, to_float
from ood_shared.locks import claimed
from ood_shared.runs import Run, read_settings, refuse_other_settings
from ood_shared.training import Compute
from torch import Tensor, nn

from oodgen.classifier import OutlierClassifier, build_classifier, classifier_loss
from oodgen.data.folders import Pixels
from oodgen.loop import fit
from oodgen.paper import PaperBatches
from oodgen.settings import ClassifierSettings, VaeSettings
from oodgen.state import History, Job, Outcome, restore
from oodgen.vae import ConditionalVAE, build_vae, elbo_loss, latent_noise, mse_loss

EVALUATION_BATCH = 1000
MAY_DIFFER = ("epochs", "save_every", "data_crc32")  # on --resume; the last has a message of its own


def make_optimizer(network: nn.Module, settings: VaeSettings | ClassifierSettings) -> torch.optim.Optimizer:
    """RMSprop, Adadelta or SGD with the constants of the published code, or of Keras for the paper's networks.

    Raises:
        InputError: the optimizer is not one of the step's.
    """
    paper = settings.architecture == "paper"
    decay = settings.weight_decay
    if decay is None:
        decay = 0.001 if settings.opt == "ada" else 0.0
    parameters = network.parameters()
    if settings.opt == "rmsprop":
        alpha, eps = (0.9, 1e-7) if paper else (0.99, 1e-8)
        constants = {"alpha": alpha, "eps": eps, "momentum": settings.momentum, "weight_decay": decay}
        return optimizers.make(torch.optim.RMSprop, parameters, lr=settings.lr, **constants)
    if settings.opt == "ada":
        rho, eps = (0.95, 1e-7) if paper else (0.9, 1e-6)
        return optimizers.make(torch.optim.Adadelta, parameters, lr=settings.lr, rho=rho, eps=eps, weight_decay=decay)
    if settings.opt == "sgd":
        constants = {"momentum": settings.momentum, "weight_decay": decay}
        return optimizers.make(torch.optim.SGD, parameters, lr=settings.lr, **constants)
    raise InputError(f"--opt `{settings.opt}` is not known. Known: rmsprop, ada, sgd.")


def train_vae(
    train: Pixels,
    test: Pixels,
    settings: VaeSettings,
    folder: Path,
    compute: Compute,
    on_start: Callable[[], None] | None = None,
) -> tuple[ConditionalVAE, History]:
    """Train the conditional VAE and leave weights, logs and checkpoint in `folder`.

    With the loss `elbo` the encoder sees and the decoder is compared with pixels in [0, 1]; with `mse` both are the
    normalised image. Latent noise stays on in validation, drawn from the run's generator.

    Args:
        train: training images.
        test: validation images.
        settings: what decides the weights.
        folder: the run folder.
        compute: how it runs.
        on_start: called before the first step, once nothing can refuse the run any more.

    Returns:
        The trained network on the device, in eval mode, and one record per epoch. The network is the last epoch's, or
        with a patience the one with the lowest validation loss.
    """
    device = compute.device
    seed_everything(settings.seed)
    network = build_vae(settings.architecture, settings.n_classes, settings.latent_dim).to(device)
    lay_out(network, device)  # its images have one channel; what follows takes the order of the weights
    forward = maybe_compile(network, compute.compile)
    conditions = torch.eye(settings.n_classes, device=device)
    noise = torch.Generator().manual_seed(settings.seed + 1)
    scale = (settings.mean, settings.std) if settings.loss == "mse" else (0.0, 1.0)

    def outcome(batch: tuple[Tensor, Tensor, Tensor]) -> Outcome:
        images, labels, _ = batch
        x = to_float(images, *scale)
        eps = latent_noise(x.new_empty(len(x), settings.latent_dim), noise)
        with autocast(device, compute.precision):
            recon, mu, logvar, _ = forward(x, conditions[labels], eps)
        loss = elbo_loss(recon, x, mu, logvar) if settings.loss == "elbo" else mse_loss(recon, x)
        return Outcome(loss, len(labels))

    job = Job(
        folder=folder,
        network=network,
        optimizer=make_optimizer(network, settings),
        scaler=make_scaler(device, compute.precision),
        batches=_shuffled(train, settings.batch_size, device, settings.seed),
        step=outcome,
        validate=lambda: (outcome(batch) for batch in _in_order(test, device)),
        noise=noise,
        epochs=settings.epochs,
        save_every=settings.save_every,
        log_names=("train_loss.log", "vali_loss.log"),
        patience=settings.patience or None,
    )
    return network, _run(job, settings, train, compute, on_start)


def train_classifier(
    train: Pixels | PaperBatches,
    test: Pixels,
    settings: ClassifierSettings,
    folder: Path,
    compute: Compute,
    on_start: Callable[[], None] | None = None,
    fingerprint: int | None = None,
) -> tuple[OutlierClassifier, History]:
    """Train the classifier and leave weights, logs and checkpoint in `folder`.

    Args:
        train: in-distribution images with labels 0..n-1 and outliers with label n, or batches of both (the paper's
            procedure composes its own).
        test: the validation images, of the same two kinds.
        settings: what decides the weights.
        folder: the run folder.
        compute: how it runs.
        on_start: called before the first step, once nothing can refuse the run any more.
        fingerprint: of what `train` was made from, which a resumed run must find again; of `train` itself when None.

    Returns:
        The network after the last epoch, on the device, in eval mode, and one record per epoch.
    """
    device = compute.device
    seed_everything(settings.seed)
    network = build_classifier(settings.architecture, settings.n_classes).to(device)
    lay_out(network, device)
    logits_of = maybe_compile(network.logits, compute.compile)
    draws = torch.Generator().manual_seed(settings.seed + 1)

    def outcome(batch: tuple[Tensor, Tensor, Tensor]) -> Outcome:
        images, labels, _ = batch
        if settings.views != "none" and network.training:
            images = common_views(images, draws, mirror=settings.views == "crop_mirror")
        x = _scaled(images, settings.mean, settings.std)
        with autocast(device, compute.precision):
            logits = logits_of(x)
        loss = classifier_loss(
            logits,
            labels,
            settings.ood_weight,
            settings.n_classes,
            double_softmax=settings.double_softmax,
            reduction="batch" if settings.architecture == "paper" else "weighted",
        )
        return Outcome(loss, len(labels), (logits.argmax(1) == labels).sum())

    job = Job(
        folder=folder,
        network=network,
        optimizer=make_optimizer(network, settings),
        scaler=make_scaler(device, compute.precision),
        batches=_shuffled(train, settings.batch_size, device, settings.seed) if isinstance(train, Pixels) else train,
        step=outcome,
        validate=lambda: (outcome(batch) for batch in _in_order(test, device)),
        noise=draws,
        epochs=settings.epochs,
        save_every=settings.save_every,
        log_names=("train_loss(accuracy).log", "vali_loss(accuracy).log"),
    )
    return network, _run(job, settings, train, compute, on_start, fingerprint)


def run_seed(folder: Path, given: int | None, resume: bool) -> int:
    """The seed of a run: the given one; else, on resuming, the one the run had; else one drawn from the system."""
    before = read_settings(folder).get("seed") if resume and given is None else given
    return seed_everything(before)


def _run(
    job: Job,
    settings: VaeSettings | ClassifierSettings,
    train: Pixels | PaperBatches,
    compute: Compute,
    on_start: Callable[[], None] | None,
    fingerprint: int | None = None,
) -> History:
    record = {**asdict(settings), "data_crc32": train.crc32() if fingerprint is None else fingerprint}
    record["precision"] = compute.precision
    if isinstance(train, PaperBatches):
        record["generation"] = {**asdict(train.settings), "encoder_scale": list(train.settings.encoder_scale)}
    with claimed(job.folder):
        if compute.resume:
            _refuse_other_run(job.folder, record)
        progress = restore(job, compute.resume)
        if on_start is not None:
            on_start()
        run = Run(job.folder, record, log_to=compute.log_to, last_step=progress.epoch)
        try:
            fit(job, run, progress)
        finally:
            run.close()
    job.network.eval()
    return progress.history


def _refuse_other_run(folder: Path, record: dict[str, Any]) -> None:
    """Refuse to resume a run with other settings or data than it was started with."""
    refuse_other_settings(folder, record, MAY_DIFFER)
    if read_settings(folder).get("data_crc32", record["data_crc32"]) != record["data_crc32"]:
        raise InputError(
            f"--resume: the run in {folder} was trained on other images or outliers than are there now. "
            "Restore them, or start anew without --resume."
        )


def _scaled(images: Tensor, mean: float, std: float) -> Tensor:
    """Normalised float images of uint8 ones, or of floats in [0, 1] (the paper's pools)."""
    return to_float(images, mean, std) if images.dtype == torch.uint8 else (images - mean) / std


def _shuffled(pixels: Pixels, batch_size: int, device: torch.device, seed: int) -> DeviceLoader:
    order = torch.Generator().manual_seed(seed)
    images, labels = pixels.images.to(device), pixels.labels.to(device)
    return DeviceLoader(images, labels, batch_size, shuffle=True, drop_last=True, generator=order)


def _in_order(pixels: Pixels, device: torch.device) -> Iterable[Any]:
    images, labels = pixels.images.to(device), pixels.labels.to(device)
    return DeviceLoader(images, labels, EVALUATION_BATCH, shuffle=False, drop_last=False)
