"""The detector of a trained network: `imood.load` and `imood.fit` give one, `imood.bench` and `test.py` score alike.

detector = imood.load("runs/cifar10-0.01-OOD30000/ResNet18/…")
detector.score(images)      # (n,), higher = more OOD
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.images import Images
from torch import Tensor

from imood import passes
from imood.data.images import Resident
from imood.data.inputs import Inputs
from imood.networks import Network
from imood.passes import Pass
from imood.pool import FeaturePool
from imood.scores import Rule


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
        return outputs_of(self, images, self.inputs.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold, and for `bkg_c`'s background."""
        scores, predicted = outputs_of(self, images, self.inputs.prepare, batch_size)
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
