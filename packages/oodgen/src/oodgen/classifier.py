"""Classifiers with one class more than the data: class n holds the generated outliers.

`Classifier` has the layers and state-dict keys of the documented program, `PaperClassifier` those of the authors'
notebooks. Their losses give class n a weight of its own:

    default   -sum_i w_{y_i} log p_{i,y_i} / sum_i w_{y_i}
    paper     -sum_i w_{y_i} log p_{i,y_i} / batch            (Keras divides by the batch size)
    double    as the default, with softmax(p) in place of p   (the documented program; cannot fall below log(e+n) - 1)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from ood_shared.backbone import NETWORKS, SmallResNet
from ood_shared.errors import InputError, unknown
from torch import Tensor, nn

from oodgen.initialise import keras_init
from oodgen.vae import PIXELS, SIDE

ARCHITECTURES = ("doc", "paper", *NETWORKS)
KERAS_EPSILON = 1e-7  # Keras clips probabilities to [epsilon, 1 - epsilon] in its cross-entropies


class OutlierClassifier(nn.Module, ABC):
    """What both architectures share: logits and probabilities from the penultimate features."""

    fc1: nn.Linear
    fc2: nn.Linear
    architecture: str  # in ARCHITECTURES

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        if n_classes < 1:
            raise InputError(f"n_classes must be at least 1, got {n_classes}.")
        self.n_classes = n_classes

    @abstractmethod
    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch 128"]:
        """Penultimate features, after the ReLU.

        Args:
            x: images (batch, 1, 28, 28), (batch, 28, 28) or flat (batch, 784), normalised as in training.

        Raises:
            InputError: any other shape, also where the number of elements would fit.
        """

    def logits(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Unnormalised scores of the n classes and, last, of the outlier class."""
        return self.fc2(self.features(x))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Probabilities: softmax over all n + 1 outputs."""
        return torch.softmax(self.logits(x), dim=1)


class Classifier(OutlierClassifier):
    """The documented network: 94,091 parameters for 10 classes."""

    architecture = "doc"

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__(n_classes)
        self.conv1 = nn.Conv2d(1, 32, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.conv2_drop = nn.Dropout2d(0.25)
        self.fc1 = nn.Linear(64 * 3 * 3, 128)
        self.fc2 = nn.Linear(128, n_classes + 1)

    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch 128"]:
        """Penultimate features, after the ReLU."""
        x = F.relu(self.conv1(_as_images(x)))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (batch, 64, 3, 3)
        return F.relu(self.fc1(self.conv2_drop(x).flatten(1)))


class PaperClassifier(OutlierClassifier):
    """The network of the authors' notebooks: 1,200,011 parameters for 10 classes."""

    architecture = "paper"

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__(n_classes)
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.drop1 = nn.Dropout(0.25)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.drop2 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, n_classes + 1)
        keras_init(self)

    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch 128"]:
        """Penultimate features, after the ReLU and before the second dropout."""
        x = F.relu(self.conv2(F.relu(self.conv1(_as_images(x)))))
        x = F.max_pool2d(x, 2)  # (batch, 64, 12, 12)
        return F.relu(self.fc1(self.drop1(x).flatten(1)))

    def logits(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Unnormalised scores of the n classes and, last, of the outlier class."""
        return self.fc2(self.drop2(self.features(x)))


class CommonClassifier(OutlierClassifier):
    """The network that `ood-bench` gives to every method, with one output more: 77,307 parameters for 10 classes."""

    def __init__(self, n_classes: int = 10, blocks: int = 1) -> None:
        super().__init__(n_classes)
        self.network = SmallResNet(n_classes + 1, 1, blocks)
        self.architecture = next(name for name, count in NETWORKS.items() if count == blocks)

    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch 64"]:
        """Penultimate features, after the ReLU and averaged over the map."""
        return self.network.features(_as_images(x))

    def logits(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch outputs"]:
        """Unnormalised scores of the n classes and, last, of the outlier class."""
        return self.network.fc(self.features(x))


def build_classifier(architecture: str, n_classes: int = 10) -> OutlierClassifier:
    """A new network: `doc` is `Classifier`, `paper` is `PaperClassifier`; a name of `NETWORKS` is that of `ood-bench`.

    Raises:
        InputError: the architecture is not known.
    """
    kinds: dict[str, Callable[[int], OutlierClassifier]] = {"doc": Classifier, "paper": PaperClassifier}
    kinds |= {name: partial(CommonClassifier, blocks=blocks) for name, blocks in NETWORKS.items()}
    if architecture not in kinds:
        raise unknown("classifier architecture", architecture, kinds)
    return kinds[architecture](n_classes)


def ood_weight_from_counts(n_id: int, n_classes: int, n_ood: int) -> float:
    """Weight of the outlier class against 1 for the others: images per class over outliers, (n_id / n) / n_ood.

    The documented program fixes 6000 / 30000 = 0.2, which is this rule for the files it leaves of full MNIST.

    Raises:
        InputError: a count is not positive.
    """
    if min(n_id, n_classes, n_ood) < 1:
        raise InputError(f"The weight of the outlier class needs images of both kinds, got {n_id} ID and {n_ood} OOD.")
    return n_id / n_classes / n_ood


def class_weights(ood_weight: float, n_classes: int, like: Tensor | None = None) -> Float[Tensor, " outputs"]:
    """1 for each of the n classes, `ood_weight` for the outlier class; dtype and device of `like`.

    Raises:
        InputError: the weight is not positive and finite.
    """
    if not 0 < ood_weight < float("inf"):
        raise InputError(f"The weight of the outlier class must be positive and finite, got {ood_weight}.")
    weights = torch.ones(n_classes + 1) if like is None else like.new_ones(n_classes + 1)
    weights[-1:].fill_(ood_weight)
    return weights


def classifier_loss(
    logits: Float[Tensor, "batch outputs"],
    labels: Int[Tensor, " batch"],
    ood_weight: float,
    n_classes: int,
    reduction: str = "weighted",
    double_softmax: bool = False,
) -> Float[Tensor, ""]:
    """Weighted cross-entropy in nats, in float32 or wider.

    Args:
        logits: scores of the n classes and the outlier class.
        labels: 0..n; n is the outlier class.
        ood_weight: weight of class n, the others have 1.
        n_classes: n.
        reduction: `weighted` divides by the sum of the weights, `batch` by the batch size (paper).
        double_softmax: take the softmax twice, as the documented program does. Only with `weighted`.

    Raises:
        InputError: the reduction is not known, or is `batch` together with `double_softmax`.
    """
    if reduction not in {"weighted", "batch"}:
        raise unknown("reduction", reduction, ["weighted", "batch"])
    if double_softmax and reduction == "batch":
        raise InputError(
            "--double_softmax belongs to the documented program, the batch mean to --mode paper: drop one."
        )
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = class_weights(ood_weight, n_classes, like=wide)
        if double_softmax:
            return double_softmax_loss(torch.softmax(wide, dim=1), labels, weights)
        return {"weighted": weighted_loss, "batch": batch_mean_loss}[reduction](wide, labels, weights)


def weighted_loss(
    logits: Float[Tensor, "batch outputs"], labels: Int[Tensor, " batch"], weights: Float[Tensor, " outputs"]
) -> Float[Tensor, ""]:
    """-sum_i w_{y_i} log p_{i,y_i} / sum_i w_{y_i}; only the ratios of the weights matter."""
    return F.cross_entropy(logits, labels.long(), weight=weights)


def batch_mean_loss(
    logits: Float[Tensor, "batch outputs"], labels: Int[Tensor, " batch"], weights: Float[Tensor, " outputs"]
) -> Float[Tensor, ""]:
    """-sum_i w_{y_i} log p_{i,y_i} / batch with p clipped to [1e-7, 1 - 1e-7], as Keras computes it."""
    own = torch.softmax(logits, dim=1).gather(1, labels.long()[:, None]).squeeze(1)
    clipped = own.clamp(KERAS_EPSILON, 1 - KERAS_EPSILON)
    return -(weights[labels.long()] * clipped.log()).sum() / len(labels)


def double_softmax_loss(
    probabilities: Float[Tensor, "batch outputs"], labels: Int[Tensor, " batch"], weights: Float[Tensor, " outputs"]
) -> Float[Tensor, ""]:
    """`weighted_loss` of the probabilities taken as logits: the documented program's loss."""
    return weighted_loss(probabilities, labels, weights)


def _as_images(x: Tensor) -> Float[Tensor, "batch 1 28 28"]:
    if tuple(x.shape[1:]) not in {(1, SIDE, SIDE), (SIDE, SIDE), (PIXELS,)}:
        raise InputError(f"The classifier takes images of shape (1, {SIDE}, {SIDE}), got {tuple(x.shape[1:])}.")
    return x.reshape(-1, 1, SIDE, SIDE)
