"""Groups of classes, nearest-recall FPR, error counts, and the result files."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imood import legacy_metrics, run_files, scored
from imood.scored import Scored, predicted_groups
from ood_shared.errors import InputError

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda v: np.array(v, dtype=np.float64))


def literal_fpr(inside, outside, recall):
    """The published rule, point by point."""
    points = []
    for threshold in sorted(set(inside) | set(outside), reverse=True):
        points.append(((outside >= threshold).mean(), (inside >= threshold).mean(), threshold))
        if points[-1][0] == 1:
            break
    best = min(reversed(points), key=lambda point: abs(point[0] - recall))
    return best[1], best[2]


@given(SCORES, SCORES, st.sampled_from([0.95, 0.9, 0.8]))
@settings(deadline=None)
def test_fpr_is_that_of_the_nearest_recall(inside, outside, recall):
    assert legacy_metrics.fpr_at_nearest_recall(inside, outside, recall) == pytest.approx(
        literal_fpr(inside, outside, recall)
    )


def test_fpr_of_an_empty_side_is_refused():
    with pytest.raises(InputError, match="0 ID"):
        legacy_metrics.fpr_at_nearest_recall(np.array([]), np.array([1.0]))


def test_two_classes_have_no_median_group():
    assert [group.tolist() for group in legacy_metrics.groups([363, 3699])] == [
        [False, True],
        [False, False],
        [True, False],
    ]


@given(st.lists(st.integers(1, 500), min_size=3, max_size=150))
def test_every_class_is_in_one_group(counts):
    assert (np.stack(legacy_metrics.groups(counts)).sum(0) == 1).all()


def test_accuracy_at_a_rate_counts_accepted_images_only():
    inside, correct = np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, True, False, False])
    found = legacy_metrics.accuracy_at_rates(inside, correct, np.array([1.5, 2.5]))
    assert found["acc_at_tpr0.8"] == 1.0  # all OOD caught from 1.5 on: 0 and 1 are accepted
    assert found["acc_at_fpr0.1"] == 0.5  # nothing flagged is nearer to 0.1 than one of four
    assert set(found) == {f"acc_at_fpr{n:g}" for n in (1e-4, 1e-3, 1e-2, 1e-1)} | {
        f"acc_at_tpr{n:g}" for n in (0.98, 0.95, 0.9, 0.8)
    }


def sets(counts, seed=0):
    g = np.random.default_rng(seed)
    n = len(counts)
    inside = Scored(g.normal(size=40), g.integers(0, n, 40), np.arange(40) % n)
    outside = Scored(g.normal(1, 1, 30), g.integers(0, n, 30), np.where(np.arange(30) < 5, np.arange(30) % n, -1))
    return inside, {"near": outside, "far": Scored(g.normal(5, 1, 20), g.integers(0, n, 20), np.full(20, -1))}


def test_images_of_an_outlier_set_that_show_an_id_class_count_as_id():
    from ood_shared import metrics

    inside, outside = sets([9, 5, 3])
    found = scored.summarise(inside, outside, [9, 5, 3])
    near = outside["near"]
    mixed = np.concatenate([inside.scores, near.scores[:5]])
    assert found.sets["near"].auroc == metrics.evaluate(mixed, near.scores[5:])["auroc"]


def test_counts_are_cut_for_each_set_and_then_summed():
    summary = scored.Summary(
        0.5,
        (0.5, 0.5, 0.5),
        {name: scored.SetResult(0.5, 0.5, 0.5, 0.5, 0.0, [1.9] * 9, {"acc_at_fpr0.1": 0.5}) for name in ("one", "two")},
    )
    assert run_files.res_csv(summary).splitlines()[3:] == ["2"] * 9


def test_an_empty_group_gives_nan_and_no_crash():
    inside, outside = sets([363, 3699])
    found = scored.summarise(inside, outside, [363, 3699])
    lines = run_files.res_csv(found).splitlines()
    assert lines[4] == lines[7] == lines[10] == "nan"
    assert "nan" in run_files.res_txt(found, "scood")
    assert math.isnan(found.groups[1])


def test_the_shares_of_predicted_groups_are_those_of_each_set():
    counts = [50, 20, 20, 5]  # many, median twice, low
    inside = Scored(np.zeros(4), np.array([0, 0, 1, 3]), np.array([0, 0, 1, 3]))
    near = Scored(np.zeros(3), np.array([0, 0, 3]), np.array([-1, -1, 3]))  # the last one shows an ID class
    background = Scored(np.zeros(2), np.array([4, 2]), np.array([-1, -1]))
    found = predicted_groups("mine", inside, {"near": near, "background": background}, counts)
    assert found == {
        "mine": {"many": 0.5, "median": 0.25, "low": 0.25},
        "near": {"many": 1.0, "median": 0.0, "low": 0.0},
        "background": {"many": 0.0, "median": 0.5, "low": 0.0},
    }


def test_what_is_printed_has_the_published_lines():
    inside, outside = sets([9, 5, 5, 3])
    lines = run_files.table(scored.summarise(inside, outside, [9, 5, 5, 3]), "own").splitlines()
    assert lines[0] == "===near==="
    assert re.fullmatch(r"auroc: \d\.\d{4}, aupr: \d\.\d{4}, fpr95: \d\.\d{4}", lines[1])
    assert lines[4] == "Total:"
    assert lines[5].startswith("OOD: auroc: ")
    assert re.fullmatch(r"ACC: \d\.\d{4} \(\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\)", lines[6])


def test_one_set_has_no_total():
    inside, outside = sets([9, 5, 3])
    found = scored.summarise(inside, {"imagenet10k": outside["far"]}, [9, 5, 3])
    assert "Total" not in run_files.res_txt(found, "single")
    assert "===imagenet10k===" in run_files.res_txt(found, "single")
    assert "Total" in run_files.table(found, "own")
    assert "ACC@FPR0.0001" in run_files.table(found, "single")
