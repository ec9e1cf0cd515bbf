"""Classifiers with an outlier class, and their losses."""

import math

import pytest
import torch
from ood_shared.errors import InputError
from oodgen.classifier import (
    Classifier,
    PaperClassifier,
    batch_mean_loss,
    build_classifier,
    class_weights,
    classifier_loss,
    double_softmax_loss,
    ood_weight_from_counts,
    weighted_loss,
)

BOTH = pytest.mark.parametrize("architecture", ["doc", "paper"])


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes and the outlier class."""
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return logits, torch.tensor([0, 1, 2, 3, 3, 1])


@pytest.mark.parametrize(("build", "expected"), [(Classifier, 94_091), (PaperClassifier, 1_200_011)])
def test_the_number_of_parameters_is_the_published_one(build: type, expected: int) -> None:
    assert sum(parameter.numel() for parameter in build().parameters()) == expected


def test_the_dropout_keeps_its_name_and_has_no_state() -> None:
    classifier = Classifier()
    assert isinstance(classifier.conv2_drop, torch.nn.Dropout2d)
    assert not classifier.conv2_drop.state_dict()


@BOTH
@pytest.mark.parametrize("n_classes", [1, 5, 10])
def test_there_is_one_output_more_than_classes(architecture: str, n_classes: int) -> None:
    assert build_classifier(architecture, n_classes)(images(2, 1, 28, 28)).shape == (2, n_classes + 1)


@BOTH
def test_forward_gives_the_softmax_of_the_logits(architecture: str) -> None:
    classifier = build_classifier(architecture).eval()
    x = images(3, 1, 28, 28)
    torch.testing.assert_close(classifier(x), classifier.logits(x).softmax(dim=1))


@BOTH
def test_logits_are_the_last_layer_of_the_features(architecture: str) -> None:
    classifier = build_classifier(architecture).eval()
    x = images(3, 1, 28, 28)
    torch.testing.assert_close(classifier.logits(x), classifier.fc2(classifier.features(x)))


@BOTH
def test_dropout_is_active_in_training_only(architecture: str) -> None:
    classifier, x = build_classifier(architecture), images(3, 1, 28, 28)
    assert not torch.equal(classifier.train()(x), classifier(x))
    assert torch.equal(classifier.eval()(x), classifier(x))


@BOTH
@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 784)])
def test_images_without_a_channel_axis_are_taken(architecture: str, shape: tuple[int, ...]) -> None:
    classifier = build_classifier(architecture).eval()
    torch.testing.assert_close(classifier(images(*shape)), classifier(images(*shape).reshape(2, 1, 28, 28)))


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 14, 56), (2, 1, 56, 56), (2, 3, 28, 28), (28, 28), (2, 4, 14, 14)])
def test_other_shapes_are_refused_even_if_the_elements_fit(architecture: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"takes images of shape \(1, 28, 28\)"):
        build_classifier(architecture)(images(*shape))


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(InputError, match="Known: doc, paper"):
        build_classifier("keras")


def test_a_network_without_classes_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Classifier(0)


def test_the_weight_from_the_counts_of_the_documented_run_is_a_fifth() -> None:
    assert ood_weight_from_counts(60_000, 10, 30_000) == pytest.approx(0.2)


@pytest.mark.parametrize("counts", [(0, 10, 5), (5, 10, 0), (5, 0, 5)])
def test_a_weight_from_empty_sets_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="images of both kinds"):
        ood_weight_from_counts(*counts)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_not_positive_and_finite_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="positive and finite"):
        class_weights(weight, 3)


def test_the_weighted_loss_divides_by_the_sum_of_the_weights() -> None:
    logits, labels = logits_and_labels()
    weights = torch.tensor([1.0, 1.0, 1.0, 0.2], dtype=torch.float64)[labels]
    own = logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(classifier_loss(logits, labels, 0.2, 3), -(weights * own).sum() / weights.sum())


def test_the_papers_loss_divides_by_the_batch_size() -> None:
    logits, labels = logits_and_labels()
    weights = torch.tensor([1.0, 1.0, 1.0, 0.2], dtype=torch.float64)[labels]
    own = logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(classifier_loss(logits, labels, 0.2, 3, "batch"), -(weights * own).sum() / 6)


@pytest.mark.parametrize(("logit", "bound"), [(50.0, 1e-7), (-50.0, -math.log(1e-7))])
def test_the_papers_loss_clips_probabilities(logit: float, bound: float) -> None:
    logits = torch.tensor([[logit, 0.0]], dtype=torch.float64)
    found = batch_mean_loss(logits, torch.tensor([0]), torch.ones(2, dtype=torch.float64))
    assert found.item() == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("reduction", ["weighted", "batch"])
def test_weight_one_is_the_plain_cross_entropy(reduction: str) -> None:
    logits, labels = logits_and_labels()
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(classifier_loss(logits, labels, 1.0, 3, reduction), expected)


def test_only_ratios_matter_to_the_weighted_loss() -> None:
    logits, labels = logits_and_labels()
    weights = torch.tensor([1.0, 1.0, 1.0, 0.2], dtype=torch.float64)
    torch.testing.assert_close(weighted_loss(logits, labels, weights), weighted_loss(logits, labels, weights / 6000))


def test_the_double_softmax_takes_probabilities_as_logits() -> None:
    logits, labels = logits_and_labels()
    probabilities = logits.softmax(dim=1)
    expected = double_softmax_loss(probabilities, labels, class_weights(0.2, 3, probabilities))
    torch.testing.assert_close(classifier_loss(logits, labels, 0.2, 3, double_softmax=True), expected)


def test_the_double_softmax_cannot_fall_below_its_floor() -> None:
    certain = torch.eye(11) * 1000
    found = classifier_loss(certain, torch.arange(11), 0.2, 10, double_softmax=True)
    assert found.item() == pytest.approx(math.log(math.e + 10) - 1, rel=1e-6)


@pytest.mark.parametrize(("reduction", "double"), [("weighted", False), ("batch", False), ("weighted", True)])
def test_losses_pass_gradcheck(reduction: str, double: bool) -> None:
    logits, labels = logits_and_labels()
    loss = lambda x: classifier_loss(x, labels, 0.2, 3, reduction, double)  # noqa: E731
    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


def test_losses_of_narrow_logits_are_float32() -> None:
    logits, labels = logits_and_labels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert classifier_loss(logits.bfloat16(), labels, 0.2, 3).dtype == torch.float32


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean `weighted`"):
        classifier_loss(*logits_and_labels(), 0.2, 3, "weigthed")


def test_the_double_softmax_is_refused_with_the_batch_mean() -> None:
    with pytest.raises(InputError, match="drop one"):
        classifier_loss(*logits_and_labels(), 0.2, 3, "batch", double_softmax=True)
