import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ood_shared import bootstrap as bootstrap_module
from ood_shared import metrics
from ood_shared.errors import InputError
from ood_shared.ranking import positives_needed, rank
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

ID = np.array([0.1, 0.2, 0.2, 0.4, 0.6])
OOD = np.array([0.2, 0.5, 0.6, 0.9])


def literal(id_scores, ood_scores):
    """Every metric from its definition, threshold by threshold, in exact fractions."""
    id_scores, ood_scores = [float(s) for s in id_scores], [float(s) for s in ood_scores]
    wins = sum(Fraction(1) if o > i else Fraction(1, 2) if o == i else 0 for o in ood_scores for i in id_scores)
    found = {"auroc": float(wins / (len(id_scores) * len(ood_scores)))}
    levels = sorted(set(id_scores + ood_scores))
    for suffix, (positive, negative), direction in (
        ("out", (ood_scores, id_scores), 1),
        ("in", (id_scores, ood_scores), -1),
    ):
        curve = [(Fraction(0), Fraction(1), Fraction(0))]  # TPR, precision, FPR
        for threshold in levels[::-direction]:
            true = sum(direction * s >= direction * threshold for s in positive)
            false = sum(direction * s >= direction * threshold for s in negative)
            curve.append((Fraction(true, len(positive)), Fraction(true, true + false), Fraction(false, len(negative))))
        steps = list(itertools.pairwise(curve))
        found[f"aupr_{suffix}"] = float(sum((b[0] - a[0]) * b[1] for a, b in steps))
        found[f"aupr_{suffix}_trapezoid"] = float(sum((b[0] - a[0]) * (b[1] + a[1]) / 2 for a, b in steps))
        for name, level in (("fpr95", Fraction(95, 100)), ("fpr80", Fraction(80, 100))):
            key = name if suffix == "out" else f"{name}_id_positive"
            found[key] = float(next(fpr for tpr, _, fpr in curve if tpr >= level))
        found["detection_error"] = float(min((1 - tpr + fpr) / 2 for tpr, _, fpr in curve))
    return found


def random_case(seed):
    """Scores of both groups with many, few or no ties, in a random precision and of random sizes."""
    generator = np.random.default_rng(seed)
    n_id, n_ood = generator.integers(1, 60, size=2)
    scores = generator.normal(generator.normal(), 1, n_id), generator.normal(generator.normal(), 1, n_ood)
    dtype = (np.float16, np.float32, np.float64)[seed % 3]
    digits = (0, 1, 12)[seed // 3 % 3]
    return tuple(np.round(s, digits).astype(dtype) for s in scores)


def sklearn_inputs(id_scores, ood_scores):
    return np.r_[np.zeros(len(id_scores)), np.ones(len(ood_scores))], np.r_[id_scores, ood_scores]


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


# Against other implementations


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
    assert metrics.evaluate(id_scores.cuda(), ood_scores.cuda()) == metrics.evaluate(id_scores, ood_scores)


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


# Bootstrap


@pytest.mark.parametrize("seed", [0, 1, 2, 4])  # ties in float16, float32, float64, and few ties
def test_each_resample_is_what_evaluate_gives_on_the_resampled_scores(seed, monkeypatch):
    monkeypatch.setattr(bootstrap_module, "CELLS", 7 * 60)  # several chunks, the last one shorter
    id_scores, ood_scores = random_case(seed)
    resamples = 50
    found = bootstrap_module.resampled_metrics(rank(id_scores, ood_scores), np.random.default_rng(9), resamples)
    id_stream, ood_stream = bootstrap_module.streams(np.random.default_rng(9))
    id_drawn = np.sort(id_scores)[id_stream.integers(0, len(id_scores), (resamples, len(id_scores)))]
    ood_drawn = np.sort(ood_scores)[::-1][ood_stream.integers(0, len(ood_scores), (resamples, len(ood_scores)))]
    for row in range(resamples):
        one = {name: values[row] for name, values in found.items()}
        assert one == pytest.approx(metrics.evaluate(id_drawn[row], ood_drawn[row]), rel=1e-12, abs=1e-15)


def test_equal_generators_give_equal_intervals():
    first, second = (metrics.bootstrap(ID, OOD, np.random.default_rng(4), resamples=200) for _ in range(2))
    assert first == second


def test_different_generators_give_different_intervals():
    scores = np.random.default_rng(0).normal(size=300)
    low = {metrics.bootstrap(scores, scores + 1, np.random.default_rng(s), resamples=50)["auroc"] for s in range(3)}
    assert len(low) == 3


def test_intervals_do_not_depend_on_the_size_of_a_chunk(monkeypatch):
    whole = metrics.bootstrap(ID, OOD, np.random.default_rng(4), resamples=100)
    monkeypatch.setattr(bootstrap_module, "CELLS", 20)
    assert metrics.bootstrap(ID, OOD, np.random.default_rng(4), resamples=100) == whole


def test_a_chunk_holds_one_resample_when_the_scores_are_many(monkeypatch):
    monkeypatch.setattr(bootstrap_module, "CELLS", 1)
    assert metrics.bootstrap(ID, OOD, np.random.default_rng(4), resamples=3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1, 3))
