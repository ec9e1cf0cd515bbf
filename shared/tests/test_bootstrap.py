"""Intervals of the metrics."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ood_shared import bootstrap as bootstrap_module
from ood_shared import metrics
from ood_shared.errors import InputError
from ood_shared.ranking import rank

from .metric_cases import ID, OOD, random_case


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
    assert not outside


def test_values_with_intervals_are_those_of_evaluate_and_bootstrap():
    found = metrics.evaluate_with_intervals(ID, OOD, np.random.default_rng(1), resamples=100)
    values, intervals = metrics.evaluate(ID, OOD), metrics.bootstrap(ID, OOD, np.random.default_rng(1), resamples=100)
    for name, (low, high) in intervals.items():
        value = values[name]
        assert found[name] == {"value": value, "low": min(low, value), "high": max(high, value)}


def test_an_interval_holds_its_value_where_every_resample_lies_on_one_side():
    samples = np.array([0.2, 0.3, 0.4])
    assert bootstrap_module.around(0.5, samples, 0.95)[1] == 0.5
    assert bootstrap_module.around(0.1, samples, 0.95)[0] == 0.1
    assert bootstrap_module.around(0.3, samples, 0.95) == bootstrap_module.percentile_interval(samples, 0.95)


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


@pytest.mark.parametrize("trainings", [2, 3, 5])
@pytest.mark.parametrize(("of_trainings", "of_images"), [(0.02, 0.001), (0.01, 0.01)])
def test_the_interval_over_trainings_covers_another_training_s_mean_as_often_as_it_says(
    trainings, of_trainings, of_images
):
    """Simulated: what trainings vary, and one deviation of the images that all of them share."""
    random, rounds = np.random.default_rng(3), 400
    covered = 0
    for _ in range(rounds):
        values = 0.8 + of_images * random.normal() + of_trainings * random.normal(size=trainings)
        samples = values[:, None] + of_images * random.normal(size=500)
        drawn = bootstrap_module.over_trainings(values, samples, random)
        low, high = bootstrap_module.percentile_interval(drawn, 0.95)
        covered += low <= 0.8 <= high
    assert 0.92 <= covered / rounds <= 0.985  # four standard errors below 0.95; shared images make it somewhat wide


def test_one_training_leaves_the_resamples_of_the_images():
    samples = np.random.default_rng(0).random((1, 20))
    drawn = bootstrap_module.over_trainings(np.array([0.5]), samples, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, samples[0])
