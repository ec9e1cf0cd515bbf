"""For inputs nobody thought of."""

import math
import warnings

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mood_dpa.data.anomalies import add_anomaly_3d
from mood_dpa.data.folds import cases_of, make_folds
from mood_dpa.data.preprocessing import resize_slices
from mood_dpa.data.slices import cut_slices
from mood_dpa.growing import plan_stages
from mood_dpa.ranking import rank_metrics
from mood_dpa.scores import combine
from sklearn.metrics import average_precision_score

SEEDS = st.integers(0, 2**32 - 1)


@given(st.integers(2, 40), st.integers(2, 10), SEEDS)
def test_folds_are_disjoint_complete_and_even(count: int, n_folds: int, seed: int) -> None:
    n_folds = min(n_folds, count)
    names = [f"{n:05d}.nii.gz" for n in range(count)]
    rows = make_folds(names, n_folds, np.random.RandomState(seed))
    assert sorted(name for name, _ in rows) == names
    sizes = np.bincount([fold for _, fold in rows])
    assert sizes.max() - sizes.min() <= 1
    for fold in range(n_folds):
        train, val = (cases_of(rows, split, fold) for split in ("train", "val"))
        assert not train & val
        assert train | val == cases_of(rows, "all", fold)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_metrics_depend_on_the_order_of_scores_only(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(values) for values in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = rank_metrics(labels, scores.astype(np.float32))
        two = rank_metrics(labels, np.exp(scores / 2).astype(np.float32))
        turned = rank_metrics(labels, -scores.astype(np.float32))
        assert math.isclose(one.ap, average_precision_score(labels, scores), abs_tol=1e-12)
    assert one == two or math.isnan(one.auroc)
    if not math.isnan(one.auroc):
        assert math.isclose(turned.auroc, 1 - one.auroc, abs_tol=1e-12)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), SEEDS)
@settings(max_examples=40)
def test_resizing_stays_within_the_values_and_keeps_a_constant(h: int, w: int, size: int, seed: int) -> None:
    x = torch.rand(2, h, w, generator=torch.Generator().manual_seed(seed))
    found = resize_slices(x, size)
    assert found.shape == (2, size, size)
    assert float(found.min()) >= float(x.min()) - 1e-6
    assert float(found.max()) <= float(x.max()) + 1e-6
    assert torch.allclose(resize_slices(torch.full_like(x, 0.3), size), torch.tensor(0.3))


@given(st.integers(0, 2), SEEDS)
@settings(max_examples=25)
def test_slices_put_together_are_the_volume(axis: int, seed: int) -> None:
    volume = np.random.default_rng(seed).random((5, 6, 7)).astype(np.float16)
    index, slices = cut_slices(volume, axis, None, None)
    assert np.array_equal(np.moveaxis(slices, 0, axis), volume)
    assert index.tolist() == list(range(volume.shape[axis]))


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_anomalies_of_a_seed_are_repeatable_and_in_range(seed: int) -> None:
    volume = np.random.default_rng(0).random((24, 20, 28)).astype(np.float32)
    one, two = (add_anomaly_3d(volume, np.random.RandomState(seed)) for _ in range(2))
    assert np.array_equal(one.image, two.image)
    assert 1 <= len(one.calls) <= 3
    assert 0 <= one.image.min() <= one.image.max() <= 1
    assert np.array_equal(one.image[one.mask == 0], volume[one.mask == 0])


@given(st.integers(2, 5), st.integers(2, 7), st.integers(0, 3), st.integers(1, 5))
def test_stages_rise_and_end_at_the_highest_resolution(first: int, last: int, trns: int, stab: int) -> None:
    first, last = sorted((first, last))
    found = plan_stages(2**first, 2**last, trns, stab)
    assert (found[0].resolution, found[-1].resolution, found[-1].kind) == (2**first, 2**last, "stab")
    assert [s.resolution for s in found] == sorted(s.resolution for s in found)
    assert all(s.length > 0 for s in found)


@given(st.integers(1, 4), SEEDS)
@settings(max_examples=25)
def test_the_combined_map_lies_between_the_maps_that_are_positive(count: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    maps = [torch.rand(3, 4, 5, generator=draws) * (torch.rand(3, 4, 5, generator=draws) > 0.4) for _ in range(count)]
    found, stack = combine(maps, divisor=1), torch.stack(maps)
    low = torch.where(stack > 0, stack, torch.inf).amin(0)
    assert (found <= stack.amax(0) + 1e-6).all()
    assert (found[found > 0] >= low[found > 0] - 1e-6).all()
    assert ((found > 0) == (stack > 0).any(0)).all()
