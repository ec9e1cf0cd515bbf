"""The feature pool: rings that behave as queues, and distances that are those of the inverse written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imood.outliers import Outliers
from imood.pool import FeaturePool, capacities_of
from ood_shared.errors import InputError

from ..literal import mahalanobis


def rows(n, dim=4, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_rings_hold_what_lists_would(batches, seed):
    capacities = [3, 1, 2]
    pool = FeaturePool(capacities, 4, dtype=torch.float64)
    lists = [[], [], []]
    for number, labels in enumerate(batches):
        features = rows(len(labels), seed=seed + number)
        pool.update(features, torch.tensor(labels))
        for c in range(3):
            if c in labels:
                lists[c] = [*lists[c], features[labels.index(c)]][-capacities[c] :]
    for own, expected in zip(pool.per_class(), lists, strict=True):
        assert torch.equal(own, torch.stack(expected) if expected else own.new_zeros(0, 4))
    assert pool.ready == all(len(own) == size for own, size in zip(lists, capacities, strict=True))


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_distances_are_those_of_the_inverse(seed):
    pool = FeaturePool([5, 3, 4], 4, dtype=torch.float64)
    for number in range(7):
        pool.update(rows(6, seed=seed + number), torch.tensor([0, 1, 2, 0, 1, 2]))
    query = 3 * rows(8, seed=seed + 100)
    torch.testing.assert_close(pool.distances(query).squeeze(1), mahalanobis(pool.per_class(), query))


def test_sums_stay_right_over_many_updates():
    pool = FeaturePool([4, 4], 4)
    for number in range(500):
        pool.update(rows(2, seed=number).float() * 100, torch.tensor([0, 1]))
    again = FeaturePool([4, 4], 4)
    again.load_queue(pool.queue())
    torch.testing.assert_close(pool.covariance(), again.covariance(), rtol=1e-9, atol=1e-6)


def test_classes_without_vectors_do_not_count():
    pool = FeaturePool([2, 2], 4, dtype=torch.float64)
    pool.update(rows(1), torch.tensor([1]))
    assert torch.isfinite(pool.distances(rows(3))).all()


def test_an_empty_pool_is_refused():
    with pytest.raises(InputError, match="empty"):
        FeaturePool([2, 2], 4).distances(rows(1))


def test_the_gradient_flows_through_the_query_and_not_into_the_pool():
    pool = FeaturePool([1, 1], 4, dtype=torch.float64)
    stored = rows(2).requires_grad_()
    pool.update(stored, torch.tensor([0, 1]))
    query = rows(3, seed=5).requires_grad_()
    pool.training_distances(query).sum().backward()
    assert query.grad.any()
    assert stored.grad is None


@given(st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_filling_in_any_parts_gives_the_same_pool(part, seed):
    features, labels = rows(40, seed=seed), torch.arange(40) % 3
    whole, parts = (FeaturePool([10, 20, 5], 4, dtype=torch.float64) for _ in range(2))
    whole.fill(features, labels)
    for chunk, numbers in zip(features.split(part), labels.split(part), strict=True):
        parts.fill(chunk, numbers)
    assert torch.equal(whole.queue(), parts.queue())


def test_a_queue_is_zero_in_front_and_comes_back_from_its_file_form():
    pool = FeaturePool([3, 3], 4, dtype=torch.float64)
    pool.update(rows(2), torch.tensor([0, 1]))
    queue = pool.queue()
    assert not queue[:, :2].any()
    other = FeaturePool([3, 3], 4, dtype=torch.float64)
    other.load_queue(queue)
    assert torch.equal(other.queue(), queue)
    assert other.counters.tolist() == [1, 1]


def test_a_state_continues_to_the_bit():
    one, other = FeaturePool([2, 3], 4), FeaturePool([2, 3], 4)
    for number in range(4):
        one.update(rows(2, seed=number).float(), torch.tensor([0, 1]))
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    for pool in (one, other):
        pool.update(rows(2, seed=9).float(), torch.tensor([0, 1]))
    assert torch.equal(one.queue(), other.queue())
    assert torch.equal(one.moments, other.moments)


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 2, 5), (2, 4)])
def test_a_queue_of_another_form_is_refused(shape):
    with pytest.raises(InputError, match="feature pool"):
        FeaturePool([2, 2], 4).load_queue(torch.zeros(shape))


def test_a_state_of_other_capacities_is_refused():
    with pytest.raises(InputError, match="capacities"):
        FeaturePool([2, 2], 4).load_state_dict(FeaturePool([2, 3], 4).state_dict())


def test_capacities_follow_the_class_or_the_largest():
    assert capacities_of([5, 2], "per_class") == [5, 2]
    assert capacities_of([5, 2], "max") == [5, 5]


@pytest.mark.parametrize("kind", ["VOS", "NPOS"])
def test_synthetic_outliers_are_ten_for_each_class_and_normal_before_the_pool_is_full(kind):
    pool, made = FeaturePool([6, 6], 4), Outliers(kind)
    before = made(pool, torch.Generator().manual_seed(0))
    assert before.shape == (20, 4)
    assert torch.equal(before, torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    for number in range(6):
        pool.update(rows(2, seed=number).float() + 50, torch.tensor([0, 1]))
    after = made(pool, torch.Generator().manual_seed(0))
    assert after.shape == (20, 4)
    assert (after.mean(0) - 50).abs().max() < 15  # around the class means
    assert not torch.equal(after, made(pool, torch.Generator().manual_seed(1)))


def test_synthetic_outliers_lie_farther_from_the_classes_than_their_own_vectors():
    pool = FeaturePool([30, 30], 4)
    for number in range(30):
        pool.update(rows(2, seed=number).float() + torch.tensor([[0.0], [40]]), torch.tensor([0, 1]))
    own = torch.cat(pool.per_class())
    for kind in ("VOS", "NPOS"):
        made = Outliers(kind)(pool, torch.Generator().manual_seed(0))
        assert pool.distances(made).median() > 2 * pool.distances(own).median()


def test_an_unknown_kind_of_outliers_is_refused():
    with pytest.raises(InputError, match="VOX"):
        Outliers("VOX")
