"""Training batches: two views of ID images and one of outliers, in an order that is a function of seed and epoch.

Nothing of the order or of the pixels depends on what was drawn before. A resumed run therefore needs the number of the
epoch and of the step only, and the ranks of a distributed run agree on the order without talking.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared import distributed
from ood_shared.errors import InputError
from torch import Tensor

from imood.data.images import Images, sent_at_once
from imood.data.views import Views

ID_ORDER, OOD_ORDER, ID_FILES, OOD_FILES, PIXELS, FEATURES = range(6)  # what a stream of random numbers is for


def stream(seed: int, *position: int) -> int:
    """A seed for one purpose at one position of a run, below 2^62."""
    state = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)
    return int(state[0]) >> 2


def generator(seed: int, *position: int) -> torch.Generator:
    """A CPU generator of that stream."""
    return torch.Generator().manual_seed(stream(seed, *position))


@dataclass(frozen=True)
class Batch:
    """One step of one rank.

    Attributes:
        images: (2n + m, 3, side, side): first views, second views, outliers; augmented and normalised.
        labels: (n,).
        step: its number in the epoch.
    """

    images: Float[Tensor, "rows 3 side side"]
    labels: Int64[Tensor, " n"]
    step: int


class Feed:
    """The batches of a rank.

    Args:
        train: long-tailed ID images.
        aux: auxiliary outliers; None when they are made of features.
        views: how images are augmented.
        batch_size: ID images per step over all ranks; as many outliers.
        seed: of the orders and the pixels.
        device: of the batches.

    Raises:
        InputError: a set has fewer images than one batch needs.
    """

    def __init__(
        self, train: Images, aux: Images | None, views: Views, batch_size: int, seed: int, device: torch.device
    ) -> None:
        ranks = distributed.world_size()
        self.batch_size = batch_size // ranks
        if self.batch_size < 1:
            raise InputError(f"--batch_size {batch_size} leaves nothing for each of {ranks} processes.")
        self.train, self.aux, self.views, self.seed, self.device = train, aux, views, seed, device
        sizes = {"training": len(train)} | ({} if aux is None else {"auxiliary outlier": len(aux)})
        for what, size in sizes.items():
            if -(-size // ranks) < self.batch_size:
                raise InputError(
                    f"There are {size} {what} images, fewer than one batch of {self.batch_size * ranks}. "
                    f"Pass --batch_size {max(ranks, size)} or less, or more images."
                )
        self.steps = min(-(-size // ranks) // self.batch_size for size in sizes.values())

    def __len__(self) -> int:
        """Steps per epoch: of the shorter of the two sets."""
        return self.steps

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `first` on."""
        rank, steps = distributed.rank(), range(first, self.steps)
        orders = self._orders(self.train, ID_ORDER, epoch)[first:]
        id_batches = self.train.train_batches(orders, self._seeds(ID_FILES, epoch, steps), 2)
        ood_batches: Iterator[Tensor] | None = None
        if self.aux is not None:
            ood_orders = self._orders(self.aux, OOD_ORDER, epoch)[first:]
            ood_batches = self.aux.train_batches(ood_orders, self._seeds(OOD_FILES, epoch, steps), 1)
        sent = sent_at_once(orders, self.train.labels.device)
        for step, order in zip(steps, sent, strict=True):
            images = next(id_batches)
            if ood_batches is not None:
                images = torch.cat([images, next(ood_batches)])
            pixels = self.views.train(images, generator(self.seed, PIXELS, rank, epoch, step))
            yield Batch(pixels, self.train.labels.index_select(0, order), step)

    def _orders(self, images: Images, purpose: int, epoch: int) -> list[Tensor]:
        """Indices of each step of this rank."""
        order = torch.randperm(len(images), generator=generator(self.seed, purpose, epoch))
        own = distributed.shard(order)[: self.steps * self.batch_size]
        return list(own.split(self.batch_size))

    def _seeds(self, purpose: int, epoch: int, steps: range) -> list[int]:
        return [stream(self.seed, purpose, distributed.rank(), epoch, step) for step in steps]
