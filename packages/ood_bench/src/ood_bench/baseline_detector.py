"""A baseline as an object: the classifier with one rule, called with anyone's images, kept in a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.backbone import NETWORKS, SmallResNet, build_common
from ood_shared.blocks import map_rows
from ood_shared.datasets import resize
from ood_shared.detector import Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.process import PRECISIONS
from torch import Tensor

from ood_bench.baseline_rules import RULES
from ood_bench.baseline_training import BATCH, CHANNELS, MEAN, SIDE, STD, Passed, one_pass

KIND = "baseline"  # of a file; the name of the entry point
PREPROCESSING = {"side": SIDE, "channels": CHANNELS, "mean": MEAN, "std": STD}


@dataclass(frozen=True, eq=False)
class BaselineDetector:
    """One of the plain detectors; see `ood_shared.detector.Detector`.

    Attributes:
        name: in `ood_bench.baselines.DETECTORS`.
        network: the classifier, in eval mode.
        fitted: what the rule took from the training images, on the CPU.
        classes: names of the ID classes.
        native: height and width of the training images where they were enlarged.
        precision: of the passes.
        threshold: score above which an image is called OOD.
    """

    name: str
    network: SmallResNet = field(repr=False)
    fitted: Mapping[str, Tensor] = field(repr=False)
    classes: tuple[str, ...]
    native: tuple[int, int] | None = None
    precision: str = "fp32"
    threshold: float | None = None

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image, higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image; -1 beyond the threshold."""
        return within_threshold(*outputs_of(self, images, self.prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 3, 32, 32), uint8 or floats in the scale of [0, 1]; on the CPU."""
        return self.of_pass(images, one_pass(self.network, images, self.precision, batch_size), batch_size)

    def of_pass(self, images: Tensor, passed: Passed, batch_size: int = BATCH) -> Outputs:
        """`outputs` of images whose pass is there already; each of a row by itself."""
        rule, device = RULES[self.name], self.network.fc.weight.device
        score, (features, logits) = rule.score(self.network, self.fitted), passed
        if rule.of_images:
            scores = map_rows(lambda rows: score(rows, rows, rows), images, batch_size, device)
        else:
            dim = features.shape[1]
            with torch.inference_mode():
                both = torch.cat([features, logits], dim=1)
                scores = map_rows(lambda rows: score(rows, rows[:, :dim], rows[:, dim:]), both, batch_size, device)
        return scores.double(), logits.argmax(dim=1)

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 32 32"]:
        """Images of any size and colour at the network's size; those larger than `native` by way of it."""
        return resize(pixels, (SIDE, SIDE), channels=CHANNELS, native=self.native)

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again."""
        settings = {
            "rule": self.name,
            "network": next(name for name, count in NETWORKS.items() if count == self.network.per_stage),
            "preprocessing": PREPROCESSING,
            "native": self.native,
            "precision": self.precision,
        }
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        return State(KIND, self.classes, settings, weights | {f"fitted.{name}": v for name, v in self.fitted.items()})


def restore(state: State, device: torch.device) -> BaselineDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    name = state.word("rule", tuple(RULES))
    if state.settings.get("preprocessing") != PREPROCESSING:
        raise InputError(f"its preprocessing is {state.settings.get('preprocessing')}, expected {PREPROCESSING}.")
    network = build_common(state.word("network", tuple(NETWORKS)), len(state.classes), CHANNELS)
    state.fill(network).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shapes = RULES[name].shapes(len(state.classes), network.feature_dim)
    fitted = {part: state.tensor(f"fitted.{part}", *shape) for part, shape in shapes.items()}
    return BaselineDetector(name, network, fitted, state.classes, state.native(), state.word("precision", PRECISIONS))
