"""Scores of the distance or similarity to the training features; pytorch-ood's differ in scale or definition."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ascood.scores.base import Confidences, Extract, FeatureScore, TrainingFeatures
from ascood.scores.from_logits import class_means

SMALL = 1e-10
LEAST_RELATION = 0.03


class KNN(FeatureScore):
    """Minus the squared distance of normalised features to the K-th neighbour: Sun et al., ICML 2022.

    K is at most the size of the bank; with the original's K = 1000 a smaller bank gave a constant.
    """

    name, order, fits = "knn", ("K",), True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        self.points = _normalised(id_features.train.features)
        self.squares = self.points.square().sum(1)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        neighbours = self.count("K", len(self.points))
        queries = _normalised(inputs.features)
        nearness = 2 * queries @ self.points.T - self.squares  # (rows, bank), larger is nearer
        last = nearness.topk(neighbours, dim=1).indices[:, -1]
        # exact differences: the expansion cancels where a neighbour is close
        return -(queries - self.points[last]).square().sum(1), inputs.logits.argmax(1)


def _normalised(features: Tensor) -> Tensor:
    return features / features.norm(dim=1, keepdim=True) + SMALL


class Mahalanobis(FeatureScore):
    """Largest class-conditional Gaussian term with a shared covariance: Lee et al., NeurIPS 2018 (last layer only)."""

    name, fits, labelled = "mds", True, True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        train = id_features.train
        self.means = class_means(train.features.double(), train.labels, len(id_features.weight)).nan_to_num()
        self.precision = _precision(train.features, self.means[train.labels])

    def class_terms(self, features: Tensor) -> Tensor:
        """Minus the squared Mahalanobis distance to each class mean, (n, classes)."""
        wide = features.double()
        return torch.stack([-_quadratic(wide - mean, self.precision) for mean in self.means], dim=1)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        return self.class_terms(inputs.features).amax(1), inputs.logits.argmax(1)


class RelativeMahalanobis(Mahalanobis):
    """Mahalanobis less the same for a single Gaussian of all classes: Ren et al., ICML workshops 2021."""

    name = "rmds"

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        self.mean = id_features.train.features.double().mean(0)
        self.overall = _precision(id_features.train.features, self.mean)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        background = -_quadratic(inputs.features.double() - self.mean, self.overall)
        return (self.class_terms(inputs.features) - background[:, None]).amax(1), inputs.logits.argmax(1)


def _precision(rows: Tensor, centre: Tensor) -> Tensor:
    """Hermitian pseudo-inverse of the covariance (divisor n) of rows less their centres, in float64.

    The cut-off is the default one of float32, as in the original: with fewer inputs than features the score hangs on
    it. The rest is wider than the original, because the relative score is a small difference of large terms.
    """
    centred = rows.double() - centre
    centred -= centred.mean(0)
    cut_off = rows.shape[1] * torch.finfo(torch.float32).eps
    return torch.linalg.pinv(centred.T @ centred / len(rows), rtol=cut_off, hermitian=True)


def _quadratic(rows: Tensor, matrix: Tensor) -> Tensor:
    return ((rows @ matrix) * rows).sum(1)


class NNGuide(FeatureScore):
    """logsumexp(z) times the mean of the K largest <h / |h|, bank>: Park et al., ICCV 2023.

    The bank is the whole training set, normalised features times logsumexp(z), as in the original of this package.
    OpenOOD takes a share `alpha` of it; the argument `honour_alpha: True` in the yml file does so here.
    """

    name, order, fits = "nnguide", ("K", "alpha"), True
    switches = ("honour_alpha",)

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        train = id_features.train
        if self.args.get("honour_alpha", False):
            train = train.rows(0, max(1, int(len(train) * self.value("alpha"))))
        self.points = F.normalize(train.features, dim=1) * train.logits.logsumexp(1, keepdim=True)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        neighbours = self.count("K", len(self.points))
        similar = F.normalize(inputs.features, dim=1) @ self.points.T
        guidance = similar.topk(neighbours, dim=1).values.mean(1)
        return inputs.logits.logsumexp(1) * guidance, inputs.logits.argmax(1)


class Relation(FeatureScore):
    """Sum over the training set of (cosine times agreement of predictions)^pow above 0.03: Kim et al., NeurIPS 2023."""

    name, order, fits = "relation", ("pow",), True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        self.points = _unit(id_features.train.features)
        self.posteriors = id_features.train.logits.softmax(1)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        power = self.value("pow")
        cosine = (_unit(inputs.features) @ self.points.T).clamp_(min=0)
        relation = cosine * (inputs.logits.softmax(1) @ self.posteriors.T)  # (rows, bank)
        kept = torch.where(relation > LEAST_RELATION, relation, 0.0)
        return (kept**power).sum(1), inputs.logits.argmax(1)


def _unit(features: Tensor) -> Tensor:
    """A new tensor; the original divided the shared features in place."""
    return features / (features.square().sum(1, keepdim=True) + SMALL).sqrt()


class FDBD(FeatureScore):
    """Distance to the decision boundaries, over the distance to the training mean: Liu, Qin, ICML 2024."""

    name, order, fits = "fdbd", ("distance_as_normalizer",), True

    def fit(self, id_features: TrainingFeatures) -> None:
        """See `FeatureScore.fit`."""
        super().fit(id_features)
        self.mean = id_features.train.features.mean(0)
        self.gaps = torch.cdist(id_features.weight.double(), id_features.weight.double())  # (classes, classes)

    def score(self, inputs: Extract) -> Confidences:
        """See `FeatureScore.score`."""
        logits = inputs.logits.double()
        top, predicted = logits.max(1)
        gaps = self.gaps[predicted]  # (n, classes); 0 for the predicted class
        terms = torch.where(gaps > 0, (logits - top[:, None]).abs() / gaps, 0.0)
        from_mean = bool(self.args.get("distance_as_normalizer", True))
        size = (inputs.features - self.mean if from_mean else inputs.features).norm(dim=1)
        return terms.sum(1) / size, inputs.logits.argmax(1)
