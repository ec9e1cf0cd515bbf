"""Scores of the logits alone, and gradnorm and t2fnorm, which need little more."""

import sys

import torch
import torch.nn.functional as F
from ood_shared import scores
from ood_shared.errors import InputError
from torch import Tensor

from ascood.scores.base import Confidences, Extract, FeatureScore, TrainingFeatures, library


class MSP(FeatureScore):
    """max softmax(z): Hendrycks, Gimpel, ICLR 2017."""

    name = "msp"

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -scores.msp(inputs.logits), inputs.logits.argmax(1)


class MLS(FeatureScore):
    """max z: Hendrycks et al., ICML 2022."""

    name = "mls"

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -scores.max_logit(inputs.logits), inputs.logits.argmax(1)


class Energy(FeatureScore):
    """T logsumexp(z / T): Liu et al., NeurIPS 2020."""

    name, order = "ebo", ("temperature",)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -scores.energy(inputs.logits, self.value("temperature")), inputs.logits.argmax(1)


class TemperatureScaling(FeatureScore):
    """max softmax(z / T), T fitted to the ID validation set: Guo et al., ICML 2017.

    One call of L-BFGS from T = 1.5 (rate 0.01, 50 iterations, no line search), as in OpenOOD; it need not converge, and
    another start gives another T.
    """

    name, fits, labelled = "temp_scaling", True, True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        logits, labels = id_features.val.logits, id_features.val.labels
        temperature = torch.full((1,), 1.5, device=logits.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([temperature], lr=0.01, max_iter=50)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(logits / temperature, labels)
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        self.temperature = temperature.detach()

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -scores.msp(inputs.logits / self.temperature), inputs.logits.argmax(1)


class GEN(FeatureScore):
    """Minus the generalised entropy of the M largest probabilities: Liu et al., CVPR 2023.

    In float32, as the original has it, 1 - p of a confident input is rounding (or 0), and its power of 0.1 as large as
    0.2. Here p is in float64 and 1 - p the sum of the other probabilities.
    """

    name, order = "gen", ("gamma", "M")

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        gamma, most = self.value("gamma"), self.count("M", inputs.logits.shape[1])
        top, rest = _probabilities_and_rest(inputs.logits.double(), most)
        return -(top**gamma * rest**gamma).sum(1), inputs.logits.argmax(1)


def _probabilities_and_rest(logits: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` largest probabilities p (n, most), and 1 - p without cancellation."""
    sorted_p = logits.softmax(1).sort(dim=1, descending=True).values
    larger = F.pad(sorted_p.cumsum(1), (1, 0))[:, :-1]
    smaller = F.pad(sorted_p.flip(1).cumsum(1), (1, 0))[:, :-1].flip(1)
    return sorted_p[:, :most], (larger + smaller)[:, :most]


class KLMatching(FeatureScore):
    """Minus the least divergence from the mean posterior of a predicted class: Hendrycks et al., ICML 2022.

    Fitted to the ID validation set by pytorch-ood, which leaves out classes that nothing is predicted as; the original
    gives them a one-hot posterior, so they are added.
    """

    name, fits = "klm", True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        classes = id_features.val.logits.shape[1]
        self.library = library("pytorch_ood.detector", "KLMatching")(None).fit_logits(id_features.val.logits)
        for missing in set(range(classes)) - {int(key) for key in self.library.dists}:
            one_hot = F.one_hot(torch.tensor(missing), classes).to(id_features.val.logits)
            self.library.dists[str(missing)] = torch.nn.Parameter(one_hot, requires_grad=False)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -self.library.predict_logits(inputs.logits), inputs.logits.argmax(1)


class GradNorm(FeatureScore):
    """Sum of the absolute gradient of the uniform cross-entropy with respect to W: Huang et al., NeurIPS 2021.

    The gradient of sum_c -log p_c is (C p - 1) h, so its norm is the product of two sums and needs no backward pass.
    """

    name = "gradnorm"

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        classes = inputs.logits.shape[1]
        of_logits = (classes * inputs.logits.softmax(1) - 1).abs().sum(1)
        return of_logits * inputs.features.abs().sum(1), inputs.logits.argmax(1)


class T2FNorm(FeatureScore):
    """max softmax of the score logits of a T2FNormNet: Regmi et al., CVPR workshops 2024."""

    name = "t2fnorm"

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        if "tau" in self.args:
            logits = self.id_features.last_layer(inputs.features / self.value("tau"))
        elif self.id_features.score_head is not None:
            logits = self.id_features.score_head(inputs.features)
        else:
            raise InputError("t2fnorm scores networks of the trainer t2fnorm. Pass --wrapper-net T2FNormNet.")
        return -scores.msp(logits), logits.argmax(1)


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean features (classes, dim) by label; NaN for a class without inputs."""
    sums = torch.zeros(classes, features.shape[1], dtype=features.dtype, device=features.device)
    sums.index_add_(0, labels, features)
    return sums / torch.bincount(labels, minlength=classes)[:, None]


class SHE(FeatureScore):
    """<h, pattern of the predicted class>, the mean rightly classified training features: Zhang et al., ICLR 2023.

    A class of which no training input is classified rightly has no pattern (NaN in the original); it takes the mean of
    all its training inputs, and a warning says so.
    """

    name, fits, labelled = "she", True, True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        classes, train = len(id_features.weight), id_features.train
        right = train.logits.argmax(1) == train.labels
        pattern = class_means(train.features[right], train.labels[right], classes)
        lacking = pattern.isnan().any(1)
        if lacking.any():
            print(
                f"warning: she: {int(lacking.sum())} of {classes} classes have no rightly classified training input; "
                "their pattern is the mean of all their training inputs.",
                file=sys.stderr,
            )
            pattern[lacking] = class_means(train.features, train.labels, classes).nan_to_num()[lacking]
        self.pattern = pattern

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        predicted = inputs.logits.argmax(1)
        return (inputs.features * self.pattern[predicted]).sum(1), predicted
