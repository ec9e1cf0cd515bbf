"""A network with what it takes to call it: size, colours and normalisation of its images, and its feature maps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from jaxtyping import Float, UInt8
from ood_shared.datasets import resize
from ood_shared.detector_state import MOST_SIDE
from ood_shared.errors import InputError
from torch import Tensor, nn

RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where a network says nothing else


class Maps(Protocol):
    """What gives the maps; an `nn.Module`."""

    def maps(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Feature maps (n, c, h, w), the first one nearest to the image; the last one's mean is what a head takes."""


@dataclass(frozen=True)
class Inputs:
    """Images as a network takes them.

    Attributes:
        side: height and width, pixels.
        channels: 1 or 3.
        mean: of each channel, images in [0, 1].
        std: likewise.
        native: height and width of the training images where the network enlarges them; others are reduced to it first.
        square: whether centre squares are taken, because the training images differed in size.
    """

    side: int
    channels: int = 3
    mean: tuple[float, ...] = RGB_MEAN
    std: tuple[float, ...] = RGB_STD
    native: tuple[int, int] | None = None
    square: bool = False

    @classmethod
    def of(cls, words: Any) -> "Inputs":
        """From JSON values, as `dataclasses.asdict` gives them.

        Raises:
            InputError: others than these.
        """
        try:
            own: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in words.items()
            }
            found = cls(**own)
            sizes = [found.side, *(found.native or ())]
            right = all(type(size) is int and 0 < size < MOST_SIDE for size in sizes) and found.channels in (1, 3)
            numbers = [*found.mean, *found.std]
            right &= len(found.mean) == len(found.std) == found.channels and min(found.std) > 0
            right &= all(isinstance(number, float | int) for number in numbers) and type(found.square) is bool
        except (TypeError, AttributeError, ValueError):
            right = False
        if not right:
            raise InputError(f"its `inputs` are {words!r}, expected side, channels, mean, std, native and square.")
        return found

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k channels side side"]:
        """Images of any size and colour at the network's size."""
        if self.square:
            height, width = pixels.shape[2:]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            pixels = pixels[:, :, top : top + side, left : left + side]
        return resize(pixels, (self.side, self.side), channels=self.channels, native=self.native)

    def normalised(self, images: Tensor) -> Float[Tensor, "n channels side side"]:
        """Network input of prepared images, or of floats in the scale of [0, 1]."""
        unit = images.float() / 255 if images.dtype == torch.uint8 else images
        mean, std = (torch.tensor(values, device=unit.device).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return ((unit - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network, ready to be called.

    Attributes:
        word: of `--backbone`, such as `train` or `torchvision:resnet18`.
        network: in eval mode; a `Maps`.
        inputs: of the network.
        head: from the mean of the last map to logits of the ID classes; None for one class.
        first: the first of the maps whose mean and deviation are measured; earlier ones are left out.
        last: the first that is not; None measures up to the last one.
        places: side of the grid to which maps are averaged for the residual.
        settings: JSON values, from which `choice.rebuilt` makes the network again.
    """

    word: str
    network: Any = field(repr=False)
    inputs: Inputs
    head: nn.Linear | None = field(default=None, repr=False)
    first: int = 0
    last: int | None = None
    places: int = 8
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the network is; the CPU for one without weights of its own."""
        found = next(iter(self.network.parameters()), None)
        return torch.device("cpu") if found is None else found.device