def test_interval_contains_the_value_for_ordinary_scores(seed, shift):
    generator = np.random.default_rng(seed)
    id_scores, ood_scores = generator.normal(size=400), generator.normal(shift, 1, size=300)
    found = metrics.evaluate_with_intervals(id_scores, ood_scores, generator, resamples=300)
    assume(found["auroc"]["value"] < 1)
    outside = {name: entry for name, entry in found.items() if not entry["low"] <= entry["value"] <= entry["high"]}
    # the detection error is a minimum, which a resample can only lower on average
    assert not outside.keys() - {"detection_error"}, outside


def test_values_with_intervals_are_those_of_evaluate_and_bootstrap():
    found = metrics.evaluate_with_intervals(ID, OOD, np.random.default_rng(1), resamples=100)
    values, intervals = metrics.evaluate(ID, OOD), metrics.bootstrap(ID, OOD, np.random.default_rng(1), resamples=100)
    assert found == {n: {"value": values[n], "low": intervals[n][0], "high": intervals[n][1]} for n in metrics.NAMES}


def test_95_percent_interval_covers_the_true_auroc_about_95_percent_of_the_time():
    generator = np.random.default_rng(11)
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1))
    covered = 0
    for _ in range(200):
        low, high = metrics.bootstrap(generator.normal(size=150), generator.normal(1, 1, size=150), generator, 200)[
            "auroc"
        ]
        covered += low <= truth <= high
    # 190 expected; 5 standard deviations of a binomial are 15
    assert 175 <= covered <= 200, covered


def test_interval_narrows_with_the_number_of_scores():
    generator = np.random.default_rng(5)
    widths = []
    for n in (100, 10_000):
        low, high = metrics.bootstrap(generator.normal(size=n), generator.normal(1, 1, size=n), generator, 100)["auroc"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.5)


def test_lower_level_gives_a_narrower_interval():
    scores = np.random.default_rng(0).normal(size=300)
    wide = metrics.bootstrap(scores, scores + 1, np.random.default_rng(0), 200, level=0.95)["fpr95"]
    narrow = metrics.bootstrap(scores, scores + 1, np.random.default_rng(0), 200, level=0.5)["fpr95"]
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
    assert wide != narrow


@pytest.mark.parametrize("arguments", [{"resamples": 0}, {"level": 1.0}, {"level": 0.0}])
def test_bootstrap_settings_out_of_range_are_refused(arguments):
    with pytest.raises(InputError, match=r"resamples|level"):
        metrics.bootstrap(ID, OOD, np.random.default_rng(0), **arguments)


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
