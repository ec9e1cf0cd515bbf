"""Scores that reshape the raw features and apply the last layer: energy of the new logits.

On ASCOODNet they act on the features before standardisation, so their logits live in another space than the trained
ones; the published CIFAR numbers are made so.
"""

import numpy as np
import torch
from torch import Tensor

from ascood.scores.base import Confidences, Extract, FeatureScore, TrainingFeatures, library


def _energy(logits: Tensor) -> Confidences:
    return logits.logsumexp(1), logits.argmax(1)


class ReAct(FeatureScore):
    """Features clipped at a percentile of all ID validation features: Sun, Guo, Li, NeurIPS 2021."""

    name, order, fits = "react", ("percentile",), True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        self.activations = id_features.val.features.flatten().cpu().numpy()

    def prepare(self) -> None:
        """See `FeatureScore.prepare`."""
        self.threshold = float(np.percentile(self.activations, 100 * self.fraction("percentile")))

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return _energy(self.id_features.last_layer(inputs.features.clamp(max=self.threshold)))


class ASH(FeatureScore):
    """Variant B, the top features replaced by an equal share of the sum: Djurisic et al., ICLR 2023; pytorch-ood."""

    name, order = "ash", ("percentile",)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        ash_b = library("pytorch_ood.detector.ash", "ash_b")
        shaped = ash_b(inputs.features[:, :, None, None], self.fraction("percentile"))
        return _energy(self.id_features.last_layer(shaped.flatten(1)))


class Scale(FeatureScore):
    """Features times exp(sum / sum of the top ones): Xu et al., ICLR 2024; pytorch-ood."""

    name, order = "scale", ("percentile",)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        scale = library("pytorch_ood.detector.scale", "scale")
        shaped = scale(inputs.features.contiguous()[:, :, None, None], self.fraction("percentile"))
        return _energy(self.id_features.last_layer(shaped.flatten(1)))


class DICE(FeatureScore):
    """Only the weights with the largest mean contribution: Sun, Li, ECCV 2022; the mask is pytorch-ood's.

    The mask follows `p`; the original kept the first one during a search.
    """

    name, order, fits = "dice", ("p",), True

    def prepare(self) -> None:
        """See `FeatureScore.prepare`."""
        fitted = library("pytorch_ood.detector", "DICE")(
            None, self.id_features.weight, self.id_features.bias, self.fraction("p")
        )
        fitted.to(self.id_features.weight.device)
        train = self.id_features.train
        fitted.fit_features(train.features, torch.zeros_like(train.labels))
        self.threshold, self.weight = fitted.threshold, fitted.masked_w.to(self.id_features.weight.device)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return _energy(inputs.features @ self.weight.T + self.id_features.bias)
