"""04: the classifier's probabilities, losses and confidences."""

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.classifier import Classifier, classifier_loss, double_softmax_loss, weighted_loss
from oodgen.scores import confidence

ATOL = 1e-5  # float32


@pytest.fixture
def arrays(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("04_classifier_forward")


@pytest.fixture
def logits(arrays: dict, classifier: Classifier) -> torch.Tensor:
    with torch.no_grad():
        return classifier.logits(*tensors(arrays, "x"))


def test_probabilities_agree(arrays: dict, classifier: Classifier) -> None:
    with torch.no_grad():
        np.testing.assert_allclose(classifier(*tensors(arrays, "x")), arrays["prob"], rtol=0, atol=ATOL)


def test_single_softmax_loss_agrees(arrays: dict, logits: torch.Tensor) -> None:
    found = weighted_loss(logits, *tensors(arrays, "labels", "class_weight"))
    np.testing.assert_allclose(found, arrays["loss_single_softmax_weighted"], rtol=0, atol=ATOL)


def test_double_softmax_loss_agrees(arrays: dict) -> None:
    found = double_softmax_loss(*tensors(arrays, "prob", "labels", "class_weight"))
    np.testing.assert_allclose(found, arrays["loss_seed_double_softmax"], rtol=0, atol=ATOL)


def test_unweighted_double_softmax_loss_agrees(arrays: dict, logits: torch.Tensor) -> None:
    (labels,) = tensors(arrays, "labels")
    found = classifier_loss(logits, labels, 1.0, logits.shape[1] - 1, double_softmax=True)
    np.testing.assert_allclose(found, arrays["loss_seed_unweighted"], rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("double", "key"), [(False, "loss_single_softmax_weighted"), (True, "loss_seed_double_softmax")]
)
def test_only_the_ratio_of_the_class_weights_matters(
    double: bool, key: str, arrays: dict, logits: torch.Tensor
) -> None:
    labels, weight = tensors(arrays, "labels", "class_weight")
    assert (weight[:-1] == weight[0]).all()
    found = classifier_loss(logits, labels, float(weight[-1] / weight[0]), len(weight) - 1, double_softmax=double)
    np.testing.assert_allclose(found, arrays[key], rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("kind", "key"), [("max_all", "max_all"), ("max_in", "max_first_n"), ("one_minus_ood", "one_minus_last")]
)
def test_confidences_agree(kind: str, key: str, arrays: dict, classifier: Classifier) -> None:
    with torch.no_grad():
        found = confidence(classifier(*tensors(arrays, "x")), kind)
    np.testing.assert_allclose(found, arrays[f"score_{key}"], rtol=0, atol=ATOL)
