"""The sorted sweep against the literal one, and what the legacy metrics share with the correct ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from know_your_space.legacy_metrics import NAMES, legacy_metrics, sweep
from ood_shared.errors import InputError
from ood_shared.metrics import evaluate

COARSE = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=15)  # many ties


def literal_sweep(known: list[float], novel: list[float]) -> tuple[list[int], list[int]]:
    """Remove the smallest remaining confidence at each event, a known one unless the novel one is strictly smaller."""
    a, b = sorted(known), sorted(novel)
    tp, fp = [len(a)], [len(b)]
    while a or b:
        if not a or (b and b[0] < a[0]):
            b.pop(0)
        else:
            a.pop(0)
        tp.append(len(a))
        fp.append(len(b))
    return tp, fp


@given(COARSE, COARSE)
def test_the_sweep_is_the_literal_one(known: list[float], novel: list[float]) -> None:
    tp, fp = sweep(np.array(known), np.array(novel))
    assert (tp.tolist(), fp.tolist()) == literal_sweep(known, novel)


@given(COARSE, COARSE)
def test_auroc_is_the_share_of_pairs_in_strict_order(known: list[float], novel: list[float]) -> None:
    pairs = np.less.outer(np.array(novel), np.array(known)).mean()
    assert abs(legacy_metrics(np.array(known), np.array(novel))["AUROC"] - pairs) < 1e-12


@given(st.sets(st.floats(-9, 9), min_size=2, max_size=30), st.randoms())
def test_auroc_without_ties_is_the_correct_one(scores: set[float], random) -> None:
    mixed = sorted(scores)
    random.shuffle(mixed)
    known, novel = np.array(mixed[::2]), np.array(mixed[1::2])
    assert abs(legacy_metrics(known, novel)["AUROC"] - evaluate(-known, -novel)["auroc"]) < 1e-12


@given(COARSE, COARSE)
def test_every_metric_is_a_fraction(known: list[float], novel: list[float]) -> None:
    found = legacy_metrics(np.array(known), np.array(novel))
    assert tuple(found) == NAMES
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in found.values())


@given(COARSE, COARSE, st.floats(0.1, 8), st.floats(-8, 8))
def test_monotone_maps_change_nothing(known: list[float], novel: list[float], slope: float, shift: float) -> None:
    a, b = np.array(known), np.array(novel)
    assert legacy_metrics(a, b) == legacy_metrics(slope * a + shift, slope * b + shift)


def test_equal_scores_count_against_the_detector() -> None:
    found = legacy_metrics(np.ones(4), np.ones(5))
    assert (found["AUROC"], found["FPR"]) == (0, 1)


def test_nan_is_refused_with_its_position() -> None:
    with pytest.raises(InputError, match="novel has 1 NaN of 3 scores, the first at position 1"):
        legacy_metrics(np.ones(2), np.array([0, np.nan, 1]))
