"""Class sizes, selection, priors, and the groups of classes by size."""

import numpy as np
import pytest
import torch
from imood import legacy_metrics, longtail

from .conftest import GOLDEN, words

SIZES = words("longtail", r"counts_c(\d+)_(\w+)_([\d.]+)")
SELECTED = words("longtail", r"sel_c(\d+)_ratio")
PRIORS = words("priors", r"adj_(c\d+)_tau([\d.]+)_(\w+)")
SHOTS = [str(case) for case in GOLDEN.npz("shots")["cases"]]


@pytest.mark.parametrize(("n_classes", "kind", "ratio"), SIZES)
def test_class_sizes_are_the_published_ones(golden, n_classes, kind, ratio):
    expected = golden.npz("longtail")[f"counts_c{n_classes}_{kind}_{ratio}"]
    assert longtail.class_sizes(50000, int(n_classes), float(ratio), kind) == expected.tolist()


@pytest.mark.parametrize("n_classes", [case for (case,) in SELECTED])
def test_selection_takes_the_first_images_of_each_class(golden, n_classes):
    case = {key.removeprefix(f"sel_c{n_classes}_"): value for key, value in golden.npz("longtail").items()}
    labels = case["labels_in"]
    sizes = longtail.class_sizes(len(labels), int(n_classes), float(case["ratio"]))
    assert sizes == case["counts"].tolist()
    chosen = longtail.select(labels, sizes)
    np.testing.assert_array_equal(chosen, case["indices"])
    np.testing.assert_array_equal(labels[chosen], case["labels_out"])


@pytest.mark.parametrize(("counts", "tau", "metric"), PRIORS)
def test_adjustments_and_prior_are_the_published_ones(golden, counts, tau, metric):
    arrays = golden.npz("priors")
    found = longtail.adjustments(arrays[f"counts_{counts}"].tolist(), float(tau), metric == "bkg_c")
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, arrays[f"adj_{counts}_tau{tau}_{metric}"], rtol=1e-5)
    prior = longtail.log_prior(found.double()).exp()
    np.testing.assert_allclose(prior, arrays[f"prior_{counts}_tau{tau}_{metric}"], rtol=1e-5)


@pytest.mark.parametrize("case", SHOTS)
def test_accuracies_and_counts_of_the_groups_are_the_published_ones(golden, case):
    arrays = golden.npz("shots")
    counts, labels, predictions = (arrays[f"{case}_{name}"] for name in ("counts", "labels", "preds"))
    assert legacy_metrics.thresholds(counts.tolist()) == tuple(arrays[f"{case}_thresholds"])
    by_class = legacy_metrics.class_accuracies(labels, predictions, len(counts))
    np.testing.assert_allclose(by_class, arrays[f"{case}_class_acc"], atol=1e-9)
    found = legacy_metrics.group_accuracies(labels, predictions, counts.tolist())
    np.testing.assert_allclose(found, arrays[f"{case}_acc"], atol=1e-9)
    occurring = legacy_metrics.group_counts(arrays[f"{case}_shot_count_input"], counts.tolist())
    np.testing.assert_allclose(occurring, arrays[f"{case}_shot_count"], atol=1e-9)
