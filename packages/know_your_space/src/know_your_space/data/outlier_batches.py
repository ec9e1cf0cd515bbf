"""Batches of pixel outliers: the training images in an order of their own, put through the chosen operators.

Outliers do not depend on the network, so several batches are made in one call, which costs less for each. The stream
can be stopped and continued at any batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, UInt8
from ood_shared.devices import send
from ood_shared.distributed import shard, world_size
from torch import Tensor

BATCHES_PER_CALL = 4

Make = Callable[[UInt8[Tensor, "n 3 h w"], torch.Generator], Float[Tensor, "n 3 s s"]]


class OutlierStream:
    """An endless iterator over outlier batches; an epoch of it ends with a batch that may be smaller.

    Args:
        images: uint8 training images on the device; the stored ones, never with reversed channels.
        batch_size: outliers per batch.
        make: outliers of images, with a generator for its draws.
        order: CPU generator of the order, alike on all ranks.
        draws: CPU generator of the outliers themselves, another one on each rank.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 h w"],
        batch_size: int,
        make: Make,
        order: torch.Generator,
        draws: torch.Generator,
    ) -> None:
        self.images, self.batch_size, self.make = images, batch_size, make
        self._order_generator, self._draws = order, draws
        self.restart()

    def restart(self) -> None:
        """Begin a new order with the next batch."""
        self._order: Tensor | None = None
        self._position = 0  # batches handed out in this order
        self._made: list[Tensor] = []
        self._before = self._draws.get_state()  # when the batches in `_made` were made

    def __iter__(self) -> "OutlierStream":
        return self

    def __next__(self) -> Float[Tensor, "batch 3 s s"]:
        if self._order is None or self._position * self.batch_size >= len(self._order):
            self.restart()
            self._order = self._new_order()
        number = self._position % BATCHES_PER_CALL
        if number == 0 or not self._made:
            self._make()
        self._position += 1
        return self._made[number]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, in plain values and tensors."""
        return {
            "order": self._order,
            "position": self._position,
            "order_generator": self._order_generator.get_state(),
            "draws": self._draws.get_state(),
            "before": self._before,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.restart()
        self._order, self._position = state["order"], state["position"]
        self._order_generator.set_state(state["order_generator"])
        if self._order is not None and self._position % BATCHES_PER_CALL:
            self._draws.set_state(state["before"])
            self._make()
        self._draws.set_state(state["draws"])
        self._before = state["before"]

    def _new_order(self) -> Tensor:
        """One process goes through the images in random order; several draw with replacement, as the original meant."""
        n = len(self.images)
        if world_size() == 1:
            return torch.randperm(n, generator=self._order_generator)
        return shard(torch.randint(n, (n,), generator=self._order_generator))

    def _make(self) -> None:
        assert self._order is not None
        self._before = self._draws.get_state()
        first = self._position - self._position % BATCHES_PER_CALL
        rows = self._order[first * self.batch_size : (first + BATCHES_PER_CALL) * self.batch_size]
        made = self.make(self.images.index_select(0, send(rows, self.images.device)), self._draws)
        self._made = list(made.split(self.batch_size))
