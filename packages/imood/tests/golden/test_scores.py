"""Test scores of every metric, the pool of features, and the published metrics."""

import numpy as np
import pytest
import torch
from imood import legacy_metrics, longtail
from imood.metrics import n_outputs_of
from imood.pool import FeaturePool
from imood.scores import Outputs
from ood_shared import metrics

from .conftest import GOLDEN, files, pool_of, words

SETS = files("scores_c*")
CASES = [(name, *case) for name in SETS for case in words(name, r"(?:fixed_)?score__(\w+)__tau([\d.]+)")]
METRICS = [str(case) for case in GOLDEN.npz("metrics")["cases"]]


def outputs(arrays, metric):
    """What the classifier of a metric gives: the first rows of the weight matrix."""
    features, weight, bias = (torch.from_numpy(arrays[key]) for key in ("features", "weight", "bias"))
    n = n_outputs_of(metric, len(arrays["class_counts"]))
    logits = (features.double() @ weight[:n].double().T + bias[:n]).float()
    pool = pool_of(arrays["pool_queue"], arrays["pool_ptr"], torch.float32)
    return Outputs(logits, features, pool.distances(features).squeeze(1))


@pytest.mark.parametrize(("name", "metric", "tau"), sorted(set(CASES)))
def test_scores_and_predictions_are_the_published_ones(golden, name, metric, tau):
    arrays = golden.npz(name)
    log_prior = longtail.log_prior(longtail.adjustments(arrays["class_counts"].tolist(), float(tau)))
    found = outputs(arrays, metric)
    near = {"rtol": 5e-3} if "maha" in metric else {"rtol": 1e-4, "atol": 1e-6}
    expected = arrays[f"score__{metric}__tau{tau}"]
    np.testing.assert_allclose(found.scores(metric, log_prior, "legacy"), expected, **near)
    np.testing.assert_array_equal(found.predictions(metric), arrays[f"pred__{metric}__tau{tau}"])
    if f"fixed_score__{metric}__tau{tau}" in arrays:
        fixed = arrays[f"fixed_score__{metric}__tau{tau}"]
        np.testing.assert_allclose(found.scores(metric, log_prior), fixed, **near)


@pytest.mark.parametrize(
    ("name", "tau"), [(name, tau) for name in SETS for (tau,) in words(name, r"log_beta__tau(.+)")]
)
def test_the_bias_and_the_distances_are_the_published_ones(golden, name, tau):
    arrays = golden.npz(name)
    log_prior = longtail.log_prior(longtail.adjustments(arrays["class_counts"].tolist(), float(tau)))
    found = outputs(arrays, "energy")
    np.testing.assert_allclose(found.log_beta("energy", log_prior), arrays[f"log_beta__tau{tau}"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.distances, arrays["min_sq_distance"], rtol=5e-3)


def test_gradient_norms_are_the_published_ones(golden):
    arrays = golden.npz("gradnorm")
    features, weight, bias = (torch.from_numpy(arrays[key]) for key in ("features", "weight", "bias"))
    found = Outputs(features @ weight.T + bias, features).gradient_norm()
    np.testing.assert_allclose(found, arrays["gradnorm"], rtol=1e-4)


def test_the_pool_takes_first_rows_and_drops_the_oldest(golden):
    arrays = golden.npz("maha_pool")
    pool = FeaturePool([int(arrays["capacity"])] * int(arrays["class_num"]), int(arrays["dim"]))
    for step in range(int(arrays["steps"])):
        pool.update(*(torch.from_numpy(arrays[f"step{step}_{key}"]) for key in ("features", "labels")))
        np.testing.assert_array_equal(pool.counters, arrays[f"step{step}_ptr"])
        assert pool.ready == bool(arrays[f"step{step}_ready"])
    np.testing.assert_allclose(pool.queue(), arrays["queue"], atol=1e-6)
    distances = pool.distances(torch.from_numpy(arrays["query"])).squeeze(1)
    np.testing.assert_allclose(distances, arrays["min_sq_distance"], rtol=1e-3)
    np.testing.assert_allclose(torch.linalg.inv(pool.covariance()), arrays["cov_inv"], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("case", METRICS)
def test_metrics_are_the_published_ones(golden, case):
    arrays = golden.npz("metrics")
    ood, inside = arrays[f"{case}_ood"], arrays[f"{case}_id"]
    found = metrics.evaluate(inside, ood)
    assert found["auroc"] == pytest.approx(float(arrays[f"{case}_auroc"]), abs=1e-9)
    assert found["aupr_out"] == pytest.approx(float(arrays[f"{case}_aupr"]), abs=1e-9)
    others = [n for (n,) in words("metrics", rf"{case}_threshold(\d+)")]
    levels = [(0.95, "fpr95", "threshold")] + [(int(n) / 100, f"fpr{n}", f"threshold{n}") for n in others]
    for recall, fpr, threshold in levels:
        value, at = legacy_metrics.fpr_at_nearest_recall(inside, ood, recall)
        assert value == pytest.approx(float(arrays[f"{case}_{fpr}"]), abs=1e-9)
        assert at == float(arrays[f"{case}_{threshold}"])
