"""The order of the methods and how sure it is."""

import csv
import io

import numpy as np
import pytest
from ood_bench import leaderboard as board
from ood_shared.results.record import measure, pack_scores


def result(method, shift, seed=0, sets=("novel", "far"), n=200, noise=0, labels_seed=0):
    """A run whose scores are those of shared images, plus some noise of its own."""
    common = np.random.default_rng(seed)
    id_scores = common.normal(size=n)
    oods = {name: common.normal(shift, 1, n // 2) for name in sets}
    own = np.random.default_rng(100 + noise)
    labels = np.random.default_rng(labels_seed).integers(0, 3, n)
    scores = pack_scores(
        "digits",
        (id_scores + 0.1 * own.normal(size=n), labels, labels),
        {name: (values + 0.1 * own.normal(size=len(values)), None) for name, values in oods.items()},
    )
    metrics, _ = measure(scores, np.random.default_rng(0), resamples=10)
    return {"method": method, "seed": seed, "ood_datasets": list(sets), "metrics": metrics}, scores


def entries(*results, near=("novel",), resamples=300):
    return board.leaderboard(results, near, np.random.default_rng(1), resamples)


def test_the_highest_mean_auroc_is_first():
    found = entries(result("weak", 0.5), result("strong", 2.0), result("middle", 1.0))
    assert [entry.method for entry in found] == ["strong", "middle", "weak"]


def test_means_are_over_sets_and_seeds():
    runs = [result("a", 1.0, seed) for seed in (0, 1)]
    (entry,) = entries(*runs)
    values = [record["metrics"][ood]["auroc"]["value"] for record, _ in runs for ood in ("novel", "far")]
    assert entry.means["all"]["auroc"].value == pytest.approx(np.mean(values))
    near = [record["metrics"]["novel"]["auroc"]["value"] for record, _ in runs]
    assert entry.means["near"]["auroc"].value == pytest.approx(np.mean(near))
    assert entry.seeds == 2


def test_every_set_has_its_own_interval_and_their_mean_is_that_of_all():
    runs = [result("a", 1.0, seed) for seed in (0, 1)]
    (entry,) = entries(*runs)
    assert list(entry.sets) == ["novel", "far"]
    assert entry.sets["novel"] == entry.means["near"]
    for name in board.METRICS:
        each = [entry.sets[ood][name] for ood in entry.sets]
        assert entry.means["all"][name].value == pytest.approx(np.mean([share.value for share in each]))
        assert all(share.low < share.value < share.high for share in each)


def test_without_near_sets_there_is_one_group():
    (entry,) = entries(result("a", 1.0, sets=("x", "y")))
    assert list(entry.means) == ["all"]


def test_intervals_hold_the_value_and_shrink_with_more_images():
    few, many = (entries(result("a", 1.0, n=n))[0].means["all"]["auroc"] for n in (100, 2000))
    for share in (few, many):
        assert share.low < share.value < share.high
    assert many.high - many.low < (few.high - few.low) / 2


def two_seeds(method, shift, **options):
    return [result(method, shift, seed, **options) for seed in (0, 1)]


def test_a_difference_on_the_same_images_is_known_better_than_the_means():
    first, second = entries(*two_seeds("a", 1.0, noise=1), *two_seeds("b", 1.0, noise=2))
    width = second.behind.high - second.behind.low
    mean = second.means["all"]["auroc"]
    assert width < (mean.high - mean.low) / 3
    assert second.p > 0.05
    assert first.behind is None
    assert second.beaten_by == {}


def test_a_clear_difference_has_a_small_p_and_an_interval_above_0():
    runs = [run for seed in range(4) for run in (result("strong", 3.0, seed), result("weak", 0.5, seed))]
    second = entries(*runs)[1]
    assert second.behind.low > 0
    assert second.p < 0.02
    assert second.beaten_by == {"strong": second.behind}


def test_every_method_that_is_clearly_ahead_is_told_and_not_the_first_only():
    found = entries(*(result(name, shift) for name, shift in (("c", 0.2), ("b", 1.5), ("a", 3.0))))
    assert [list(entry.beaten_by) for entry in found] == [[], ["a"], ["a", "b"]]


def test_equal_scores_are_no_difference_at_all():
    second = entries(*two_seeds("a", 1.0), *two_seeds("b", 1.0))[1]
    assert (second.behind.value, second.p, second.beaten_by) == (0.0, 1.0, {})


def test_one_training_has_no_p_and_says_what_its_intervals_are_over():
    second = entries(result("strong", 2.0), result("weak", 0.5))[1]
    assert second.p is None
    assert board.as_json([second])[0]["interval"] == "95 % over test images only; one training"
    assert "one training" in board.as_csv([second])
    twice = entries(*two_seeds("strong", 2.0), *two_seeds("weak", 0.5))[1]
    assert twice.interval == "95 % over test images and trainings"


@pytest.mark.parametrize("other", [{"labels_seed": 9}, {"n": 198}, {"sets": ("novel", "else")}])
def test_methods_that_saw_other_images_get_no_difference(other):
    assert entries(result("a", 2.0), result("b", 1.0, **other))[1].behind is None


def test_seeds_count_among_what_is_uncertain():
    spread = [result("a", 1.0, seed=0), result("a", 3.0, seed=1)]
    alike = [result("a", 2.0, seed=0), result("a", 2.0, seed=1)]
    wide, narrow = (entries(*runs)[0].means["all"]["auroc"] for runs in (spread, alike))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_more_seeds_on_the_same_images_do_not_make_the_images_more():
    """Trainings that agree leave what the images vary, however many they are."""
    record, scores = result("a", 1.0)
    once = entries((record, scores))[0].means["all"]["auroc"]
    often = entries(*((record | {"seed": seed}, scores) for seed in range(5)))[0].means["all"]["auroc"]
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_three_trainings_that_differ_leave_more_open_than_their_range():
    runs = [result("a", shift, seed) for seed, shift in enumerate((1.0, 1.5, 2.0))]
    values = [np.mean([entry["auroc"]["value"] for entry in record["metrics"].values()]) for record, _ in runs]
    share = entries(*runs)[0].means["all"]["auroc"]
    assert share.low < min(values)
    assert max(values) < share.high <= 1


def test_json_and_csv_hold_the_same():
    found = entries(result("strong", 2.0), result("weak", 0.5))
    rows = list(csv.DictReader(io.StringIO(board.as_csv(found))))
    plain = board.as_json(found)
    assert [row["method"] for row in rows] == [entry["method"] for entry in plain] == ["strong", "weak"]
    assert float(rows[1]["near_fpr95"]) == pytest.approx(plain[1]["means"]["near"]["fpr95"]["value"], abs=1e-6)
    assert rows[0]["behind_first"] == ""
    far = plain[0]["sets"]["far"]["aupr_in"]
    assert [float(rows[0][f"far:aupr_in{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [far["value"], far["low"], far["high"]], abs=1e-6
    )
    assert float(rows[1]["behind_first"]) == pytest.approx(plain[1]["auroc_behind_first"]["value"], abs=1e-6)


def test_nothing_makes_an_empty_board():
    assert entries() == []
