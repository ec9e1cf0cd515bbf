"""Conformal thresholds and p-values."""

import doctest
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ood_shared import thresholds
from ood_shared.batch_alarms import check_batch
from ood_shared.errors import InputError
from ood_shared.thresholds import (
    Threshold,
    class_p_values,
    fit_threshold,
    least_calibration,
    one_of_each,
    p_values,
    split_groups,
)
from scipy import stats


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(thresholds).failed == 0


def test_p_values_by_hand() -> None:
    calibration = np.array([3.0, 1.0, 2.0, 2.0])
    assert p_values(calibration, np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0])).tolist() == [1, 1, 0.8, 0.4, 0.4, 0.2]
    assert p_values(np.array([1.0]), np.array([0.5, 1.0, 2.0])).tolist() == [1.0, 1.0, 0.5]  # n = 1


def test_the_threshold_is_the_order_statistic() -> None:
    found = fit_threshold(np.arange(1.0, 401.0), 0.05)
    assert (found.value, found.n, found.k) == (381.0, 400, 381)
    assert found.expected == pytest.approx(20 / 401)
    assert fit_threshold(np.arange(1.0, 20.0), 0.05).value == 19.0  # 19 images: none of them is beyond


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.sampled_from([0.02, 0.05, 0.1, 0.25, 0.5]))
def test_a_score_is_flagged_by_the_threshold_where_its_p_value_is_at_most_the_rate(values, rate) -> None:
    calibration = np.array(values, float)
    if len(calibration) < least_calibration(rate):
        with pytest.raises(InputError, match="cannot support"):
            fit_threshold(calibration, rate)
        return
    t, scores = fit_threshold(calibration, rate), np.arange(-1, 9) / 1.0
    assert ((scores > t.value) <= (p_values(calibration, scores) <= rate + 1e-12)).all()
    strict = np.setdiff1d(scores + 0.5, calibration)  # away from ties the two are the same
    assert ((strict > t.value) == (p_values(calibration, strict) <= rate + 1e-12)).all()


@given(st.lists(st.integers(0, 4), min_size=2, max_size=25))
def test_p_values_are_super_uniform_under_exchangeability(values) -> None:
    """Each value in turn is the new one: the exact distribution over the orders of an exchangeable sample."""
    array = np.array(values, float)
    p = np.array([p_values(np.delete(array, i), array[i : i + 1])[0] for i in range(len(array))])
    for level in np.unique(p):
        assert (p <= level).mean() <= level + 1e-12


def test_the_share_that_is_flagged_follows_the_beta_law() -> None:
    random = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        t = fit_threshold(random.normal(size=200), 0.05).value
        shares.append(0.5 * math.erfc(t / math.sqrt(2)))
    threshold = fit_threshold(random.normal(size=200), 0.05)
    assert np.mean(shares) == pytest.approx(threshold.expected, abs=0.003)
    assert np.mean(np.array(shares) <= threshold.bound) == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate) -> None:
    with pytest.raises(InputError, match="share between 0 and 1"):
        fit_threshold(np.arange(100.0), rate)


def test_what_cannot_be_calibrated_with_is_refused() -> None:
    with pytest.raises(InputError, match=r"18 calibration images cannot support an alarm rate of 0\.05: it needs 19"):
        fit_threshold(np.arange(18.0), 0.05)
    with pytest.raises(InputError, match="are NaN"):
        fit_threshold(np.array([1.0, np.nan]), 0.5)
    with pytest.raises(InputError, match="expected"):
        p_values(np.array([]), np.array([1.0]))
    with pytest.raises(InputError, match="nothing can be said"):
        p_values(np.array([1.0]), np.array([np.nan]))


def test_classes_are_calibrated_by_themselves() -> None:
    calibration, classes = np.array([1.0, 2.0, 10.0, 20.0]), np.array([0, 0, 1, 1])
    p = class_p_values(calibration, classes, np.array([3.0, 3.0]), np.array([0, 1]))
    assert p.tolist() == pytest.approx([1 / 3, 1.0])
    with pytest.raises(InputError, match="class 2"):
        class_p_values(calibration, classes, np.array([3.0]), np.array([2]))


