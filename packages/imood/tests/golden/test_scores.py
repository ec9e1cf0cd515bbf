"""Test scores of every metric, the pool of features, and the published metrics."""

import re
from functools import cache, partial

import numpy as np
import pytest
import torch
from imood import legacy_metrics, longtail
from imood.metrics import n_outputs_of
from imood.pool import FeaturePool
from imood.scores import Outputs
from ood_shared import metrics
from ood_shared.testing.golden import check_each, listed

from .conftest import GOLDEN, files, pool_of, words

SETS = files("scores_c*")
KEYS = r"(?:score|fixed_score|pred)__(\w+)__tau([\d.]+)"
CASES = sorted({(name, *case) for name in SETS for case in words(name, KEYS)})
METRICS = listed(GOLDEN.npz("metrics"), "cases")


def outputs(arrays, metric):
    """What the classifier of a metric gives: the first rows of the weight matrix."""
    features, weight, bias = (torch.from_numpy(arrays[key]) for key in ("features", "weight", "bias"))
    n = n_outputs_of(metric, len(arrays["class_counts"]))
    logits = (features.double() @ weight[:n].double().T + bias[:n]).float()
    pool = pool_of(arrays["pool_queue"], arrays["pool_ptr"], torch.float32)
    return Outputs(logits, features, pool.distances(features).squeeze(1))


@pytest.mark.parametrize(("name", "metric", "tau"), CASES)
def test_scores_are_the_published_ones(golden, name, metric, tau):
    arrays = golden.npz(name)
    log_prior = longtail.log_prior(longtail.adjustments(arrays["class_counts"].tolist(), float(tau)))
    found = outputs(arrays, metric)
    near = {"rtol": 5e-3} if "maha" in metric else {"rtol": 1e-4, "atol": 1e-6}
    values = {f"score__{metric}__tau{tau}": found.scores(metric, log_prior, "legacy")}
    fixed = f"fixed_score__{metric}__tau{tau}"
    if "maha" in metric or fixed in arrays:
        values[fixed] = found.scores(metric, log_prior)
    check_each(arrays, values, partial(np.testing.assert_allclose, **near))


@pytest.mark.parametrize(("name", "metric", "tau"), CASES)
def test_predictions_are_the_published_ones(golden, name, metric, tau):
    arrays = golden.npz(name)
    np.testing.assert_array_equal(outputs(arrays, metric).predictions(metric), arrays[f"pred__{metric}__tau{tau}"])


@pytest.mark.parametrize(
    ("name", "tau"), [(name, tau) for name in SETS for (tau,) in words(name, r"log_beta__tau(.+)")]
)
def test_the_bias_is_the_published_one(golden, name, tau):
    arrays = golden.npz(name)
    log_prior = longtail.log_prior(longtail.adjustments(arrays["class_counts"].tolist(), float(tau)))
    found = outputs(arrays, "energy")
    np.testing.assert_allclose(found.log_beta("energy", log_prior), arrays[f"log_beta__tau{tau}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_the_distances_are_the_published_ones(golden, name):
    arrays = golden.npz(name)
    np.testing.assert_allclose(outputs(arrays, "energy").distances, arrays["min_sq_distance"], rtol=5e-3)


def test_gradient_norms_are_the_published_ones(golden):
    arrays = golden.npz("gradnorm")
    features, weight, bias = (torch.from_numpy(arrays[key]) for key in ("features", "weight", "bias"))
    found = Outputs(features @ weight.T + bias, features).gradient_norm()
    np.testing.assert_allclose(found, arrays["gradnorm"], rtol=1e-4)


@pytest.fixture(scope="module")
def pool_and_counts():
    """The pool after all updates, and its counters and whether it was ready after each."""
    arrays, found = GOLDEN.npz("maha_pool"), {}
    pool = FeaturePool([int(arrays["capacity"])] * int(arrays["class_num"]), int(arrays["dim"]))
    for step in range(int(arrays["steps"])):
        pool.update(*(torch.from_numpy(arrays[f"step{step}_{key}"]) for key in ("features", "labels")))
        found |= {f"step{step}_ptr": pool.counters.clone(), f"step{step}_ready": pool.ready}
    return pool, found


def test_the_pool_takes_the_first_row_of_each_class(golden, pool_and_counts):
    check_each(golden.npz("maha_pool"), pool_and_counts[1], np.testing.assert_array_equal)


def test_the_pool_drops_the_oldest_rows(golden, pool_and_counts):
    np.testing.assert_allclose(pool_and_counts[0].queue(), golden.npz("maha_pool")["queue"], atol=1e-6)


def test_distances_to_the_pool_are_the_published_ones(golden, pool_and_counts):
    arrays = golden.npz("maha_pool")
    distances = pool_and_counts[0].distances(torch.from_numpy(arrays["query"])).squeeze(1)
    np.testing.assert_allclose(distances, arrays["min_sq_distance"], rtol=1e-3)


def test_the_precision_of_the_pool_is_the_published_one(golden, pool_and_counts):
    found = torch.linalg.inv(pool_and_counts[0].covariance())
    np.testing.assert_allclose(found, golden.npz("maha_pool")["cov_inv"], rtol=1e-3, atol=1e-2)


@cache
def metrics_of(case):
    """Areas and rates of a case, and the thresholds, by the names of the vectors."""
    arrays = GOLDEN.npz("metrics")
    ood, inside = arrays[f"{case}_ood"], arrays[f"{case}_id"]
    areas = metrics.evaluate(inside, ood)
    rates, thresholds = {f"{case}_auroc": areas["auroc"], f"{case}_aupr": areas["aupr_out"]}, {}
    pattern = rf"{re.escape(case)}_(?:fpr|threshold)(\d+)"
    for recall in sorted({80, 90, 95} | {int(match[1]) for key in arrays if (match := re.fullmatch(pattern, key))}):
        rates[f"{case}_fpr{recall}"], at = legacy_metrics.fpr_at_nearest_recall(inside, ood, recall / 100)
        thresholds[f"{case}_threshold{'' if recall == 95 else recall}"] = at
    return rates, thresholds


@pytest.mark.parametrize("case", METRICS)
def test_metrics_are_the_published_ones(golden, case):
    check_each(golden.npz("metrics"), metrics_of(case)[0], partial(np.testing.assert_allclose, rtol=0, atol=1e-9))


@pytest.mark.parametrize("case", METRICS)
def test_thresholds_are_the_published_ones(golden, case):
    check_each(golden.npz("metrics"), metrics_of(case)[1], np.testing.assert_array_equal)
