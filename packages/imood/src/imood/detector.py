"""The detector of a trained network: `imood.load` and `imood.fit` give one, `imood.bench` and `test.py` score alike.

detector = imood.load("runs/cifar10-0.01-OOD30000/ResNet18/…")
detector.score(images)      # (n,), higher = more OOD
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.process import PRECISIONS
from torch import Tensor

from imood import passes
from imood.data.images import Resident
from imood.data.inputs import Inputs
from imood.metrics import metric_of, n_outputs_of
from imood.modes import MAHA_SIGNS
from imood.networks import ALL_NETWORKS, Network, build, name_of
from imood.passes import Pass
from imood.pool import FeaturePool, pool_of_state
from imood.scores import METRICS, Rule

KIND = "imood"  # of a file; the name of the entry point
UNUSED = "cl_loss_weights"  # of the training, in some published weights


@dataclass(frozen=True)
class ImoodDetector:
    """A trained network with one score, and all that the score needs.

    Attributes:
        network: in eval mode on the device.
        rule: the score, with the class counts that its prior follows from.
        inputs: how images become the network's.
        classes: names of the ID classes.
        pool: features of training images; needed by `maha` and `ada_maha`.
        threshold: score above which `predict` says -1; None says it of none.
        precision: of the passes.
        channels_last: memory format of the images; the network has it already.
    """

    network: Network = field(repr=False)
    rule: Rule
    inputs: Inputs
    classes: tuple[str, ...]
    pool: FeaturePool | None = field(default=None, repr=False)
    threshold: float | None = None
    precision: str = "fp32"
    channels_last: bool = False

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image, float64; higher = more OOD. See `ood_shared.detector.Detector`."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold, and for `bkg_c`'s background."""
        scores, predicted = outputs_of(self, images, self.prepare, batch_size)
        return within_threshold(scores, np.where(predicted < len(self.classes), predicted, -1), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and predictions of images at the network's size, uint8 or floats in [0, 1]; on the CPU.

        With `bkg_c` a prediction may be the background, one more than the classes.
        """
        device = self.network.classifier.weight.device
        views, last = self.inputs.views, self.channels_last
        passing = Pass(self.network, views, batch_size, device, self.precision, last)
        shown = Resident(images, torch.full((len(images),), -1), device)
        return self.rule(passes.outputs_of(passing, shown, self.pool))

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 side side"]:
        """Images of any size and colour as the test command takes them."""
        return self.inputs.prepare(pixels)

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again."""
        rule = self.rule
        settings = {
            "network": name_of(self.network),
            "score": rule.metric,
            "counts": rule.counts,
            "tau": rule.tau,
            "maha_sign": rule.maha_sign,
            "trained_tau": rule.trained_tau,
            "inputs": self.inputs.record(),
            "precision": self.precision,
            "channels_last": self.channels_last,
        }
        weights = {name: value for name, value in self.network.state_dict().items() if name != UNUSED}
        tensors = {f"network.{name}": value for name, value in weights.items()}
        if self.pool is not None:
            tensors |= {f"pool.{name}": value for name, value in self.pool.state_dict().items()}
        return State(KIND, self.classes, settings, tensors)


def restore(state: State, device: torch.device) -> ImoodDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    metric, n_classes = state.word("score", METRICS), len(state.classes)
    counts = tuple(state.settings["counts"])
    if len(counts) != n_classes or not all(type(count) is int and count > 0 for count in counts):
        raise InputError(f"`counts` is {counts}, expected a number of training images for each of {n_classes} classes.")
    width = len(state.tensors["network.conv1.weight"]) if "network.conv1.weight" in state.tensors else 0
    network = build(state.word("network", ALL_NETWORKS), n_classes, n_outputs_of(metric, n_classes), width)
    state.fill(network).to(device)
    last = state.flag("channels_last")
    if last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    signs = state.word("maha_sign", MAHA_SIGNS), state.number("trained_tau")
    return ImoodDetector(
        network,
        Rule(metric, counts, state.number("tau"), *signs),
        Inputs.of_record(state.settings["inputs"]),
        state.classes,
        pool_of_state(state, n_classes, network.classifier.in_features, device) if metric_of(metric).pool else None,
        precision=state.word("precision", PRECISIONS),
        channels_last=last,
    )
