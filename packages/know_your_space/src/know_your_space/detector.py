"""A trained detector to call; `loading` finds one on disk, `fitting` trains one."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared import datasets
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.process import PRECISIONS
from ood_shared.scores import energy
from torch import Tensor, nn

from know_your_space.checkpoints import network_of_weights
from know_your_space.data.pixels import at_stored_size
from know_your_space.scores import logits_of
from know_your_space.transforms import SIDE, resize

KIND = "know_your_space"  # of a file; the name of the entry point


@dataclass(frozen=True)
class KnowYourSpaceDetector:
    """The calibrated classifier; the score of an image is the energy of its logits.

    Attributes:
        network: in eval mode; returns logits first.
        classes: names of the known classes.
        temperature: T of the energy.
        threshold: energy above which an image is called OOD.
        reversed: whether red and blue are swapped first, as the original does with pathmnist.
        precision: of the passes.
        native: height and width of the training images; larger images are reduced to it first, so that their sharpness
            does not give them away.
        stored: whether other sizes are brought to that in which the commands keep images; else, after a fit on images
            in memory, to the network's at once.
    """

    network: nn.Module
    classes: tuple[str, ...]
    temperature: float = 1.0
    threshold: float | None = None
    reversed: bool = False
    precision: str = "fp32"
    native: tuple[int, int] | None = None
    stored: bool = True

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The energy of each image, higher = more OOD; see `ood_shared.detector.Detector`."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold."""
        return within_threshold(*outputs_of(self, images, self.prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 3, 32, 32), uint8 or floats in the scale of [0, 1]; on the CPU."""
        logits = logits_of(self.network, images, self.precision, batch_size)
        return energy(logits, self.temperature).cpu(), logits.argmax(dim=1).cpu()

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 32 32"]:
        """Images of any size and colour as the commands store them, and then as the network takes them."""
        if not self.stored:
            return datasets.resize(pixels, (SIDE, SIDE), channels=3, native=self.native)
        rgb = pixels.expand(-1, 3, -1, -1).contiguous()
        return resize(at_stored_size(rgb.flip(1) if self.reversed else rgb, self.native))

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again."""
        settings = {
            "temperature": self.temperature,
            "reversed": self.reversed,
            "precision": self.precision,
            "native": self.native,
            "stored": self.stored,
        }
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return State(KIND, self.classes, settings, weights)


def restore(state: State, device: torch.device) -> KnowYourSpaceDetector:
    """The detector of a file; which network it has follows from the weights.

    Raises:
        InputError: what the file holds makes none.
    """
    state.tensor("network.fc.weight", len(state.classes), None)
    temperature = state.number("temperature")
    if not temperature > 0:
        raise InputError(f"`temperature` is {temperature}, expected a number above 0.")
    return KnowYourSpaceDetector(
        network_of_weights(state.below("network."), "`network`").to(device),
        state.classes,
        temperature,
        reversed=state.flag("reversed"),
        precision=state.word("precision", PRECISIONS),
        native=state.native(),
        stored=state.flag("stored"),
    )
