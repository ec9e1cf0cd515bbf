"""Every training loss with its gradients, and the contrastive loss alone."""

import math

import numpy as np
import pytest
import torch
from imood import contrastive
from imood.losses import Objective, balanced_logit, balanced_rows, outlier_exposure, split_outputs, training_losses

from .conftest import GOLDEN, files, heads_of, pool_of, words

CASES = files("loss_*")
PASCL = sorted(str(case) for case in GOLDEN.npz("pascl")["cases"])
TAILS = words("pascl", r"tail_start_C(\d+)_k([\d.]+)")


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
    for key, value in values.items():
        np.testing.assert_allclose(value.detach(), case[key], **tolerance(name), err_msg=key)
    for key, tensor in leaf.items():
        gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        np.testing.assert_allclose(gradient, case[f"grad_{key}"], **tolerance(name), err_msg=key)
    for key, parameter in heads.named_parameters():
        expected = case.get("grad_" + key.replace(".", "_"))
        if expected is None:
            assert parameter.grad is None or not parameter.grad.any(), key
        else:
            np.testing.assert_allclose(parameter.grad, expected, **tolerance(name), err_msg=key)


@pytest.mark.parametrize("name", [name for name in CASES if "delta" in GOLDEN.npz(name)])
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
    for key, value in found.items():
        np.testing.assert_allclose(value.detach(), case[key], **tolerance(name), err_msg=key)


@pytest.mark.parametrize("case", PASCL)
def test_the_contrastive_loss_and_its_gradients_are_the_published_ones(golden, case):
    arrays = golden.npz("pascl")
    views, ood = (torch.from_numpy(arrays[f"{case}_{name}"]).requires_grad_() for name in ("views", "ood"))
    loss = contrastive.pascl_loss(views, ood, torch.from_numpy(arrays[f"{case}_labels"]), float(arrays[f"{case}_T"]))
    loss.backward()
    np.testing.assert_allclose(loss.detach(), arrays[f"{case}_loss"], rtol=2e-4)
    np.testing.assert_allclose(views.grad, arrays[f"{case}_grad_views"], rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(ood.grad, arrays[f"{case}_grad_ood"], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(("n_classes", "k"), TAILS)
def test_tail_classes_and_the_published_weights_agree(golden, n_classes, k):
    arrays = golden.npz("pascl")
    assert contrastive.tail_start(int(n_classes), float(k)) == int(arrays[f"tail_start_C{n_classes}_k{k}"])
    expected = arrays[f"weights_C{n_classes}_k{k}"]
    found = contrastive.class_weights(int(n_classes), float(k)).numpy()
    decided = expected != 0  # a 0 stands where the line hits the threshold, and rounding decides
    np.testing.assert_array_equal(found[decided], expected[decided])


def test_every_loss_case_is_finite(golden):
    assert all(math.isfinite(float(golden.npz(name)["total"])) for name in CASES)