def test_a_shifted_batch_is_noticed_and_a_like_one_is_not() -> None:
    random = np.random.default_rng(1)
    calibration = random.normal(size=1000)
    limit = fit_threshold(calibration, 0.05)
    like = check_batch(p_values(calibration, random.normal(size=500)), limit)
    shifted = check_batch(p_values(calibration, random.normal(0.7, 1, size=500)), limit)
    assert like.low < 0.05 < like.high
    assert like.shifted > 0.01
    assert shifted.low > 0.05
    assert max(shifted.more, shifted.higher) < 1e-6
    assert check_batch(np.array([0.01]), limit).flagged == 1
    with pytest.raises(InputError, match="at least one"):
        check_batch(np.array([]), limit)


def test_a_batch_with_too_few_alarms_is_noticed() -> None:
    random = np.random.default_rng(2)
    calibration = random.normal(size=1000)
    found = check_batch(p_values(calibration, random.normal(-1.5, 1, size=500)), fit_threshold(calibration, 0.05))
    assert found.fewer < 1e-6
    assert found.more > 0.99
    assert found.higher > 0.99
    assert found.shifted < 1e-5


def test_a_large_batch_of_a_small_calibration_set_is_called_shifted_as_rarely_as_a_small_one() -> None:
    random, called = np.random.default_rng(3), 0
    for _ in range(200):
        calibration = random.normal(size=100)
        p = p_values(calibration, random.normal(size=20_000))
        called += check_batch(p, fit_threshold(calibration, 0.05)).shifted < 0.05
    assert called <= 20  # of 200 at 5 %: 10 expected, 20 at the 99.9 % quantile


def test_the_number_of_alarms_is_beta_binomial() -> None:
    # By hand: n = 3 and k = 3, so that an image is flagged when it is above all three
    calibration = np.array([1.0, 2.0, 3.0])
    limit = fit_threshold(calibration, 0.26)
    one = check_batch(p_values(calibration, np.array([4.0])), limit)
    both = check_batch(p_values(calibration, np.array([4.0, 5.0])), limit)
    none = check_batch(p_values(calibration, np.array([0.0, 0.5])), limit)
    assert one.more == pytest.approx(1 / 4)
    assert both.more == pytest.approx(2 / 20)  # two of five in the first places: 2! 3! / 5!
    assert none.fewer == pytest.approx(3 / 5)  # the largest of five is one of the first three
    assert (one.fewer, both.fewer) == (pytest.approx(1), pytest.approx(1))


def test_very_small_p_values_are_not_called_zero() -> None:
    limit = fit_threshold(np.arange(100.0), 0.05)
    assert 0 < check_batch(np.full(400, 1 / 101), limit).more < 1e-60


def test_the_distance_between_both_samples_is_that_of_scipy() -> None:
    random = np.random.default_rng(4)
    calibration, scores = random.normal(size=300), random.normal(0.1, 1.2, size=700)
    found = check_batch(p_values(calibration, scores), fit_threshold(calibration, 0.05)).higher
    assert found == pytest.approx(stats.ks_2samp(calibration, scores, "greater", method="asymp").pvalue, rel=1e-9)


def test_groups_stay_together() -> None:
    groups = [f"patient {number // 7}" for number in range(70)]
    fit, held = split_groups(groups, 2, np.random.default_rng(0))
    assert len(held) == 14
    assert sorted([*fit, *held]) == list(range(70))
    assert not {groups[i] for i in fit} & {groups[i] for i in held}
    with pytest.raises(InputError, match="two or more"):
        split_groups(["a"] * 5, 1, np.random.default_rng(0))


