"""Confidences, scores and the documented program's averages."""

import math

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError
from oodgen.published_metrics import batch_averaged_auroc, nearest_metrics
from oodgen.scores import confidence, ood_score

PROBABILITIES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("one_minus_ood", [0.9, 0.3, 0.6]), ("max_in", [0.7, 0.2, 0.3]), ("max_all", [0.7, 0.7, 0.4])],
)
def test_confidences_by_hand(kind: str, expected: list[float]) -> None:
    torch.testing.assert_close(confidence(PROBABILITIES, kind), torch.tensor(expected))


@pytest.mark.parametrize("kind", ["one_minus_ood", "max_in", "max_all"])
def test_the_score_is_the_confidence_turned_round(kind: str) -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(
        ood_score(logits, kind).argsort(), confidence(logits.softmax(dim=1), kind).argsort(descending=True)
    )


def test_the_score_keeps_the_order_where_the_difference_ties() -> None:
    logits = torch.tensor([[20.0, 0.0], [25.0, 0.0]])
    assert confidence(logits.softmax(dim=1))[0] == confidence(logits.softmax(dim=1))[1]
    assert ood_score(logits)[0] > ood_score(logits)[1]


def test_a_certain_outlier_looks_in_distribution_to_the_documented_score_only() -> None:
    logits = torch.tensor([[0.0, 0.0, 30.0]])
    assert confidence(logits.softmax(dim=1), "max_all").item() == pytest.approx(1)
    assert confidence(logits.softmax(dim=1), "max_in").item() < 1e-6
    assert confidence(logits.softmax(dim=1), "one_minus_ood").item() < 1e-6


@pytest.mark.parametrize("function", [confidence, ood_score])
def test_an_unknown_kind_is_refused(function) -> None:
    with pytest.raises(InputError, match=r"--score `max_inn`.*Did you mean `max_in`"):
        function(PROBABILITIES, "max_inn")


def test_nearest_metrics_may_fall_short_of_the_level() -> None:
    id_confidence = np.arange(1, 11) / 10  # TPR in steps of 10 %: 90 % and 100 % are equally near to 95 %
    found = nearest_metrics(id_confidence, np.array([0.15]))
    assert found.fpr95 == 0.0  # the first of the two, at TPR 90 %


def test_nearest_metrics_drop_points_inside_straight_pieces() -> None:
    found = nearest_metrics(np.array([0.5, 0.5]), np.array([0.5]))  # one tie: only the corners (0, 0) and (1, 1)
    assert found == (0.5, 1.0, 1.0)


@pytest.mark.parametrize(("n_id", "n_ood"), [(0, 3), (3, 0)])
def test_an_empty_group_gives_nan(n_id: int, n_ood: int) -> None:
    assert all(math.isnan(value) for value in nearest_metrics(np.ones(n_id), np.ones(n_ood)))


def test_the_average_is_that_of_the_batches() -> None:
    confidences = np.array([0.9, 0.1, 0.1, 0.9])  # perfect, then inverted
    mean, batches = batch_averaged_auroc(confidences, np.array([False, True, False, True]), 2)
    assert (mean, [batch.auroc for batch in batches]) == (0.5, [1.0, 0.0])


def test_a_last_partial_batch_is_dropped() -> None:
    confidences, is_ood = np.array([0.9, 0.1, 0.1]), np.array([False, True, True])
    assert len(batch_averaged_auroc(confidences, is_ood, 2)[1]) == 1


def test_a_batch_of_one_group_poisons_the_average() -> None:
    confidences, is_ood = np.array([0.9, 0.1, 0.8, 0.7]), np.array([False, True, False, False])
    assert math.isnan(batch_averaged_auroc(confidences, is_ood, 2)[0])


@pytest.mark.parametrize("batch_size", [0, 5])
def test_fewer_images_than_a_batch_are_refused(batch_size: int) -> None:
    with pytest.raises(InputError, match="--average pooled"):
        batch_averaged_auroc(np.ones(4), np.zeros(4, dtype=bool), batch_size)
