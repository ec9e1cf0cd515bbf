"""Training as a config says: data, network, trainer, epochs, and the test accuracy at the end."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ood_shared import distributed
from ood_shared.devices import autocast, make_scaler, maybe_compile, seed_everything
from ood_shared.runs import Run, refuse_other_settings
from torch import Tensor, nn

from ascood import config as configs
from ascood.build import network_of_config, parameter_groups, to_device
from ascood.data.loading import TestBatches, train_batches
from ascood.data.preprocessing import Chain, train_kind
from ascood.data.samples import Samples
from ascood.data.splits import read_splits, test_chain
from ascood.loop import Job, Standing, fit, restore
from ascood.objectives import Pass
from ascood.report import training_report
from ascood.trainers import OUTLIER_TRAINERS, make_objective, read_arguments
from ascood.training_settings import FREE, Config, comparable, optimizer_settings, warn_of_unknown_keys


@dataclass(frozen=True)
class Compute:
    """How a run computes; weights do not depend on it beyond rounding."""

    device: torch.device
    precision: str = "fp32"
    compile: bool = False
    log_to: str = "jsonl"
    resume: bool = False
    sync_batch_norm: bool = False
    deterministic: bool = False
    data_dir: str | None = None


def train(config: Config, folder: Path, compute: Compute) -> tuple[nn.Module, Standing]:
    """Train as the config says and leave everything in the folder.

    Args:
        config: resolved.
        folder: of the run.
        compute: device and the like.

    Returns:
        The network with its last weights, and how the run went.
    """
    warn_of_unknown_keys(config)
    with_outliers = configs.get(config, "trainer.name") in OUTLIER_TRAINERS
    names = ("train", "val", "test", "oe") if with_outliers else ("train", "val", "test")
    splits = read_splits(config, names, compute.data_dir)
    return train_sets(config, splits, test_chain(config["dataset"]), folder, compute)


def train_sets(
    config: Config, splits: Mapping[str, Samples], chain: Chain, folder: Path, compute: Compute
) -> tuple[nn.Module, Standing]:
    """As `train`, on sets that are read already.

    Args:
        config: resolved; the paths of its `dataset` block are not read.
        splits: train, val, test if an accuracy is to be told at the end, and oe for the trainers that need it.
        chain: of the evaluation; the training chain has the same sizes and normalisation.
        folder: of the run.
        compute: device and the like.
    """
    arguments = read_arguments(config)
    seed = int(configs.get(config, "seed", 0))
    seed_everything(seed)
    torch.backends.cudnn.benchmark = not compute.deterministic
    with _determinism(compute.deterministic):
        network, job, val, test = _prepare(config, splits, chain, folder, compute, seed)
        settings = {"config": dict(config), "precision": compute.precision, "world_size": distributed.world_size()}
        if compute.resume and distributed.is_main():
            refuse_other_settings(folder, comparable(settings), FREE)
        standing = restore(job, compute.resume)
        writes = distributed.is_main()
        if writes and not compute.resume:
            _clear(folder)
        run = Run(folder, comparable(settings), log_to=compute.log_to, last_step=standing.epoch) if writes else None
        try:
            fit(job, run, standing)
        finally:
            if run is not None:
                run.close()
        accuracy = None if test is None else evaluate_network(network, test, labels_of(test), compute.precision)[1]
    if writes:
        print(f"Completed! Best accuracy: {100 * standing.best_accuracy:.2f} at epoch {standing.best_epoch}")
        facts = {"trainer": configs.get(config, "trainer.name"), "arguments": str(arguments)}
        if accuracy is not None:
            print(f"Test accuracy (last weights): {100 * accuracy:.2f}", flush=True)
            facts["test_accuracy"] = accuracy
        training_report(folder, standing.history, facts, network, val if test is None else test)
    return network, standing


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
    config: Config, splits: Mapping[str, Samples], chain: Chain, folder: Path, compute: Compute, seed: int
) -> tuple[nn.Module, Job, TestBatches, TestBatches | None]:
    """Data, network, optimizer and objective, in the original's order: loaders, then weights."""
    device = compute.device
    name, optimizer = str(configs.get(config, "trainer.name")), optimizer_settings(config)
    block = config["dataset"]
    kind = train_kind(str(block["name"]), str(configs.get(config, "preprocessor.name", "base")))
    workers = int(configs.get(config, "num_workers", 0))

    def batches(split: str, of_kind: str, stream: int) -> Any:
        entry = block[split]
        shuffle = bool(entry.get("shuffle", True))
        size = int(entry["batch_size"])
        return train_batches(splits[split], chain.with_kind(of_kind), size, shuffle, seed + stream, workers, device)

    train_set = batches("train", kind, 1000)
    outliers = batches("oe", "test", 2000) if name in OUTLIER_TRAINERS else None
    val = test_batches(config, splits["val"], chain, "val", compute)
    test = test_batches(config, splits["test"], chain, "test", compute) if "test" in splits else None

    network = network_of_config(config["network"], int(block["num_classes"]))
    if compute.sync_batch_norm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network = to_device(network, device)
    distributed.broadcast(network)
    noise = torch.Generator(device.type if device.type != "mps" else "cpu")
    noise.manual_seed(seed + 7919 * (1 + distributed.rank()))
    precision = compute.precision
    run = Pass(
        network,
        maybe_compile(network, compute.compile),
        lambda: autocast(device, precision),
        lambda: autocast(device, "bf16" if precision == "bf16" else "fp32"),  # fp16 would lose small gradients
        noise,
    )
    objective = make_objective(config, network, run)
    groups = parameter_groups(network, optimizer["lr"], optimizer["fc_lr_factor"] if name == "ascood" else 1.0)
    for group in groups:
        group["initial_lr"] = group["lr"]
    nesterov = optimizer["nesterov"] if name == "ascood" else True  # the others have it always on
    sgd = torch.optim.SGD(
        groups, momentum=optimizer["momentum"], weight_decay=optimizer["weight_decay"], nesterov=nesterov
    )
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
        int(optimizer["num_epochs"]),
        optimizer["lr"],
        bool(configs.get(config, "recorder.save_all_models", False)),
    )
    return network, job, val, test


def test_batches(config: Config, samples: Samples, chain: Chain, split: str, compute: Compute) -> TestBatches:
    """Images of a split in order, in batches of its `batch_size`."""
    entry = config["dataset"][split]
    return TestBatches(
        samples, chain, int(entry["batch_size"]), int(configs.get(config, "num_workers", 0)), compute.device
    )


def labels_of(batches: TestBatches) -> Tensor:
    """Labels of a set, int64 (n,)."""
    return torch.from_numpy(batches.samples.labels)


def _clear(folder: Path) -> None:
    """Remove the checkpoints of an earlier run in the same folder, so that the two never mix."""
    for pattern in ("*.ckpt", "checkpoint*.pt"):
        for old in folder.glob(pattern):
            old.unlink()


@contextlib.contextmanager
def _determinism(enabled: bool) -> Any:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(enabled or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
