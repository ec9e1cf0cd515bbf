"""The batches that training draws from an image set."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mood_dpa.standalone import InputError

if TYPE_CHECKING:
    from mood_dpa.data.slices import Images


class Batches:
    """Endless shuffled batches of an image set, read ahead by threads; the position can be saved.

    A set smaller than a batch is given whole. Several ranks draw the same order and take every n-th image of a batch.
    """

    def __init__(
        self,
        images: "Images",
        generator: torch.Generator,
        device: torch.device,
        workers: int = 0,
        ranks: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.device, self.generator = images, device, generator
        self.rank, self.count = ranks
        self._pool = ThreadPoolExecutor(min(workers, 16)) if workers else None
        self._ahead = ThreadPoolExecutor(1)
        self._order = torch.randperm(len(images), generator=generator)
        self._at = 0
        self._next: Any = None

    def display(self, count: int) -> Tensor:
        """The first images of the first batch."""
        return self.images.read(self._order[:count].tolist(), self.device)

    def take(self, batch_size: int) -> Tensor:
        """The next batch, on the device."""
        index = self._advance(batch_size)
        if self._next is not None and self._next[0] == index:
            batch: Tensor = self._next[1].result()
        else:
            batch = self._read(index)
        before = (self._order, self._at, self.generator.get_state())
        following = self._advance(batch_size)
        self._order, self._at = before[0], before[1]
        self.generator.set_state(before[2])
        self._next = (following, self._ahead.submit(self._read, following))
        return batch

    def _read(self, index: list[int]) -> Tensor:
        return self.images.read(index, self.device, self._pool)

    def _advance(self, batch_size: int) -> list[int]:
        size = min(batch_size, len(self.images))
        if size % self.count:
            raise InputError(f"A batch of {size} images cannot be divided over {self.count} processes evenly.")
        if self._at + size > len(self._order):
            self._order = torch.randperm(len(self.images), generator=self.generator)
            self._at = 0
        index = self._order[self._at : self._at + size]
        self._at += size
        own: list[int] = index[self.rank :: self.count].tolist()
        return own

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""
        return {"order": self._order, "at": self._at, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            InputError: the set has changed its size.
        """
        if len(state["order"]) != len(self.images):
            raise InputError(
                f"The run was started with {len(state['order'])} training images, now there are {len(self.images)}."
            )
        self._order, self._at, self._next = state["order"], int(state["at"]), None
        self.generator.set_state(state["generator"])
