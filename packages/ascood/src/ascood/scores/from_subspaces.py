"""Scores of the part of the features outside a leading subspace."""

import torch
from torch import Tensor

from ascood.scores.base import Confidences, Extract, FeatureScore, TrainingFeatures, library


class ViM(FeatureScore):
    """logsumexp(z) less the scaled residual norm, z = W h + b of the raw features: Wang et al., CVPR 2022; pytorch-ood.

    The subspace follows `dim`; the original changed `dim` in a search without computing it anew. A `dim` that leaves no
    residual becomes half of the features.
    """

    name, order, fits = "vim", ("dim",), True

    def prepare(self) -> None:
        """See `FeatureScore.prepare`."""
        self.library = library("pytorch_ood.detector", "ViM")(
            None, _dimension(self, self.id_features), self.id_features.weight, self.id_features.bias
        )
        self.library.to(self.id_features.weight.device)
        self.library.fit_features(self.id_features.train.features, self.id_features.train.labels)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return -self.library.predict_features(inputs.features), self.id_features.last_layer(inputs.features).argmax(1)


class Residual(FeatureScore):
    """Minus the residual norm alone, with the second moment of the ID validation set."""

    name, order, fits = "residual", ("dim",), True

    def prepare(self) -> None:
        """See `FeatureScore.prepare`."""
        self.origin = -(torch.linalg.pinv(self.id_features.weight) @ self.id_features.bias)  # (dim,)
        rows = self.id_features.val.features - self.origin
        vectors = torch.linalg.eigh(rows.T @ rows / len(rows)).eigenvectors  # ascending eigenvalues
        self.outside: Tensor = vectors[:, : vectors.shape[1] - _dimension(self, self.id_features)]

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        residual = ((inputs.features - self.origin) @ self.outside).norm(dim=1)
        return -residual, self.id_features.last_layer(inputs.features).argmax(1)


def _dimension(score: FeatureScore, id_features: TrainingFeatures) -> int:
    size = id_features.weight.shape[1]
    wanted = int(score.value("dim"))
    return wanted if wanted < size else size // 2
