"""The metrics of a detector: cases by hand, resolution, kinds of input, errors, and accuracy."""

import math

import numpy as np
import pytest
import torch
from ood_shared import metrics
from ood_shared.errors import InputError
from ood_shared.ranking import positives_needed

from .metric_cases import ID, OOD, random_case

# By hand


def test_auroc_counts_ties_one_half():
    # 0.2 beats 1 of 5 and ties with 2; 0.5 beats 4; 0.6 beats 4 and ties with 1; 0.9 beats 5
    assert metrics.evaluate(ID, OOD)["auroc"] == (2 + 4 + 4.5 + 5) / 20


def test_fpr95_counts_id_scores_that_tie_with_the_threshold_as_flagged():
    # All four OOD are caught from 0.2 on, which flags 0.2, 0.2, 0.4 and 0.6
    assert metrics.evaluate(ID, OOD)["fpr95"] == 4 / 5


def test_fpr95_id_positive_accepts_ood_up_to_the_threshold_that_keeps_95_percent_of_id():
    # All five ID are kept up to 0.6, which accepts 0.2, 0.5 and 0.6
    assert metrics.evaluate(ID, OOD)["fpr95_id_positive"] == 3 / 4


def test_fpr80_id_positive_keeps_four_of_five_id():
    assert metrics.evaluate(ID, OOD)["fpr80_id_positive"] == 1 / 4


def test_detection_error_is_the_least_mean_of_both_errors():
    # From 0.5 on: 3 of 4 caught, 1 of 5 flagged
    assert metrics.evaluate(ID, OOD)["detection_error"] == pytest.approx((1 / 4 + 1 / 5) / 2, rel=1e-15)


def test_average_precision_and_trapezoid_by_hand():
    # flagged OOD of all flagged: 1/1 at 0.9, 2/3 at 0.6, 3/4 at 0.5, 4/9 at 0.2 after 3/5 at 0.4
    found = metrics.evaluate(ID, OOD)
    assert found["aupr_out"] == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 8) / 4, rel=1e-15)
    assert found["aupr_out_trapezoid"] == pytest.approx(
        ((1 + 1) + (1 + 2 / 3) + (2 / 3 + 3 / 4) + (3 / 5 + 4 / 8)) / 8, rel=1e-15
    )


def test_evaluate_returns_exactly_the_named_metrics():
    assert tuple(metrics.evaluate(ID, OOD)) == metrics.NAMES


def test_perfect_detector_scores_exactly_one_and_zero():
    found = metrics.evaluate(np.arange(7.0), np.arange(7.0, 20.0))
    best = {name: 0.0 if name.startswith(("fpr", "detection")) else 1.0 for name in metrics.NAMES}
    assert found == best


def test_inverted_detector_has_auroc_exactly_zero():
    found = metrics.evaluate(np.arange(7.0, 20.0), np.arange(7.0))
    assert (found["auroc"], found["fpr95"], found["fpr95_id_positive"], found["detection_error"]) == (0, 1, 1, 0.5)


def test_constant_scores_are_chance():
    found = metrics.evaluate(np.zeros(10), np.zeros(30))
    assert (found["auroc"], found["aupr_out"], found["aupr_in"], found["fpr95"]) == (0.5, 0.75, 0.25, 1)


def test_one_score_each_is_enough():
    assert metrics.evaluate(np.array([1.0]), np.array([2.0]))["auroc"] == 1


@pytest.mark.parametrize(
    ("n", "needed"), [(20, 19), (21, 20), (40, 38), (41, 39), (100, 95), (1, 1), (10_000_000, 9_500_000)]
)
def test_share_of_95_percent_is_counted_without_float_rounding(n, needed):
    assert positives_needed(0.95, n) == needed


@pytest.mark.parametrize("level", [0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58])  # here level * 100 rounds upwards
def test_level_times_100_positives_is_never_rounded_up(level):
    ood = np.arange(100.0)
    id_scores = np.array(
        [ood[-round(100 * level)] - 0.5]
    )  # just below the threshold: flagged only if one more is asked
    assert metrics.fpr_at_tpr(id_scores, ood, level) == 0


def test_fpr_at_tpr_agrees_with_evaluate():
    id_scores, ood_scores = random_case(0)
    found = metrics.evaluate(id_scores, ood_scores)
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 0.95) == found["fpr95"]
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 0.8, positive="id") == found["fpr80_id_positive"]


def test_roc_curve_starts_at_zero_and_passes_each_distinct_score_once():
    fpr, tpr = metrics.roc_curve(ID, OOD)
    np.testing.assert_array_equal(fpr * 5, [0, 0, 1, 1, 2, 4, 5])
    np.testing.assert_array_equal(tpr * 4, [0, 1, 2, 3, 3, 4, 4])


# Kinds of scores


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_give_what_their_values_give_as_arrays(dtype):
    generator = torch.Generator().manual_seed(0)
    id_scores = torch.randn(50, generator=generator).to(dtype).requires_grad_()
    ood_scores = (torch.randn(70, generator=generator) + 1).to(dtype)
    wide = id_scores.detach().double().numpy(), ood_scores.double().numpy()
    assert metrics.evaluate(id_scores, ood_scores) == metrics.evaluate(*wide)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_tensors_give_what_cpu_tensors_give():
    id_scores, ood_scores = torch.randn(1000), torch.randn(1000) + 1
    assert metrics.evaluate(id_scores.to("cuda"), ood_scores.to("cuda")) == metrics.evaluate(id_scores, ood_scores)


