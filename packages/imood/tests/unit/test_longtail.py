"""Class sizes, selection, prior."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from imood import longtail
from ood_shared.errors import InputError


@given(st.integers(2, 30), st.integers(1, 200), st.floats(0.001, 1.0))
def test_sizes_fall_from_the_mean_to_its_share(n_classes, per_class, ratio):
    sizes = longtail.class_sizes(n_classes * per_class, n_classes, ratio)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == per_class
    assert sizes[-1] == int(per_class * ratio)


@given(st.lists(st.integers(0, 5), min_size=30, max_size=80), st.floats(0.01, 1.0))
def test_own_sizes_never_exceed_what_a_class_has(labels, ratio):
    labels = np.array(labels)
    sizes = longtail.sizes_of_own(labels, 6, ratio)
    have = np.bincount(labels, minlength=6)
    assert all(size <= count for size, count in zip(sizes, have, strict=True))
    assert all(size >= min(1, count) for size, count in zip(sizes, have, strict=True))
    chosen = longtail.select(labels, sizes)
    assert np.bincount(labels[chosen], minlength=6).tolist() == sizes


def test_step_sizes_lose_the_last_of_an_odd_number_of_classes():
    assert longtail.class_sizes(50, 5, 0.5, "step") == [10, 10, 5, 5]


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(InputError, match="imbalance_ratio"):
        longtail.class_sizes(100, 10, ratio)


@pytest.mark.parametrize("tau", [-1, float("inf"), float("nan")])
def test_a_wrong_tau_is_refused(tau):
    with pytest.raises(InputError, match="logit_adjust"):
        longtail.adjustments([1, 2], tau)


def test_the_prior_is_uniform_at_tau_0_and_that_of_the_counts_at_tau_1():
    counts = [30, 15, 5]
    assert torch.equal(longtail.adjustments(counts, 0), torch.zeros(1, 3))
    prior = longtail.log_prior(longtail.adjustments(counts, 1.0)).exp()
    torch.testing.assert_close(prior, torch.tensor([[0.6, 0.3, 0.1]]))


def test_the_background_column_is_not_adjusted():
    found = longtail.adjustments([3, 1], 2.0, background=True)
    assert found.shape == (1, 3)
    assert found[0, 2] == 0


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="`linear`"):
        longtail.class_sizes(100, 10, 0.1, "linear")
