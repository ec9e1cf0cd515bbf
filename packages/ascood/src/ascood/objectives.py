"""What each trainer minimises on a batch, and how alpha and the learning rates change meanwhile.

An objective takes (images, labels), for oe and mixoe also a batch of outliers, and gives the loss with its parts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ood_shared.errors import InputError, unknown
from torch import Tensor, nn

from ascood.attribution import saliency
from ascood.heads import ASCOODNet, T2FNormNet
from ascood.losses import (
    ascood_loss,
    cutmix_box,
    logitnorm_loss,
    mixed_labels,
    outlier_exposure_loss,
    soft_cross_entropy,
)
from ascood.outliers import OOD_TYPES, draw_noise, make_outliers

Losses = dict[str, Tensor]  # `loss`, and its parts
FLOOR = 1e-6  # learning rate at the end of training, for the backbone's group


@dataclass
class Pass:
    """The network as a training step sees it.

    Attributes:
        network: for its mode and parameters.
        forward: the network, or its compiled form.
        context: inside it forward passes run in the precision of the run.
        exact: inside it attributions run.
        noise: source of the outliers' draws.
    """

    network: nn.Module
    forward: Callable[[Tensor], Tensor]
    context: Callable[[], Any]
    exact: Callable[[], Any]
    noise: torch.Generator


@dataclass(frozen=True)
class AscoodArgs:
    """Hyper-parameters of ASCOOD (`trainer.trainer_args`).

    Attributes:
        w: weight of the uncertainty loss, 0 or more.
        sigma: standard deviation of the standardised features, positive.
        p_inv: share of the values or positions taken as invariant, from 0 to 1.
        ood_type: `gradient`, `shuffle` or `gaussian`.
        alpha_max, alpha_min: strength of the outliers, falling from the first to the second.
        attribution_mode: `eval`, or `train` to attribute with batch statistics.
    """

    w: float = 1.0
    sigma: float = 0.5
    p_inv: float = 0.1
    ood_type: str = "gradient"
    alpha_max: float = 300.0
    alpha_min: float = 30.0
    attribution_mode: str = "eval"

    def __post_init__(self) -> None:
        if self.ood_type not in OOD_TYPES:
            raise unknown("trainer.trainer_args.ood_type", self.ood_type, OOD_TYPES)
        if self.attribution_mode not in ("eval", "train"):
            raise unknown("trainer.trainer_args.attribution_mode", self.attribution_mode, ("eval", "train"))
        for name, fits, expected in (
            ("w", self.w >= 0, "0 or more"),
            ("sigma", self.sigma > 0, "a number above 0"),
            ("p_inv", 0 <= self.p_inv <= 1, "a fraction from 0 to 1"),
            ("alpha_min", self.alpha_min >= 0, "0 or more"),
            (
                "alpha_max",
                self.alpha_max >= self.alpha_min,
                f"alpha_min ({self.alpha_min}) or more, from which it falls",
            ),
        ):
            if not fits:
                raise InputError(f"trainer.trainer_args.{name} is {getattr(self, name)}; expected {expected}.")


def ascood_step(
    run: Pass, args: AscoodArgs, images: Tensor, labels: Tensor, alpha: float, noise: Tensor | None = None
) -> Losses:
    """Outliers from the batch, and one joint forward pass of both (arXiv 2411.10794, section 3).

    Args:
        run: the network.
        args: hyper-parameters.
        images: normalised (batch, channels, height, width).
        labels: int64 (batch,).
        alpha: strength in this epoch.
        noise: the draws of `outliers.draw_noise`; drawn from `run.noise` when None.
    """
    if noise is None:
        noise = draw_noise(images, args.p_inv, args.ood_type, run.noise)
    attribution = None
    if args.ood_type != "gaussian":
        with run.exact():
            attribution = saliency(run.network, images, labels, args.attribution_mode == "train", run.forward)
    outliers = make_outliers(images, attribution, args.ood_type, args.p_inv, alpha, noise)
    with run.context():
        logits = run.forward(torch.cat([images, outliers]))  # (2 batch, classes)
    logits = _wide(logits)
    total, of_id, of_ood = ascood_loss(logits[: len(images)], labels, logits[len(images) :], args.w)
    return {"loss": total, "id_loss": of_id, "ood_loss": of_ood}


def base_step(run: Pass, images: Tensor, labels: Tensor) -> Losses:
    """Cross-entropy; on a T2FNormNet, of the logits of normalised features."""
    with run.context():
        logits = run.forward(images)
    return {"loss": F.cross_entropy(_wide(logits), labels)}


def logitnorm_step(run: Pass, images: Tensor, labels: Tensor, tau: float) -> Losses:
    """Cross-entropy of normalised logits."""
    with run.context():
        logits = run.forward(images)
    return {"loss": logitnorm_loss(_wide(logits), labels, tau)}


def oe_step(run: Pass, images: Tensor, labels: Tensor, outliers: Tensor, weight: float) -> Losses:
    """Outlier exposure in one joint forward pass."""
    with run.context():
        logits = run.forward(torch.cat([images, outliers]))
    logits = _wide(logits)
    return {"loss": outlier_exposure_loss(logits[: len(images)], labels, logits[len(images) :], weight)}


@dataclass(frozen=True)
class MixArgs:
    """Hyper-parameters of MixOE: weight, the two of the Beta distribution, `cutmix` or `mixup`."""

    lambda_oe: float = 1.0
    alpha: float = 0.1
    beta: float = 1.0
    mix_op: str = "cutmix"

    def __post_init__(self) -> None:
        if self.mix_op not in ("cutmix", "mixup"):
            raise unknown("trainer.mix_op", self.mix_op, ("cutmix", "mixup"))
        if not (self.alpha > 0 and self.beta > 0):
            raise InputError(f"trainer.alpha {self.alpha} and trainer.beta {self.beta}: expected numbers above 0.")


def mixoe_step(run: Pass, args: MixArgs, images: Tensor, labels: Tensor, outliers: Tensor) -> Losses:
    """Zhang et al., MixOE, WACV 2023: images mixed with outliers learn mixed labels, in a pass of their own."""
    mixed, share = mix(images, outliers, args, run.noise)
    with run.context():
        logits = run.forward(images)
        mixed_logits = run.forward(mixed)
    target = mixed_labels(labels, logits.shape[1], share)
    of_id = F.cross_entropy(_wide(logits), labels)
    of_mixed = soft_cross_entropy(_wide(mixed_logits), target)
    return {"loss": of_id + args.lambda_oe * of_mixed, "id_loss": of_id, "ood_loss": of_mixed}


def mix(images: Tensor, outliers: Tensor, args: MixArgs, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mixed images, and the share of ID in them. One seed is drawn from the generator; the rest follows from it."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    draws = np.random.default_rng(seed)
    share = float(draws.beta(args.alpha, args.beta))
    partners = outliers[torch.arange(len(images), device=images.device) % len(outliers)]
    if args.mix_op == "mixup":
        return share * images + (1 - share) * partners, share
    height, width = images.shape[2:]
    centre = (int(draws.integers(height)), int(draws.integers(width)))
    top, bottom, left, right = cutmix_box(height, width, share, centre)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def check_network(trainer: str, network: nn.Module) -> None:
    """Refuse a trainer whose network is of another kind."""
    for name, kind, file in (("ascood", ASCOODNet, "ascood_net"), ("t2fnorm", T2FNormNet, "t2fnorm_net")):
        if trainer == name and not isinstance(network, kind):
            raise InputError(
                f"trainer.name {name} needs network.name {file}; add configs/networks/{file}.yml to --config."
            )


def _wide(logits: Tensor) -> Tensor:
    """Losses are computed in float32 or wider."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@dataclass
