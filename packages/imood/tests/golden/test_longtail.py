"""Class sizes, selection, priors, and the groups of classes by size."""

from functools import partial

import numpy as np
import pytest
import torch
from imood import legacy_metrics, longtail
from ood_shared.testing.golden import check_each, listed, stems

from .conftest import GOLDEN, words

SIZES = words("longtail", r"counts_c(\d+)_(\w+)_([\d.]+)")
SELECTED = stems(GOLDEN.npz("longtail"), "sel_c*_ratio", "sel_c*_labels_in")
PRIORS = sorted(set(words("priors", r"(?:adj|prior)_(c\d+)_tau([\d.]+)_(\w+)")))
SHOTS = listed(GOLDEN.npz("shots"), "cases")


@pytest.mark.parametrize(("n_classes", "kind", "ratio"), SIZES)
def test_class_sizes_are_the_published_ones(golden, n_classes, kind, ratio):
    expected = golden.npz("longtail")[f"counts_c{n_classes}_{kind}_{ratio}"]
    assert longtail.class_sizes(50000, int(n_classes), float(ratio), kind) == expected.tolist()


@pytest.mark.parametrize("n_classes", SELECTED)
def test_selection_takes_the_first_images_of_each_class(golden, n_classes):
    arrays, case = golden.npz("longtail"), f"sel_c{n_classes}"
    labels = arrays[f"{case}_labels_in"]
    sizes = longtail.class_sizes(len(labels), int(n_classes), float(arrays[f"{case}_ratio"]))
    chosen = longtail.select(labels, sizes)
    found = {f"{case}_counts": sizes, f"{case}_indices": chosen, f"{case}_labels_out": labels[chosen]}
    check_each(arrays, found, np.testing.assert_array_equal)


@pytest.mark.parametrize(("counts", "tau", "metric"), PRIORS)
def test_adjustments_and_prior_are_the_published_ones(golden, counts, tau, metric):
    arrays = golden.npz("priors")
    found = longtail.adjustments(arrays[f"counts_{counts}"].tolist(), float(tau), metric == "bkg_c")
    assert found.dtype == torch.float32
    prior, case = longtail.log_prior(found.double()).exp(), f"{counts}_tau{tau}_{metric}"
    check_each(arrays, {f"adj_{case}": found, f"prior_{case}": prior}, partial(np.testing.assert_allclose, rtol=1e-5))


close = partial(np.testing.assert_allclose, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", SHOTS)
def test_accuracies_and_thresholds_of_the_groups_are_the_published_ones(golden, case):
    arrays = golden.npz("shots")
    counts, labels, predictions = (arrays[f"{case}_{name}"] for name in ("counts", "labels", "preds"))
    found = {
        "thresholds": legacy_metrics.thresholds(counts.tolist()),
        "class_acc": legacy_metrics.class_accuracies(labels, predictions, len(counts)),
        "acc": legacy_metrics.group_accuracies(labels, predictions, counts.tolist()),
    }
    check_each(arrays, {f"{case}_{key}": value for key, value in found.items()}, close)


@pytest.mark.parametrize("case", SHOTS)
def test_mean_counts_of_the_groups_are_the_published_ones(golden, case):
    arrays = golden.npz("shots")
    found = legacy_metrics.group_counts(arrays[f"{case}_shot_count_input"], arrays[f"{case}_counts"].tolist())
    close(found, arrays[f"{case}_shot_count"])
