"""The metrics against their definitions, other libraries, and identities that hold for any scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ood_shared import metrics
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from .metric_cases import literal, random_case


def sklearn_inputs(id_scores, ood_scores):
    return np.r_[np.zeros(len(id_scores)), np.ones(len(ood_scores))], np.r_[id_scores, ood_scores]


@pytest.mark.parametrize("seed", range(60))
def test_every_metric_agrees_with_its_definition_in_exact_fractions(seed):
    id_scores, ood_scores = random_case(seed)
    assert metrics.evaluate(id_scores, ood_scores) == pytest.approx(
        literal(id_scores, ood_scores), rel=1e-12, abs=1e-15
    )


@pytest.mark.parametrize("seed", range(200))
def test_areas_agree_with_scikit_learn(seed):
    id_scores, ood_scores = random_case(seed)
    labels, scores = sklearn_inputs(id_scores.astype(np.float64), ood_scores.astype(np.float64))
    found = metrics.evaluate(id_scores, ood_scores)
    precision_out, recall_out, _ = precision_recall_curve(labels, scores)
    precision_in, recall_in, _ = precision_recall_curve(1 - labels, -scores)
    expected = {
        "auroc": roc_auc_score(labels, scores),
        "aupr_out": average_precision_score(labels, scores),
        "aupr_in": average_precision_score(1 - labels, -scores),
        "aupr_out_trapezoid": auc(recall_out, precision_out),
        "aupr_in_trapezoid": auc(recall_in, precision_in),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_hundred_thousand_scores_agree_with_scikit_learn(dtype):
    generator = np.random.default_rng(3)
    id_scores, ood_scores = generator.normal(0, 1, 60_000).astype(dtype), generator.normal(1, 2, 40_000).astype(dtype)
    found, (labels, scores) = metrics.evaluate(id_scores, ood_scores), sklearn_inputs(id_scores, ood_scores)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, scores), rel=1e-10)
    assert found["aupr_out"] == pytest.approx(average_precision_score(labels, scores), rel=1e-10)


@pytest.mark.parametrize("seed", range(60))
def test_metrics_agree_with_pytorch_ood_which_means_the_trapezoid_by_aupr(seed):
    functional = pytest.importorskip("pytorch_ood.metrics.functional", reason="pytorch-ood is a test dependency")
    id_scores, ood_scores = random_case(seed)
    found = metrics.evaluate(id_scores, ood_scores)
    scores = torch.from_numpy(np.r_[id_scores, ood_scores])
    labels = torch.from_numpy(np.r_[np.zeros(len(id_scores)), -np.ones(len(ood_scores))]).long()
    expected = {
        "auroc": functional.auroc(scores, labels).item(),
        "aupr_out_trapezoid": functional.aupr(scores, labels, positive="ood").item(),
        "aupr_in_trapezoid": functional.aupr(scores, labels, positive="id").item(),
        "fpr95": functional.fpr_at_tpr(scores, labels, 0.95).item(),
        "fpr80": functional.fpr_at_tpr(scores, labels, 0.80).item(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


# Properties

scores_with_ties = arrays(np.float64, st.integers(1, 40), elements=st.integers(-6, 6).map(float))
scores_of_any_size = arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32, allow_nan=False))
some_scores = st.one_of(scores_with_ties, scores_of_any_size)


@given(some_scores, some_scores)
def test_auroc_of_negated_scores_is_one_minus_auroc(id_scores, ood_scores):
    direct, negated = metrics.evaluate(id_scores, ood_scores), metrics.evaluate(-id_scores, -ood_scores)
    assert negated["auroc"] == pytest.approx(1 - direct["auroc"], abs=1e-15)


@given(some_scores, some_scores)
def test_negating_and_swapping_the_groups_exchanges_the_positive_class(id_scores, ood_scores):
    direct, swapped = metrics.evaluate(id_scores, ood_scores), metrics.evaluate(-ood_scores, -id_scores)
    pairs = {
        "auroc": "auroc",
        "aupr_out": "aupr_in",
        "aupr_out_trapezoid": "aupr_in_trapezoid",
        "fpr95": "fpr95_id_positive",
        "fpr80": "fpr80_id_positive",
        "detection_error": "detection_error",
    }
    assert [swapped[name] for name in pairs] == [direct[name] for name in pairs.values()]


@given(
    scores_with_ties, scores_with_ties, st.sampled_from([np.arctan, np.exp, lambda s: s**3, lambda s: 1e30 * s - 5e30])
)
def test_monotone_maps_change_nothing(id_scores, ood_scores, mapped):
    assert metrics.evaluate(mapped(id_scores), mapped(ood_scores)) == metrics.evaluate(id_scores, ood_scores)


@given(some_scores, some_scores, st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_changes_nothing(id_scores, ood_scores, random):
    shuffled = random.sample(list(id_scores), len(id_scores)), random.sample(list(ood_scores), len(ood_scores))
    assert metrics.evaluate(*map(np.array, shuffled)) == metrics.evaluate(id_scores, ood_scores)


@given(some_scores, some_scores)
def test_every_metric_lies_between_zero_and_one(id_scores, ood_scores):
    found = metrics.evaluate(id_scores, ood_scores)
    assert all(0 <= value <= 1 + 1e-12 for value in found.values()), found


@given(some_scores, some_scores)
def test_repeating_every_score_changes_nothing(id_scores, ood_scores):
    repeated = metrics.evaluate(np.repeat(id_scores, 3), np.repeat(ood_scores, 2))
    expected = metrics.evaluate(np.repeat(id_scores, 6), np.repeat(ood_scores, 4))
    assert repeated == pytest.approx(expected, rel=1e-12)
    assert repeated["auroc"] == pytest.approx(metrics.evaluate(id_scores, ood_scores)["auroc"], rel=1e-12)
