"""A baseline as an object: the classifier with one rule, called with anyone's images, kept in a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.blocks import map_rows
from ood_shared.detector import Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.export_graph import Graph, TracedOutputs, plain
from ood_shared.images import Images
from ood_shared.process import PRECISIONS
from torch import Tensor

from ood_bench.baseline_rules import RULES
from ood_bench.baseline_training import BATCH, Passed, one_pass
from ood_bench.classifier import Classifier, restored

KIND = "baseline"  # of a file; the name of the entry point
UNTRACED = {
    "odin": "its score differentiates the network, and a graph only runs forward",
}


@dataclass(frozen=True, eq=False)
class BaselineDetector:
    """One of the plain detectors; see `ood_shared.detector.Detector`.

    Attributes:
        name: in `ood_bench.baselines.DETECTORS`.
        classifier: whose features and logits the rule takes.
        fitted: what the rule took from the training images, on the CPU.
        classes: names of the ID classes.
        precision: of the passes.
        threshold: score above which an image is called OOD.
    """

    name: str
    classifier: Classifier = field(repr=False)
    fitted: Mapping[str, Tensor] = field(repr=False)
    classes: tuple[str, ...]
    precision: str = "fp32"
    threshold: float | None = None

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image, higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image; -1 beyond the threshold."""
        return within_threshold(*outputs_of(self, images, self.prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 3, side, side), uint8 or floats in the scale of [0, 1]; on the CPU."""
        return self.of_pass(images, one_pass(self.classifier, images, self.precision, batch_size), batch_size)

    def of_pass(self, images: Tensor, passed: Passed, batch_size: int = BATCH) -> Outputs:
        """`outputs` of images whose pass is there already; each of a row by itself."""
        rule, device = RULES[self.name], self.classifier.device
        score, (features, logits) = rule.score(self.classifier, self.fitted), passed
        if rule.of_images:
            scores = map_rows(lambda rows: score(rows, rows, rows), images, batch_size, device)
        else:
            dim = features.shape[1]

            def of_rows(rows: Tensor) -> Tensor:
                # copies: parts of rows start anywhere in memory, and are then summed in other orders
                return score(rows, rows[:, :dim].contiguous(), rows[:, dim:].contiguous())

            with torch.inference_mode():
                scores = map_rows(of_rows, torch.cat([features, logits], dim=1), batch_size, device)
        return scores.double(), logits.argmax(dim=1)

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 side side"]:
        """Images of any size and colour at the network's size."""
        return self.classifier.inputs.prepare(pixels)

    def graph(self) -> Graph:
        """The detector as a graph, for `export`.

        Raises:
            InputError: a rule that is no sequence of tensor operations.
        """
        plain(self.precision)
        if self.name in UNTRACED:
            raise InputError(f"{self.name} cannot be exported: {UNTRACED[self.name]}.")
        import_module("pytorch_ood.detector")  # an import within the trace would leave torchvision's calls in the graph
        inputs = self.classifier.inputs
        return Graph(TracedOutputs(self, self.classifier.network), inputs.native or (inputs.side,) * 2, inputs.channels)

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again."""
        settings = {"rule": self.name, "precision": self.precision} | self.classifier.settings()
        network = self.classifier.network
        weights = {f"network.{name}": value for name, value in network.state_dict().items()}
        return State(KIND, self.classes, settings, weights | {f"fitted.{name}": v for name, v in self.fitted.items()})


def restore(state: State, device: torch.device) -> BaselineDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    name = state.word("rule", tuple(RULES))
    classifier = restored(state, device)
    shapes = RULES[name].shapes(len(state.classes), classifier.network.feature_dim)
    fitted = {part: state.tensor(f"fitted.{part}", *shape) for part, shape in shapes.items()}
    return BaselineDetector(name, classifier, fitted, state.classes, state.word("precision", PRECISIONS))
