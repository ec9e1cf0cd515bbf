"""The rules of the baselines: what each is fitted to, and its score; computed by pytorch-ood.

A rule is fitted once, to the features of the training images. What it takes from them are tensors, by name: a detector
keeps these, and in a file there is nothing else. Every rule has its authors' setting, or pytorch-ood's: none is tuned
on outliers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_bench.baseline_training import Passed
from ood_bench.classifier import Classifier

ODIN_EPS, ODIN_T, KNN_K, REACT_SHARE = 0.0014, 1000.0, 50, 0.9
PAPERS = {
    "msp": "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and OOD Examples, ICLR 2017",
    "max_logit": "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022",
    "energy": "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020",
    "odin": "Liang et al., Enhancing the Reliability of OOD Image Detection in Neural Networks, ICLR 2018",
    "knn": "Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022",
    "mahalanobis": "Lee et al., A Simple Unified Framework for Detecting OOD Samples, NeurIPS 2018",
    "vim": "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022",
    "react": "Sun et al., ReAct: Out-of-distribution Detection With Rectified Activations, NeurIPS 2021",
}

Fitted = Mapping[str, Tensor]  # on the CPU
Score = Callable[[Tensor, Tensor, Tensor], Tensor]  # images, features, logits -> (n,), higher = more OOD
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Rule:
    """One baseline.

    Attributes:
        score: from the classifier, in eval mode, and what was fitted.
        fit: to features and logits of the training images, and their labels.
        shapes: of what is fitted, by name, from classes and features; None stands for any length.
        of_images: whether the score looks at the images, and not at features and logits.
    """

    score: Callable[[Classifier, Fitted], Score]
    fit: Callable[[Classifier, Passed, Tensor], dict[str, Tensor]] = lambda classifier, passed, labels: {}
    shapes: Callable[[int, int], dict[str, Shape]] = lambda classes, dim: {}
    of_images: bool = False


def _of_logits(name: str) -> Rule:
    def make(classifier: Classifier, fitted: Fitted) -> Score:
        from pytorch_ood import detector

        score: Callable[[Tensor], Tensor] = getattr(detector, name).score
        return lambda images, features, logits: score(logits)

    return Rule(make)


def _odin(classifier: Classifier, fitted: Fitted) -> Score:
    """ODIN differentiates by the input, so that it alone passes the network again."""
    from pytorch_ood.detector import ODIN

    odin = ODIN(classifier.network, eps=ODIN_EPS, temperature=ODIN_T)

    def score(images: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        found: Tensor = odin.predict(classifier.inputs.normalised(images)).detach()
        classifier.network.zero_grad(set_to_none=True)
        return found

    return score


def _fit_knn(classifier: Classifier, passed: Passed, labels: Tensor) -> dict[str, Tensor]:
    return {"features": passed[0]}


def _knn(classifier: Classifier, fitted: Fitted) -> Score:
    from pytorch_ood.detector import KNN

    bank = fitted["features"]
    if torch.compiler.is_exporting():
        return lambda images, features, logits: _kth_nearest(features, bank)
    knn = KNN(None, k=min(KNN_K, len(bank))).fit_features(bank, torch.zeros(len(bank), dtype=torch.int64))
    return lambda images, features, logits: knn.predict_features(features.cpu())


def _kth_nearest(features: Tensor, bank: Tensor) -> Tensor:
    """pytorch-ood's score in operations that a graph has: scikit-learn searches outside of it."""
    rows, own = (F.normalize(part, dim=1).double() for part in (features, bank))
    squared = rows.square().sum(dim=1, keepdim=True) + own.square().sum(dim=1) - 2 * rows @ own.T
    nearest = squared.topk(min(KNN_K, len(bank)), dim=1, largest=False, sorted=True).values
    return nearest[:, -1].clamp_min(0).sqrt()


def _fit_mahalanobis(classifier: Classifier, passed: Passed, labels: Tensor) -> dict[str, Tensor]:
    from pytorch_ood.detector import Mahalanobis

    gaussians = Mahalanobis(None).fit_features(passed[0], labels)
    return {"means": gaussians.mu, "precision": gaussians.precision}


def _mahalanobis(classifier: Classifier, fitted: Fitted) -> Score:
    from pytorch_ood.detector import Mahalanobis

    if torch.compiler.is_exporting():
        return lambda images, features, logits: _half_squared(features, fitted["means"], fitted["precision"])
    gaussians = Mahalanobis(None)
    gaussians.mu, gaussians.precision = fitted["means"], fitted["precision"]
    return lambda images, features, logits: gaussians.predict_features(features.cpu())


def _half_squared(features: Tensor, means: Tensor, precision: Tensor) -> Tensor:
    """pytorch-ood's score without `Tensor.data`, which torch.export does not follow."""
    centred = [features - mean for mean in means]
    found = torch.stack([((rows @ precision) * rows).sum(dim=1) for rows in centred])
    return found.amin(dim=0) / 2


def _fit_vim(classifier: Classifier, passed: Passed, labels: Tensor) -> dict[str, Tensor]:
    vim = _empty_vim(classifier).fit_features(passed[0], labels)
    return {"subspace": vim.principal_subspace, "alpha": torch.tensor(vim.alpha, dtype=torch.float64)}


def _vim(classifier: Classifier, fitted: Fitted) -> Score:
    vim = _empty_vim(classifier)
    vim.principal_subspace, vim.alpha = fitted["subspace"], float(fitted["alpha"])
    return lambda images, features, logits: vim.predict_features(features.cpu())


def _empty_vim(classifier: Classifier):  # type: ignore[no-untyped-def]  # pytorch-ood is imported when it is needed
    from pytorch_ood.detector import ViM

    network = classifier.network
    weight, bias = network.fc.weight.detach().cpu(), network.fc.bias.detach().cpu()
    return ViM(None, d=network.feature_dim // 2, w=weight, b=bias)


def _fit_react(classifier: Classifier, passed: Passed, labels: Tensor) -> dict[str, Tensor]:
    from pytorch_ood.detector import ReAct

    react = ReAct(classifier.network.features, classifier.network.fc, percentile=REACT_SHARE).fit_feature_maps(
        passed[0], labels
    )
    return {"threshold": torch.tensor(float(react.threshold), dtype=torch.float64)}


def _react(classifier: Classifier, fitted: Fitted) -> Score:
    from pytorch_ood.detector import ReAct

    react = ReAct(classifier.network.features, classifier.network.fc, threshold=float(fitted["threshold"]))
    return lambda images, features, logits: react.predict_feature_maps(features)


RULES: Mapping[str, Rule] = {
    "msp": _of_logits("MaxSoftmax"),
    "max_logit": _of_logits("MaxLogit"),
    "energy": _of_logits("EnergyBased"),
    "odin": Rule(_odin, of_images=True),
    "knn": Rule(_knn, _fit_knn, lambda classes, dim: {"features": (None, dim)}),
    "mahalanobis": Rule(
        _mahalanobis, _fit_mahalanobis, lambda classes, dim: {"means": (classes, dim), "precision": (dim, dim)}
    ),
    "vim": Rule(_vim, _fit_vim, lambda classes, dim: {"subspace": (dim, dim - dim // 2), "alpha": ()}),
    "react": Rule(_react, _fit_react, lambda classes, dim: {"threshold": ()}),
}
