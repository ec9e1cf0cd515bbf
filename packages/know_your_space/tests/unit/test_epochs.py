"""What is said about an epoch."""

import math

import numpy as np
import pytest
import torch
from know_your_space.losses import cross_entropy
from know_your_space.validation import balanced_accuracy, one_vs_one_auc, validate
from sklearn.metrics import roc_auc_score


def test_the_auc_of_two_classes_is_that_of_column_1():
    p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    y = torch.tensor([0, 0, 1, 1])
    assert one_vs_one_auc(p, y) == roc_auc_score(y, p[:, 1])


def test_the_auc_of_more_classes_is_one_against_one_weighted_by_prevalence():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(60, 4, generator=generator).softmax(dim=1)
    y = torch.randint(4, (60,), generator=generator)
    expected = roc_auc_score(y, p.double() / p.double().sum(1, keepdim=True), multi_class="ovo", average="weighted")
    assert one_vs_one_auc(p, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 1]])
def test_the_auc_is_not_a_number_where_a_class_is_absent(labels):
    assert math.isnan(one_vs_one_auc(torch.rand(3, 3).softmax(dim=1), torch.tensor(labels)))


def test_the_auc_of_a_single_class_is_not_a_number():
    assert math.isnan(one_vs_one_auc(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)))


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_present():
    assert balanced_accuracy(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 1])) == pytest.approx((2 / 3 + 0) / 2)


def test_validation_averages_the_loss_over_batches_of_any_size(capsys):
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    weights = torch.tensor([0.2, 0.3, 0.5])
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    found = validate(lambda part: logits[part[:, 0, 0, 0].long()], images, labels, weights, batch_size=2, print_freq=1)
    losses = [cross_entropy(logits[rows], labels[rows], weights) for rows in ([0, 1], [2, 3], [4])]
    assert found.loss == pytest.approx(float(sum(losses) / 3), rel=1e-6)
    predicted = logits.argmax(dim=1)
    expected = np.zeros((3, 3), dtype=int)
    for true, guess in zip(labels, predicted, strict=True):
        expected[true, guess] += 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert capsys.readouterr().out.count("Validation: ") == 3
