"""Every training loss with its gradients, and the contrastive loss alone."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from imood import contrastive, longtail
from imood.losses import Objective, balanced_logit, balanced_rows, outlier_exposure, split_outputs, training_losses
from ood_shared.testing.golden import check_each, listed

from .conftest import GOLDEN, files, heads_of, pool_of, words

CASES = files("loss_*")
BALANCED = [name for name in CASES if str(GOLDEN.npz(name).get("metric", "")).startswith("ada_")]
PASCL = listed(GOLDEN.npz("pascl"), "cases")
TAILS = sorted(set(words("pascl", r"(?:tail_start|weights)_C(\d+)_k([\d.]+)")))


def setting(case, dtype):
    leaf = {name: torch.from_numpy(case[name]).to(dtype).requires_grad_() for name in ("logits", "features")}
    pool = pool_of(case["pool_queue"], case["pool_ptr"], dtype) if "pool_queue" in case else None
    objective = Objective(
        str(case["metric"]), int(case["num_classes"]), str(case["aux"]), float(case["k"]), float(case["T"])
    )
    adjustment = torch.from_numpy(case["adjustments"]).to(dtype)
    return leaf, objective, torch.from_numpy(case["labels"]), adjustment, heads_of(case, dtype), pool


def tolerance(name):
    # the inverse of the covariance magnifies rounding; without it float32 sums decide
    return {"rtol": 5e-3, "atol": 1e-5} if "maha_ready" in name else {"rtol": 2e-4, "atol": 1e-5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_the_published_ones(golden, name, dtype):
    case = golden.npz(name)
    leaf, objective, labels, adjustment, heads, pool = setting(case, dtype)
    found = training_losses(objective, leaf["logits"], leaf["features"], labels, adjustment, heads, pool)
    total = found.id_loss + float(case["Lambda"]) * found.ood_loss + float(case["Lambda2"]) * found.aux_loss
    total.backward()
    values = {"in_loss": found.id_loss, "ood_loss": found.ood_loss, "aux_loss": found.aux_loss, "total": total}
    values |= {
        f"grad_{key}": torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for key, tensor in leaf.items()
    }
    for layer, module in heads.named_modules():
        if isinstance(module, torch.nn.Linear):
            gradients = {f"grad_{layer}_{key}".replace(".", "_"): p.grad for key, p in module.named_parameters()}
            if any(key in case for key in gradients):
                values |= gradients
            else:  # a layer without any gradient in the file gets none
                assert all(gradient is None or not gradient.any() for gradient in gradients.values()), layer
    check_each(
        case,
        {key: value.detach() for key, value in values.items()},
        partial(np.testing.assert_allclose, **tolerance(name)),
    )


@pytest.mark.parametrize("name", BALANCED)
def test_the_terms_of_the_balanced_loss_are_the_published_ones(golden, name):
    case = golden.npz(name)
    leaf, objective, labels, adjustment, heads, pool = setting(case, torch.float64)
    z, u = split_outputs(objective.metric, leaf["logits"])
    logit = balanced_logit(objective.metric, u, leaf["features"], heads, pool)
    rows = balanced_rows(logit, z, leaf["features"], labels, adjustment, heads)
    gamma = heads.gamma(leaf["features"]).clamp(min=1e-4)
    term_oe = outlier_exposure(u[2 * len(labels) :]) if objective.metric == "ada_oe" else torch.tensor(0.0)
    found = {
        "g": logit,
        "gamma": gamma,
        "beta": rows.log_beta.exp(),
        "delta": rows.delta,
        "term_reg": rows.regulariser.mean(),
        "term_bce": rows.likelihood.mean(),
        "term_oe": term_oe,
    }
    check_each(
        case,
        {key: value.detach() for key, value in found.items()},
        partial(np.testing.assert_allclose, **tolerance(name)),
    )


@pytest.mark.parametrize("case", PASCL)
def test_the_contrastive_loss_and_its_gradients_are_the_published_ones(golden, case):
    arrays = golden.npz("pascl")
    views, ood = (torch.from_numpy(arrays[f"{case}_{name}"]).requires_grad_() for name in ("views", "ood"))
    loss = contrastive.pascl_loss(views, ood, torch.from_numpy(arrays[f"{case}_labels"]), float(arrays[f"{case}_T"]))
    loss.backward()
    found = {"loss": loss.detach(), "grad_views": views.grad, "grad_ood": ood.grad}
    near = partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5)
    check_each(arrays, {f"{case}_{key}": value for key, value in found.items()}, near)


@pytest.mark.parametrize(("n_classes", "k"), TAILS)
def test_the_first_tail_class_is_the_published_one(golden, n_classes, k):
    expected = golden.npz("pascl")[f"tail_start_C{n_classes}_k{k}"]
    assert contrastive.tail_start(int(n_classes), float(k)) == int(expected)


@pytest.mark.parametrize(("n_classes", "k"), TAILS)
def test_the_weights_of_the_classes_are_the_published_ones(golden, n_classes, k):
    arrays = golden.npz("pascl")
    expected = arrays[f"weights_C{n_classes}_k{k}"]
    found = contrastive.class_weights(int(n_classes), float(k)).numpy()
    decided = expected != 0  # a 0 stands where the line hits the threshold, and rounding decides
    np.testing.assert_array_equal(found[decided], expected[decided])


@pytest.mark.parametrize("name", CASES)
def test_the_adjustments_of_a_loss_follow_from_the_class_sizes(golden, name):
    case = golden.npz(name)
    counts, tau, padded = case["class_counts"].tolist(), float(case["tau"]), str(case["metric"]) == "bkg_c"
    np.testing.assert_allclose(longtail.adjustments(counts, tau, padded), case["adjustments"], rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_every_loss_case_is_finite(golden, name):
    assert math.isfinite(float(golden.npz(name)["total"]))