class Objective:
    """A trainer's step on a batch in a given epoch.

    Attributes:
        step: takes images, labels, outlier images or None, and alpha.
        alpha: gives the strength of an epoch from its number and the number of epochs.
        uses_outliers: whether a second loader is read.
        skips_last: whether the last batch of each epoch is left out (mixoe).
        settings: what decides the weights.
    """

    step: Callable[[Tensor, Tensor, Tensor | None, float], Losses]
    alpha: Callable[[int, int], float] = lambda epoch, epochs: 0.0
    uses_outliers: bool = False
    skips_last: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def alpha_at(epoch: int, epochs: int, alpha_min: float, alpha_max: float) -> float:
    """Strength of the outliers in an epoch, counted from 1: linear from alpha_max down to alpha_min.

    Epoch 1 already is one step below alpha_max and the last epoch is alpha_min, as in the original; so alpha_max itself
    never occurs (arXiv 2411.10794, section 3.4; the document's list calls alpha_min the initial value, its bracket and
    the code the final one).

    >>> [alpha_at(e, 3, 30.0, 300.0) for e in (1, 2, 3)]
    [210.0, 120.00000000000001, 30.0]
    """
    if not 1 <= epoch <= epochs:
        raise InputError(f"Epoch {epoch} is not one of 1 to {epochs}.")
    return (alpha_max - alpha_min) * (1 - epoch / epochs) + alpha_min


def cosine_factor(step: int, steps: int, lr: float) -> float:
    """What multiplies the learning rate of every group at a step, counted from 0: a cosine from 1 to 1e-6 / lr.

    The last layer's group, which starts at fc_lr_factor lr, thus ends at fc_lr_factor 1e-6.

    Args:
        step: optimizer steps done so far.
        steps: epochs times batches per epoch.
        lr: rate of the backbone's group at the start.
    """
    least = FLOOR / lr
    return least + (1 - least) * (1 + math.cos(math.pi * step / steps)) / 2
