"""Training within a budget, on images in memory: what `ascood.fit` and `python -m ascood.bench` have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from ood_shared import checkpoints
from ood_shared.contract import Common, Request
from ood_shared.training import Compute
from torch import Tensor, nn

from ascood.bench import Schedule
from ascood.data.loading import TestBatches
from ascood.data.preprocessing import Chain, normalisation
from ascood.data.samples import Samples
from ascood.extraction import extract
from ascood.run_files import BEST
from ascood.scores.base import Extract
from ascood.settings import RunConfig
from ascood.train import train_sets

SIZE = 32
FULL_EPOCHS = 100  # of the paper, CIFAR
VAL_SHARE = 10  # one of so many training images is for validation
BATCH = 500  # images of a pass over the training images on a GPU
ARGS = {"w": 1.0, "sigma": 0.5, "p_inv": 0.15}  # the document's CIFAR-10 command, which has `shuffle`
# Strength at the first and the last epoch: as in the document for CIFAR-10, `gaussian` as for CelebA. At 32 pixels 300
# moves the selected values by several times their range, yet a tenth of it is worse (see the README).
ALPHAS = {"gradient": (300.0, 30.0), "shuffle": (1.0, 1.0), "gaussian": (0.1, 0.1)}


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        name: of the ID set.
        schedule: sizes of the training.
        common: whether network, views and length are those that all methods have in common.
        ood_type: of the synthesised outliers.
        mirror: whether common views are mirrored.
        seed: of the training.
    """

    name: str
    schedule: Schedule
    common: bool
    ood_type: str
    mirror: bool
    seed: int

    @classmethod
    def of(cls, request: Request, schedule: Schedule, ood_type: str, mirror: bool = False) -> "Plan":
        """Of what a bench run is asked for."""
        if request.common is not None:
            schedule = _in_common(schedule, request.common)
        return cls(request.id, schedule, request.common is not None, ood_type, mirror, request.seed)

    @property
    def preprocessor(self) -> str:
        """Name of the training views."""
        return ("mirrored" if self.mirror else "common") if self.common else "ascood"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that is scored, and what was used for it.

    Attributes:
        network: in evaluation mode.
        chain: sizes and normalisation of its images.
        classes: names of the ID classes.
        config: as main.py would have it.
        weights: file of the network's weights.
        features: outputs for the training and validation images, to which scores are fitted.
        step_seconds: of a step of the training.
        precision: of the passes.
    """

    network: nn.Module
    chain: Chain
    classes: tuple[str, ...]
    config: dict[str, Any]
    weights: Path
    features: dict[str, Extract]
    step_seconds: float
    precision: str

    @property
    def epochs(self) -> int:
        """Passes over the training images."""
        return int(self.config["optimizer"]["num_epochs"])


def train_within(
    plan: Plan,
    images: UInt8[Tensor, "n 3 side side"],
    labels: Int64[Tensor, " n"],
    classes: Sequence[str],
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    test: tuple[Tensor, Tensor] | None = None,
) -> TrainedNetwork:
    """Train on these images; the run is written to `folder`/run.

    Args:
        plan: of the training.
        images: to train on.
        labels: of the images.
        classes: names.
        generator: of the choice of validation images.
        compute: how to compute.
        folder: of the result.
        test: images and labels for the accuracy that is told at the end.
    """
    sets = split_for_validation(images, labels, generator, hold_out=not plan.common)
    if test is not None:
        sets["test"] = samples_of("test", *test)
    config = make_config(plan, len(sets["train"]), int(labels.max()) + 1)
    mean, std = normalisation("unknown")
    chain = Chain("test", SIZE, SIZE, mean, std)
    network, standing = train_sets(RunConfig.of(config), sets, folder / "run", compute)
    if plan.common:
        # the last weights, as all methods: few validation images choose an epoch by the luck of one of them
        (weights,) = (folder / "run").glob("last_epoch*.ckpt")
    else:
        weights = folder / "run" / BEST
        checkpoints.load_weights(network, checkpoints.read_weights(weights), weights)
    network.eval()
    features = {
        split: extract(network, TestBatches(sets[split], chain, BATCH, 0, compute.device), compute.precision)
        for split in ("train", "val")
    }
    return TrainedNetwork(
        network, chain, tuple(classes), config, weights, features, standing.step_seconds, compute.precision
    )


def make_config(plan: Plan, images: int, classes: int) -> dict[str, Any]:
    """The config that main.py would have, for sets that lie in memory."""
    schedule, epochs = plan.schedule, FULL_EPOCHS
    if schedule.steps is not None:
        epochs = max(1, round(schedule.steps / -(-images // schedule.batch_size)))
    strength = dict(zip(("alpha_max", "alpha_min"), ALPHAS[plan.ood_type], strict=True))
    sizes = {"train": schedule.batch_size, "val": 200, "test": 200}
    return {
        "seed": plan.seed,
        "num_workers": 0,
        "preprocessor": {"name": plan.preprocessor},
        "pipeline": {"name": "train"},
        "dataset": {
            "name": plan.name,
            "num_classes": classes,
            "pre_size": SIZE,
            "image_size": SIZE,
            "normalization_type": "unknown",
            **{split: {"batch_size": size, "shuffle": split == "train"} for split, size in sizes.items()},
        },
        "network": {"name": "ascood_net", "backbone": {"name": schedule.network}},
        "trainer": {"name": "ascood", "trainer_args": {**ARGS, **strength, "ood_type": plan.ood_type}},
        "optimizer": {"lr": schedule.lr, "num_epochs": epochs},
    }


def split_for_validation(
    images: Tensor, labels: Tensor, generator: torch.Generator, hold_out: bool
) -> dict[str, Samples]:
    """Training and validation images.

    Without `hold_out` the validation images are trained on, too: they choose nothing then.
    """
    order = torch.randperm(len(images), generator=generator)
    count = max(1, len(order) // VAL_SHARE)
    train, val = order[count if hold_out else 0 :].sort().values, order[:count].sort().values
    return {name: samples_of(name, images[index], labels[index]) for name, index in (("train", train), ("val", val))}


def samples_of(name: str, images: Tensor, labels: Tensor) -> Samples:
    """A set of images in memory."""
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())  # (n, 32, 32, 3)
    return Samples(name, labels.numpy(), name, (), pixels)


def _in_common(schedule: Schedule, common: Common) -> Schedule:
    return replace(
        schedule,
        network=common.network,
        train_images=common.train_images,
        test_images=common.test_images,
        steps=common.steps,
        batch_size=common.batch_size,
    )
