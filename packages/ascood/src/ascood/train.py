"""Training as a config says: data, network, trainer, epochs, and the test accuracy at the end."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from ood_shared import distributed, optimizers
from ood_shared.devices import autocast, make_scaler, maybe_compile, seed_everything, tuned_convolutions
from ood_shared.errors import InputError
from ood_shared.locks import claimed
from ood_shared.runs import Run, refuse_other_settings
from ood_shared.training import Compute
from torch import Tensor, nn

from ascood.build import make_network, parameter_groups, to_device
from ascood.data.loading import TestBatches, TrainBatches, train_batches
from ascood.data.samples import Samples
from ascood.data.splits import SetSettings, read_splits
from ascood.figures import training_report
from ascood.loop import fit
from ascood.objectives import Pass
from ascood.settings import FREE, RunConfig, Training
from ascood.state import Job, Standing, restore
from ascood.trainers import make_objective

Opened = Callable[[int], contextlib.AbstractContextManager[object]]  # takes the epochs that are finished


def train(
    config: RunConfig,
    folder: Path,
    compute: Compute,
    sync_batch_norm: bool = False,
    deterministic: bool = False,
    opened: Opened = contextlib.nullcontext,
) -> tuple[nn.Module, Standing]:
    """Train as the config says and leave everything in the folder.

    Args:
        config: of a training pipeline.
        folder: of the run.
        compute: device and the like.
        sync_batch_norm: batch statistics over all processes.
        deterministic: only operations that give the same bits each time.
        opened: entered when the images and a resumed run were read and no other training has the folder, before
            anything is written.

    Returns:
        The network with its last weights, and how the run went.
    """
    splits = read_splits(config.dataset, split_names(config), compute.data_dir)
    return train_sets(config, splits, folder, compute, sync_batch_norm, deterministic, opened)


def split_names(config: RunConfig) -> tuple[str, ...]:
    """The splits that a training reads."""
    return ("train", "val", "test", "oe") if _training(config).trainer.with_outliers else ("train", "val", "test")


def train_sets(
    config: RunConfig,
    splits: Mapping[str, Samples],
    folder: Path,
    compute: Compute,
    sync_batch_norm: bool = False,
    deterministic: bool = False,
    opened: Opened = contextlib.nullcontext,
) -> tuple[nn.Module, Standing]:
    """As `train`, on sets that are read already.

    Args:
        config: of a training pipeline; where its sets lie is not read.
        splits: train, val, test if an accuracy is to be told at the end, and oe for the trainers that need it.
        folder: of the run.
        compute: device and the like.
        sync_batch_norm: batch statistics over all processes.
        deterministic: only operations that give the same bits each time.
        opened: see `train`.
    """
    seed_everything(config.seed)
    with _determinism(deterministic), tuned_convolutions(not deterministic):
        network, job, val, test = _prepare(config, splits, folder, compute, sync_batch_norm)
        settings = {**config.recorded, "precision": compute.precision, "world_size": distributed.world_size()}
        writes = distributed.is_main()
        for judged in (val, test):
            if judged is not None:
                judged.read()
        with claimed(folder):
            if compute.resume and writes:
                refuse_other_settings(folder, settings, FREE)
            standing = restore(job, compute.resume)
            with opened(standing.epoch):
                if writes and not compute.resume:
                    _clear(folder)
                run = Run(folder, settings, log_to=compute.log_to, last_step=standing.epoch) if writes else None
                try:
                    fit(job, run, standing)
                finally:
                    if run is not None:
                        run.close()
                accuracy = None
                if test is not None:
                    accuracy = evaluate_network(network, test, labels_of(test), compute.precision)[1]
                if writes:
                    _conclude(config, folder, network, standing, val if test is None else test, accuracy)
    return network, standing


def _conclude(
    config: RunConfig, folder: Path, network: nn.Module, standing: Standing, judged: TestBatches, accuracy: float | None
) -> None:
    """Say how the training went, and leave its report.

    Args:
        config: of the run.
        folder: of the run.
        network: with its last weights.
        standing: how the run went.
        judged: images for the report.
        accuracy: of the test split; None without one.
    """
    print(f"Completed! Best accuracy: {100 * standing.best_accuracy:.2f} at epoch {standing.best_epoch}")
    trainer = _training(config).trainer
    facts: dict[str, object] = {"trainer": trainer.name, "arguments": str(trainer.arguments)}
    if accuracy is not None:
        print(f"Test accuracy (last weights): {100 * accuracy:.2f}", flush=True)
        facts["test_accuracy"] = accuracy
    training_report(folder, standing.history, facts, network, judged)


@torch.no_grad()
def evaluate_network(network: nn.Module, batches: TestBatches, labels: Tensor, precision: str) -> tuple[float, float]:
    """Mean over the batches of the mean cross-entropy, and the accuracy; the same on every rank.

    Args:
        network: is left in evaluation mode.
        batches: of the whole set.
        labels: int64 (n,).
        precision: of the forward passes.
    """
    network.eval()
    logits = []
    for images in batches:
        with autocast(images.device, precision):
            logits.append(network(images).float())
    whole = distributed.gather_rows(torch.cat(logits), len(labels))
    labels = labels.to(whole.device)
    losses = [
        F.cross_entropy(part, expected)
        for part, expected in zip(whole.split(batches.batch_size), labels.split(batches.batch_size), strict=True)
    ]
    return float(torch.stack(losses).mean()), float((whole.argmax(1) == labels).sum()) / len(labels)


def _prepare(
    config: RunConfig, splits: Mapping[str, Samples], folder: Path, compute: Compute, sync_batch_norm: bool
) -> tuple[nn.Module, Job, TestBatches, TestBatches | None]:
    """Data, network, optimizer and objective, in the original's order: loaders, then weights."""
    device, precision, seed = compute.device, compute.precision, config.seed
    training, dataset = _training(config), config.dataset
    trainer, optimizer = training.trainer, training.optimizer

    def batches(split: str, views: str, stream: int) -> TrainBatches:
        settings = dataset.need(split)
        return train_batches(
            splits[split], dataset.chain.with_kind(views), batch_size(settings, split), settings.shuffle,
            seed + stream, config.workers, device,
        )  # fmt: skip

    train_set = batches("train", training.views, 1000)
    outliers = batches("oe", "test", 2000) if trainer.with_outliers else None
    val = test_batches(config, splits["val"], "val", device)
    test = test_batches(config, splits["test"], "test", device) if "test" in splits else None

    network = make_network(config.network, dataset.classes)
    if sync_batch_norm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network = to_device(network, device)
    distributed.broadcast(network)
    noise = torch.Generator(device.type if device.type != "mps" else "cpu")
    noise.manual_seed(seed + 7919 * (1 + distributed.rank()))
    run = Pass(
        network,
        maybe_compile(network, compute.compile),
        lambda: autocast(device, precision),
        lambda: autocast(device, "bf16" if precision == "bf16" else "fp32"),  # fp16 would lose small gradients
        noise,
    )
    objective = make_objective(trainer, network, run)
    of_ascood = trainer.name == "ascood"
    groups = parameter_groups(network, optimizer.lr, optimizer.fc_lr_factor if of_ascood else 1.0)
    for group in groups:
        group["initial_lr"] = group["lr"]
    nesterov = (optimizer.nesterov or not of_ascood) and optimizer.momentum > 0  # the others have it always on
    constants = {"momentum": optimizer.momentum, "weight_decay": optimizer.weight_decay, "nesterov": nesterov}
    sgd = optimizers.make(torch.optim.SGD, groups, **constants)
    val_labels = labels_of(val)
    job = Job(
        folder,
        network,
        sgd,
        make_scaler(device, precision),
        train_set,
        outliers,
        objective,
        lambda: evaluate_network(network, val, val_labels, precision),
        noise,
        optimizer.num_epochs,
        optimizer.lr,
        training.keep_all,
        len(splits["train"]),
    )
    return network, job, val, test


def test_batches(config: RunConfig, samples: Samples, split: str, device: torch.device) -> TestBatches:
    """Images of a split in order, in batches of its `batch_size`."""
    size = batch_size(config.dataset.need(split), split)
    return TestBatches(samples, config.dataset.chain, size, config.workers, device)


def batch_size(settings: SetSettings, split: str) -> int:
    """The `batch_size` of a split.

    Raises:
        InputError: it names none.
    """
    if settings.batch_size is None:
        raise InputError(f"The config lacks `dataset.{split}.batch_size`.")
    return settings.batch_size


def labels_of(batches: TestBatches) -> Tensor:
    """Labels of a set, int64 (n,)."""
    return torch.from_numpy(batches.samples.labels)


def _training(config: RunConfig) -> Training:
    assert config.training is not None  # of the pipelines that train
    return config.training


def _clear(folder: Path) -> None:
    """Remove the checkpoints of an earlier run in the same folder, so that the two never mix."""
    for pattern in ("*.ckpt", "checkpoint*.pt"):
        for old in folder.glob(pattern):
            old.unlink()


@contextlib.contextmanager
def _determinism(enabled: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(enabled or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
