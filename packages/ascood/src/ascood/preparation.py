"""How a detector brings images of any size to its network's: as the test command does, or as the bench does."""

from dataclasses import dataclass

from jaxtyping import UInt8
from ood_shared.datasets import resize
from torch import Tensor

from ascood.data.decoded import prepared
from ascood.data.preprocessing import Chain


@dataclass(frozen=True)
class Preparation:
    """From uint8 images of any size to the network's.

    Attributes:
        chain: sizes and normalisation.
        native: of a bench, whose images are resized whole: height and width of the ID images; larger ones are reduced
            to it first. None for the middle of an image, as in the test command.
        resized_first: of the test command: whether the centre square is resized by `ood_shared.datasets` before.
    """

    chain: Chain
    native: tuple[int, int] | None = None
    resized_first: bool = False

    def __call__(self, pixels: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n 3 side side"]:
        """Images of 1 or 3 channels."""
        if self.native is None:
            return prepared(pixels, self.chain, self.resized_first)
        return resize(pixels, (self.chain.image_size, self.chain.image_size), 3, self.native)