def test_the_words_give_the_average_and_the_bound() -> None:
    words = Threshold(0.0, 0.05, 400, 381).words()
    assert "at most 5.0 % of images like your calibration images" in words
    assert "calibration sets of 400" in words
    assert "95 % confidence at most 6.9 %" in words


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (0, 1, 1, 2), (0, 0, 1, 1), (3, 1, 4, 1, 5), (0, 1, 2, 3, 4)])
def test_over_all_orders_a_p_value_is_at_most_a_level_no_more_often_than_that(values) -> None:
    """Exchangeable by enumeration: every order of the values, of which the last is the new one."""
    orders = [np.array(order, float) for order in itertools.permutations(values)]
    p = np.array([p_values(order[:-1], order[-1:])[0] for order in orders])
    levels = np.concatenate([np.linspace(0.01, 1, 100), np.arange(1, len(values) + 1) / len(values)])
    excess = [(p <= level + 1e-12).mean() - level for level in levels]
    assert max(excess) <= 1e-9, f"{levels[int(np.argmax(excess))]}: {max(excess)} too often"
    if len(set(values)) == len(values):  # without ties it is as often, at every 1 / (n + 1)
        assert excess[100:] == pytest.approx(np.zeros(len(values)), abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_with_one_calibration_image_nothing_below_a_half_is_ever_said(first, second) -> None:
    p = p_values(np.array([first]), np.array([second]))[0]
    assert p in (0.5, 1.0)
    assert p == (0.5 if second > first else 1.0)
    with pytest.raises(InputError, match=r"1 calibration images cannot support an alarm rate of 0\.4: it needs 2"):
        fit_threshold(np.array([first]), 0.4)
    assert fit_threshold(np.array([first]), 0.5).expected == 0.5


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=8),
    st.lists(st.integers(0, 3), min_size=2, max_size=8),
    st.sampled_from([0.1, 0.25, 0.34, 0.5]),
)
def test_within_each_class_p_values_are_super_uniform(first, second, level) -> None:
    """Scores of one class are exchangeable with each other, not with those of another class, which lie far above."""
    scores = np.array([*first, *(10 + value for value in second)], float)
    classes = np.repeat([0, 1], [len(first), len(second)])
    small = np.zeros(len(scores), bool)
    for new in range(len(scores)):
        kept = np.arange(len(scores)) != new
        p = class_p_values(scores[kept], classes[kept], scores[new : new + 1], classes[new : new + 1])
        small[new] = p[0] <= level + 1e-12
    assert small[classes == 0].mean() <= level + 1e-9
    assert small[classes == 1].mean() <= level + 1e-9


def test_over_random_splits_the_flagged_share_is_that_which_is_promised() -> None:
    """200 splits of one finite set, as `coverage.py` makes them of real scores: the count is beta-binomial."""
    random, scores = np.random.default_rng(5), np.random.default_rng(6).lognormal(size=600) ** 3
    shares = []
    for _ in range(200):
        order = random.permutation(scores)
        limit = fit_threshold(order[:300], 0.05)
        shares.append((order[300:] > limit.value).mean())
    law = stats.betabinom(300, limit.n + 1 - limit.k, limit.k)
    assert np.mean(shares) == pytest.approx(limit.expected, abs=4 * law.std() / 300 / math.sqrt(200))
    assert np.mean(np.array(shares) > law.ppf(0.95) / 300) <= 0.11  # 5 % expected, 0.11 beyond the 99.9 % quantile


def test_one_of_each_group_is_drawn() -> None:
    groups = np.repeat(np.arange(50), np.arange(1, 51))
    draws = [one_of_each(groups, np.random.default_rng(seed)) for seed in range(400)]
    assert all((groups[drawn] == np.arange(50)).all() for drawn in draws)
    last = np.array([drawn[-1] for drawn in draws]) - np.flatnonzero(groups == 49)[0]
    assert 18 < last.mean() < 31  # of 50 images of the last group, every one as likely


@pytest.mark.parametrize("images", [1, 10])
def test_a_threshold_from_one_image_of_each_patient_keeps_its_promise_for_new_patients(images: int) -> None:
    """Scores of a patient are alike; a threshold from all of their images breaks the promise, one of each keeps it."""
    random = np.random.default_rng(0)

    def patients(count: int) -> np.ndarray:
        return np.repeat(random.normal(size=count), images) + 0.1 * random.normal(size=count * images)

    alarms, promised = [], []
    for _ in range(300):
        own, groups = patients(40), np.repeat(np.arange(40), images)
        found = fit_threshold(own[one_of_each(groups, random)], 0.05)
        alarms.append((patients(200) > found.value).mean())
        promised.append(found.expected)
    assert np.mean(alarms) < np.mean(promised) + 3 * np.std(alarms) / len(alarms) ** 0.5
    assert np.mean(np.array(alarms) > found.bound) < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_no_group_is_ever_on_both_sides(groups, count, seed) -> None:
    names = np.array(groups)
    fit, held = split_groups(groups, count, np.random.default_rng(seed))
    assert sorted([*fit, *held]) == list(range(len(groups)))
    assert not set(names[fit]) & set(names[held])
    assert len(fit) > 0
    assert len(set(names[held])) == min(count, len(set(groups)) - 1)
