"""Batches of a set that lies on the device as one uint8 tensor: no worker processes, no copies to and fro.

The order of an epoch is drawn on the CPU and sent over once; every batch is then a gather on the device.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ood_shared.devices import send
from ood_shared.errors import InputError

_SETTINGS = ("samples", "drawn", "batch_size", "shuffle", "drop_last")

Batch = tuple[UInt8[Tensor, "batch channels height width"], Int64[Tensor, " batch"], Int64[Tensor, " batch"]]


class DeviceLoader:
    """Iterate over (images, labels, indices) in batches, resumable in the middle of an epoch.

    Each `for` over the loader is one epoch, in an order drawn anew from the generator when shuffling. One epoch at a
    time: the state is that of the loop started last.

    Args:
        images: uint8 (n, channels, height, width), on the device of the computation.
        labels: int64 (n,), on the same device.
        batch_size: images per batch, at least 1.
        shuffle: draw a new order for each epoch.
        drop_last: leave out the last batch when it is not full, unless it is the only one.
        generator: CPU generator for the order; needed when shuffling. Others may draw from it, too: a resumed run finds
            it as it was.
        draw: makes the order of an epoch, int64 (drawn,), from the generator when shuffling; a permutation when None.
            Draws with replacement and a rank's part of the order go here.
        drawn: how many indices `draw` gives, or how many of the images count as an epoch; all when None.

    Raises:
        InputError: no images, a batch size below 1, labels that do not fit, or no CPU generator to shuffle with.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        draw: Callable[[torch.Generator], Int64[Tensor, " drawn"]] | None = None,
        drawn: int | None = None,
    ) -> None:
        if not len(images):
            raise InputError("There are no images to make batches of; expected at least 1.")
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}; expected at least 1.")
        if len(labels) != len(images) or labels.device != images.device:
            raise InputError(
                f"{len(labels)} labels on {labels.device} do not fit {len(images)} images on {images.device}; "
                "expected as many, on the same device."
            )
        if shuffle and (generator is None or generator.device.type != "cpu"):
            raise InputError("Shuffling needs a generator on the CPU, so that every device sees the same order.")
        self.images, self.labels = images, labels
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.generator, self.draw = generator, draw
        self.drawn = len(images) if drawn is None else drawn  # images per epoch
        self._position = 0  # batches handed out in the current epoch
        self._epoch_start: Tensor | None = None  # state of the generator before the order was drawn
        self._resuming = False

    @property
    def samples(self) -> int:
        """Number of images in the set."""
        return len(self.images)

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self.drawn, self.batch_size)
        return whole if rest == 0 or (self.drop_last and whole) else whole + 1

    def __iter__(self) -> Iterator[Batch]:
        first = self._position if self._resuming else 0
        order = self._order(self._resuming)
        self._position, self._resuming = first, False
        device = self.images.device
        order = send(order, device)
        for number in range(first, len(self)):
            indices = order[number * self.batch_size : (number + 1) * self.batch_size]  # (batch,)
            self._position = number + 1
            yield self.images.index_select(0, indices), self.labels.index_select(0, indices), indices
        self._position, self._epoch_start = 0, None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: plain numbers and byte tensors, so that it loads with `weights_only=True`.

        Taken inside the loop, it counts the batch in hand as done: a loader with this state goes on with the next one.
        """
        state: dict[str, Any] = {word: getattr(self, word) for word in _SETTINGS}
        state["position"] = self._position
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
            state["epoch_start"] = self._epoch_start
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next loop continue where `state_dict` was taken.

        Taken in the last batch of an epoch, that loop is empty, as the epoch has no more; taken between epochs, it is
        the next epoch.

        Raises:
            InputError: the state is of a loader over another number of images, or with other settings.
        """
        for word in _SETTINGS:
            if state.get(word, self.drawn if word == "drawn" else None) != getattr(self, word):
                raise InputError(
                    f"The saved run read its data with {word} {state.get(word)}, this one with {getattr(self, word)}. "
                    "Resume with the same data and settings."
                )
        start = state.get("epoch_start")
        if (self.generator is None) != (state.get("generator") is None) or not 0 <= state["position"] <= len(self):
            raise InputError("The saved position in the data does not fit this loader. Resume with the same settings.")
        if self.generator is not None:
            self.generator.set_state(state["generator"].cpu())
        self._epoch_start = None if start is None else start.cpu()
        self._position = state["position"]
        self._resuming = self._position > 0

    def _order(self, resuming: bool) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.drawn)
        assert self.generator is not None  # checked when the loader was made
        if resuming and self._epoch_start is not None:
            again = torch.Generator()
            again.set_state(self._epoch_start)
            return self._drawn(again)
        self._epoch_start = self.generator.get_state()
        return self._drawn(self.generator)

    def _drawn(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self.samples, generator=generator) if self.draw is None else self.draw(generator)


def to_float(
    images: UInt8[Tensor, "batch channels height width"],
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> Float[Tensor, "batch channels height width"]:
    """Float32 images on the same device, (images / 255 - mean) / std, bit for bit as ToTensor and Normalize give.

    Args:
        images: uint8, 0 to 255.
        mean: of the pixels in the [0, 1] scale, one number or one for each channel.
        std: likewise; positive.

    Raises:
        InputError: a standard deviation that is not positive, or as many numbers as there are not channels.
    """
    scaled = images.to(torch.float32).div_(255)
    shifts, scales = ([float(number) for number in np.ravel(value)] for value in (mean, std))
    channels = images.shape[1]
    if len(shifts) not in (1, channels) or len(scales) not in (1, channels) or not min(scales) > 0:
        raise InputError(
            f"Cannot normalise {channels} channels with mean {shifts} and standard deviation {scales}; "
            f"expected 1 or {channels} numbers each, the latter positive."
        )
    if shifts == [0.0] and scales == [1.0]:
        return scaled
    shift, scale = (channel_column(tuple(values), images.device) for values in (shifts, scales))
    return scaled.sub_(shift).div_(scale)


@lru_cache(maxsize=64)
def channel_column(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers of the channels, to be used with batches of images; made once on each device."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
