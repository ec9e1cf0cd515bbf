"""One training step: ID batch and outliers through the network, the queue, the latent samples, the losses.

    L = L_ce + beta1 L_mar        one forward pass over ID images and outliers, so batch norm sees both populations

The margin loss as a whole waits for full queues (when a space is latent) and for `start_epoch`. The batch that
completes the queues still trains without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.devices import autocast
from ood_shared.distributed import gather_batch
from torch import Tensor, nn

from know_your_space.inliers import draw_latent
from know_your_space.losses import MarginLoss, cross_entropy, margin_loss
from know_your_space.networks import Network
from know_your_space.outliers import convolved_outliers, jitter_contrast, latent_tails, pixel_inliers
from know_your_space.queues import LatentQueue
from know_your_space.settings import TrainSettings
from know_your_space.transforms import training_view

Forward = Callable[[Tensor], tuple[Tensor, Tensor]]


class Losses(NamedTuple):
    """What one step found; tensors, so that nothing waits for the device."""

    ce: Float[Tensor, ""]
    margin: MarginLoss
    total: Float[Tensor, ""]
    logits: Float[Tensor, "batch classes"]  # of the ID images, without gradient
    active: bool  # whether the margin loss took part


class Step:
    """The forward half of a training step; calling it advances the queue and the generator.

    Args:
        network: on the device, in training mode.
        forward: the network, or its compiled form.
        queue: on the device.
        weights: of the classes in the cross-entropy, on the device.
        settings: of the run.
        generator: CPU generator of this rank.
        precision: of the forward pass; losses, covariance and latent samples are always float32.
    """

    def __init__(
        self,
        network: Network,
        forward: Forward,
        queue: LatentQueue,
        weights: Float[Tensor, " classes"],
        settings: TrainSettings,
        generator: torch.Generator,
        precision: str = "fp32",
    ) -> None:
        self.network, self.forward, self.queue, self.weights = network, forward, queue, weights
        self.settings, self.generator, self.precision = settings, generator, precision
        self.tails = latent_tails(settings.inlier_space, settings.outlier_space)
        self.jittered = torch.zeros((), dtype=torch.int64, device=weights.device)  # steps with a repaired covariance

    def __call__(
        self,
        pixels: UInt8[Tensor, "batch 3 h w"],
        labels: Int64[Tensor, " batch"],
        outliers: Float[Tensor, "outliers 3 s s"] | None,
        epoch: int,
    ) -> Losses:
        """Losses of one batch.

        Args:
            pixels: the ID batch, on the device.
            labels: its classes.
            outliers: pixel outliers, normalised; None when outliers are not pixels.
            epoch: from 1 on.
        """
        s = self.settings
        images = training_view(pixels, s.augmentation, self.generator)  # (n, 3, s, s)
        parts = [] if outliers is None else [outliers]
        if outliers is not None and s.rand_conv:
            parts.append(convolved_outliers(images, self.generator, s.rand_conv_sizes))
        if parts:
            parts = [jitter_contrast(torch.cat(parts), s.outlier_contrast, self.generator)]
        n_outliers = sum(map(len, parts))
        if s.inlier_space == "pixel":
            parts.append(pixel_inliers(pixels, self.generator))
        logits, features, others = self._forward(images, torch.cat(parts) if parts else None)

        ready = not s.latent or self.queue.push(gather_batch(features), gather_batch(labels))
        active = ready and epoch >= s.start_epoch
        ce = cross_entropy(logits, labels, self.weights)
        margin = self._margin(others, n_outliers) if active else MarginLoss(ce.new_zeros(()), ce.new_zeros(()))
        total = ce + s.beta1 * margin.total if active else ce
        return Losses(ce.detach(), margin, total, logits.detach(), active)

    def _forward(self, images: Tensor, others: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits and features of the ID images, logits of the others."""
        n = len(images)
        with autocast(images.device, self.precision):
            if others is None:
                logits, features = self.forward(images)
                return logits.float(), features.float(), None
            if not self.settings.separate_bn:
                logits, features = self.forward(torch.cat([images, others]))
                return logits[:n].float(), features[:n].float(), logits[n:].float()
            logits, features = self.forward(images)
            with kept_running_statistics(self.network):
                return logits.float(), features.float(), self.forward(others)[0].float()

    def _margin(self, others: Tensor | None, n_outliers: int) -> MarginLoss:
        s = self.settings
        inliers, outliers = (None if tail is None else self._latent_logits(tail) for tail in self.tails)
        if others is not None:
            outliers = others[:n_outliers] if s.outlier_space == "pixel" else outliers
            inliers = others[n_outliers:] if s.inlier_space == "pixel" else inliers
        return margin_loss(inliers, outliers, s.m_in, s.m_out, s.temperature)

    def _latent_logits(self, tail: str) -> Tensor:
        s = self.settings
        samples, jittered = draw_latent(self.queue.features, s.select, s.sample_from, self.generator, tail)
        self.jittered += jittered
        logits: Tensor = self.network.fc(samples)
        return logits


@contextmanager
def kept_running_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block batch norm uses the statistics of the batch and leaves its running ones as they are."""
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [(part.momentum, part.num_batches_tracked) for part in norms]
    for part in norms:
        part.momentum, part.num_batches_tracked = 0.0, part.num_batches_tracked.clone()  # type: ignore[union-attr]
    try:
        yield
    finally:
        for part, (momentum, tracked) in zip(norms, before, strict=True):
            part.momentum, part.num_batches_tracked = momentum, tracked
