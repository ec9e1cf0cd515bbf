"""A trained detector to call; `loading` finds one on disk, `fitting` trains one."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.datasets import resize
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.export_graph import Graph, TracedOutputs, plain
from ood_shared.images import Images
from ood_shared.process import PRECISIONS
from torch import Tensor

from oodgen.classifier import ARCHITECTURES, OutlierClassifier, build_classifier
from oodgen.data.folders import SIDE
from oodgen.scores import KINDS, logits_of, ood_score, predicted_classes

KIND = "oodgen"  # of a file; the name of the entry point


@dataclass(frozen=True)
class OodgenDetector:
    """The n+1 classifier; the score of an image is the probability of the outlier class.

    Attributes:
        network: in eval mode.
        classes: names of the in-distribution classes.
        mean: of the normalisation of the training, in the scale of [0, 1].
        std: likewise.
        kind: of the score: `one_minus_ood`, `max_in` or `max_all`.
        threshold: score above which an image is called OOD.
        precision: of the passes.
        native: height and width of the training images where they were enlarged; larger images are reduced to it
            first, so that their sharpness does not give them away.
    """

    network: OutlierClassifier
    classes: tuple[str, ...]
    mean: float = 0.0
    std: float = 1.0
    kind: str = KINDS[0]
    threshold: float | None = None
    precision: str = "fp32"
    native: tuple[int, int] | None = None

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image, higher = more OOD; see `ood_shared.detector.Detector`."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold."""
        return within_threshold(*outputs_of(self, images, self.prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 1, 28, 28), uint8 or floats in the scale of [0, 1]; on the CPU."""
        logits = logits_of(self.network, images, self.mean, self.std, self.precision, batch_size)
        return ood_score(logits, self.kind), predicted_classes(logits)

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 1 28 28"]:
        """Images of any size and colour as 28 x 28 grey, as `oodgen prepare --resize` makes them."""
        return as_grey(pixels, self.native)

    def graph(self) -> Graph:
        """The detector as a graph, for `export`."""
        plain(self.precision)
        return Graph(TracedOutputs(self, self.network), self.native or (SIDE, SIDE), 1)

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again."""
        settings = {
            "network": self.network.architecture,
            "score": self.kind,
            "mean": self.mean,
            "std": self.std,
            "native": self.native,
            "precision": self.precision,
        }
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return State(KIND, self.classes, settings, weights)


def restore(state: State, device: torch.device) -> OodgenDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    network = state.fill(build_classifier(state.word("network", ARCHITECTURES), len(state.classes)))
    return OodgenDetector(
        network.to(device),
        state.classes,
        state.number("mean"),
        state.number("std"),
        state.word("score", KINDS),
        precision=state.word("precision", PRECISIONS),
        native=state.native(),
    )


def as_grey(pixels: UInt8[Tensor, "k c h w"], native: tuple[int, int] | None = None) -> UInt8[Tensor, "k 1 28 28"]:
    """Images as 28 x 28 grey; those larger than `native` by way of it."""
    return resize(pixels, (SIDE, SIDE), channels=1, native=native)
