"""Claims that hold for inputs nobody thought of."""

import math
from itertools import pairwise

import pytest
import torch
from ascood import config
from ascood.heads import standardise
from ascood.losses import cutmix_box, uncertainty_loss
from ascood.objectives import alpha_at, cosine_factor
from ascood.outliers import gradient_outliers, selection_size, shuffle_outliers
from ascood.overrides import read_main
from ascood.search import combinations
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.errors import InputError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
SHARES = st.floats(0, 1)


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(SHAPES, SHARES, st.integers(0, 99))
@settings(deadline=None)
def test_gradient_outliers_change_at_most_the_selected_values(shape, p_inv, seed):
    x, grad = drawn(shape, seed), drawn(shape, seed + 100)
    changed = (gradient_outliers(x, grad, p_inv, 10.0) != x).flatten(1).sum(1)
    assert (changed <= selection_size(shape[1:], p_inv, "gradient")).all()


@given(SHAPES, SHARES, st.integers(0, 99))
@settings(deadline=None)
def test_shuffling_permutes_the_pixels_of_each_image(shape, p_inv, seed):
    x, grad = drawn(shape, seed), drawn(shape, seed + 100)
    count = selection_size(shape[1:], p_inv, "shuffle")
    found = shuffle_outliers(x, grad, p_inv, torch.rand(shape[0], count))
    for before, after in zip(x.flatten(2), found.flatten(2), strict=True):
        assert sorted(map(tuple, before.T.tolist())) == sorted(map(tuple, after.T.tolist()))
        assert (before != after).any(0).sum() <= count


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 99), st.floats(-5, 5))
@settings(deadline=None)
def test_the_uncertainty_loss_is_zero_for_uniform_predictions_and_never_below(batch, classes, seed, shift):
    logits = drawn((batch, classes), seed)
    assert float(uncertainty_loss(logits)) >= -1e-6
    assert math.isclose(float(uncertainty_loss(logits)), float(uncertainty_loss(logits + shift)), abs_tol=1e-5)
    assert abs(float(uncertainty_loss(torch.full((batch, classes), shift)))) < 1e-6


@given(st.integers(1, 4), st.integers(3, 20), st.integers(0, 99), st.floats(0.5, 10), st.floats(-3, 3))
@settings(deadline=None)
def test_standardising_forgets_scale_and_shift(batch, dim, seed, scale, shift):
    features = drawn((batch, dim), seed)
    assert torch.allclose(standardise(features), standardise(scale * features + shift), atol=1e-3)


@given(st.integers(1, 200), st.floats(0, 100), st.floats(0, 400))
def test_alpha_falls_in_a_line_to_its_least_value(epochs, low, span):
    found = [alpha_at(epoch, epochs, low, low + span) for epoch in range(1, epochs + 1)]
    assert math.isclose(found[-1], low, abs_tol=1e-9)
    assert all(a >= b - 1e-9 for a, b in pairwise(found))


@given(st.integers(1, 50), st.floats(1e-4, 1))
def test_the_rate_falls_from_all_of_it_to_its_floor(steps, lr):
    found = [cosine_factor(step, steps, lr) for step in range(steps + 1)]
    assert found[0] == 1
    assert math.isclose(found[-1], 1e-6 / lr, rel_tol=1e-6)
    assert found == sorted(found, reverse=True)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.data())
def test_a_cutmix_box_stays_in_the_image(height, width, share, data):
    centre = (data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1)))
    top, bottom, left, right = cutmix_box(height, width, share, centre)
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_search_tries_every_combination_once(sweep):
    found = list(combinations(sweep))
    assert len(found) == math.prod(map(len, sweep))
    assert [values[0] for values in found[: len(sweep[0])]] == sweep[0]


KEYS = st.text("abcdef", min_size=1, max_size=4)
LEAVES = st.one_of(st.integers(-1000, 1000), st.floats(-10, 10), st.booleans(), st.text("xyz", min_size=1, max_size=5))


@given(st.dictionaries(KEYS, LEAVES, min_size=1, max_size=4))
def test_an_override_with_the_present_value_changes_nothing(tree):
    config_tree = {"top": dict(tree)}
    words = [
        word
        for key, value in tree.items()
        for word in (f"--top.{key}", repr(value) if not isinstance(value, str) else value)
    ]
    config.apply_overrides(config_tree, words)
    assert config_tree == {"top": tree}
    assert all(type(config_tree["top"][key]) is type(value) for key, value in tree.items())


@given(st.dictionaries(KEYS, LEAVES, max_size=4), st.dictionaries(KEYS, LEAVES, max_size=4))
def test_merging_keeps_siblings_and_the_later_value(first, second):
    merged = {"a": dict(first)}
    config.merge(merged, {"a": dict(second)})
    assert merged["a"] == ({**first, **second} if second else {})


@given(st.lists(st.sampled_from(["--a.b", "1", "-4", "--seed", "x=y", "--c=d"]), max_size=8))
def test_no_word_of_the_command_line_is_lost(words):
    flags, overrides = read_main(["--resume", *words, "--device", "cpu"])
    assert sorted([*flags, *overrides]) == sorted(["--resume", *words, "--device", "cpu"])
    assert flags == ["--resume", "--device", "cpu"]


@given(st.text(max_size=8))
def test_a_word_that_is_no_override_is_refused(word):
    if not word.startswith("--") or word in ("--",) or word.startswith("---"):
        with pytest.raises(InputError):
            config.apply_overrides({"a": 1}, [word])