def test_average_precision_and_trapezoid_differ_under_ties():
    found = metrics.evaluate(np.zeros(3), np.array([0.0, 1.0]))
    assert (found["aupr_out"], found["aupr_out_trapezoid"]) == pytest.approx((0.7, 0.85))


# Resolution


def test_scores_above_17_keep_their_order_in_float32():
    # a sigmoid of these is 1 for all of them
    id_scores = np.array([17.5, 18.5, 19.5], np.float32)
    assert metrics.evaluate(id_scores, id_scores + np.float32(1e-5))["auroc"] == 6 / 9


def test_scores_around_200_keep_their_order_in_float32():
    spacing = np.spacing(np.float32(200))
    id_scores = (200 + spacing * np.arange(0, 100, 2)).astype(np.float32)
    ood_scores = (200 + spacing * (np.arange(0, 100, 2) + 1)).astype(np.float32)
    assert metrics.evaluate(id_scores, ood_scores)["auroc"] == (50 * 51 / 2) / 2500


def test_neighbouring_float64_scores_are_no_tie():
    assert metrics.evaluate(np.array([1.0]), np.array([np.nextafter(1.0, 2.0)]))["auroc"] == 1


def test_float32_and_float64_scores_are_compared_exactly():
    assert metrics.evaluate(np.array([0.1], np.float64), np.array([0.1], np.float32))["auroc"] == 1  # 0.1f > 0.1


def test_negative_zero_ties_with_zero():
    assert metrics.evaluate(np.array([-0.0]), np.array([0.0]))["auroc"] == 0.5


def test_infinities_are_ranked():
    found = metrics.evaluate(np.array([-np.inf, 0.0, np.inf]), np.array([0.0, np.inf]))
    assert found["auroc"] == (1 + 0.5 + 2 + 0.5) / 6


# Errors


@pytest.mark.parametrize("which", ["id_scores", "ood_scores"])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_nan_is_refused_with_array_and_position(which, kind):
    scores = {"id_scores": kind([1.0, 2.0]), "ood_scores": kind([1.0, 2.0])}
    scores[which] = kind([0.0, math.nan, math.nan])
    with pytest.raises(InputError, match=f"{which} has 2 NaN of 3 scores, the first at position 1"):
        metrics.evaluate(**scores)


@pytest.mark.parametrize("which", ["id_scores", "ood_scores"])
def test_empty_scores_are_refused_by_name(which):
    scores = {"id_scores": ID, "ood_scores": OOD} | {which: np.array([])}
    with pytest.raises(InputError, match=f"{which} is empty"):
        metrics.evaluate(**scores)


def test_scores_with_two_axes_are_refused_with_their_shape():
    with pytest.raises(InputError, match=r"id_scores has shape \(5, 1\)"):
        metrics.evaluate(ID[:, None], OOD)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="ood_scores has dtype complex128"):
        metrics.evaluate(ID, OOD.astype(complex))


def test_integers_that_no_float_holds_are_refused():
    with pytest.raises(InputError, match="id_scores has dtype int64"):
        metrics.evaluate(np.array([2**53 + 1]), OOD)


def test_small_integers_are_scores():
    assert metrics.evaluate(np.array([1, 2]), np.array([3, 4]))["auroc"] == 1


@pytest.mark.parametrize("level", [0.0, -0.1, 1.5])
def test_level_outside_its_range_is_refused(level):
    with pytest.raises(InputError, match=str(level)):
        metrics.fpr_at_tpr(ID, OOD, level)


def test_positive_group_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="`novel`"):
        metrics.fpr_at_tpr(ID, OOD, 0.95, positive="novel")


# Accuracy


def test_accuracy_leaves_ood_inputs_out():
    assert metrics.accuracy(np.array([0, 1, 2, 3]), np.array([0, 1, 1, -1])) == 2 / 3


def test_accuracy_takes_tensors():
    assert metrics.accuracy(torch.tensor([0, 1]), torch.tensor([0, 0])) == 0.5


def test_accuracy_without_id_inputs_is_refused():
    with pytest.raises(InputError, match="at least one ID"):
        metrics.accuracy(np.array([0]), np.array([-1]))


def test_accuracy_of_unequal_lengths_is_refused():
    with pytest.raises(InputError, match=r"\(2,\) and labels \(3,\)"):
        metrics.accuracy(np.array([0, 1]), np.array([0, 1, 1]))


def test_accuracy_interval_has_the_width_of_a_binomial():
    correct = np.arange(1000) % 10 > 0  # 90 %
    low, high = metrics.accuracy_interval(correct, np.random.default_rng(0), 4000)
    half = 1.96 * math.sqrt(0.9 * 0.1 / 1000)
    assert (low, high) == pytest.approx((0.9 - half, 0.9 + half), abs=0.003)


def test_accuracy_interval_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"shape \(0,\)"):
        metrics.accuracy_interval(np.array([], bool), np.random.default_rng(0))
