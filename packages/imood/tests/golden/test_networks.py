"""Weights by the rule, keys and shapes, forward passes, and training steps of the networks."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from imood.longtail import adjustments
from imood.losses import Objective, training_losses
from imood.metrics import n_outputs_of
from imood.networks import build
from imood.settings import Settings
from imood.train import make_optimizer
from ood_shared.testing.golden import check_each, listed

from .conftest import GOLDEN, files, filled, images, weight_rule

SHAPES = GOLDEN.json("state_dict_shapes")
NETWORKS = files("net_*")
STEPS = files("steps_*")


def named(word):
    """`ResNet18`, classes and outputs of a case like resnet18_c10_o11."""
    name, classes, outputs = word.removeprefix("net_").split("_")
    return name.replace("resnet", "ResNet"), int(classes[1:]), int(outputs[1:])


@pytest.mark.parametrize("key", listed(GOLDEN.npz("weight_rule_samples"), "keys"))
def test_the_rule_gives_the_sampled_weights(golden, key):
    arrays, name = golden.npz("weight_rule_samples"), key.replace(".", "_")
    values = weight_rule(key, tuple(arrays[f"{name}_shape"])).astype(np.float32).ravel()
    np.testing.assert_array_equal(values[: len(arrays[name])], arrays[name])


@pytest.mark.parametrize("case", SHAPES)
def test_keys_their_order_and_shapes_are_the_published_ones(case):
    with torch.device("meta"):
        network = build(*named(case))
    found = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(found.items()) == [(key, list(shape)) for key, shape in SHAPES[case].items()]


@pytest.mark.parametrize("case", NETWORKS)
def test_images_are_those_of_the_rule(golden, case):
    arrays = golden.npz(case)
    x = images(str(arrays["image_name"]), arrays["images"].shape)
    np.testing.assert_array_equal(x.float(), arrays["images"])


@cache
def passes_of(case):
    """One pass in evaluation mode, then one in training mode, by the names of the vectors."""
    arrays = GOLDEN.npz(case)
    network = filled(str(arrays["network"]), int(arrays["num_classes"]), int(arrays["num_outputs"])).eval()
    x = torch.from_numpy(arrays["images"]).double()
    with torch.no_grad():
        logits, features = network(x)
        found = {"logits": logits, "features": features}
        found |= {"projection": network.project(features), "gamma": network.gamma(features)}
        found["train_logits"], _ = network.train()(x)
    found |= {f"bn1_{key}": getattr(network.bn1, key) for key in ("running_mean", "running_var")}
    return found | {"last_running_mean": network.layer4[-1].bn2.running_mean}


@pytest.mark.parametrize("case", NETWORKS)
def test_forward_passes_are_the_published_ones(golden, case):
    found = {key: value for key, value in passes_of(case).items() if key != "train_logits"}
    check_each(golden.npz(case), found, partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4))


@pytest.mark.parametrize("case", NETWORKS)
def test_logits_in_training_mode_are_the_published_ones(golden, case):
    found, expected = passes_of(case)["train_logits"], golden.npz(case)["train_logits"]
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-3)


def optimizer_of(case, network):
    settings = Settings(
        dataset="", model="", counts=(), opt=str(case["optimizer"]), lr=float(case["lr"]),
        wd=float(case["weight_decay"]), momentum=float(case["momentum"]),
    )  # fmt: skip
    found = make_optimizer(network, settings)
    assert found.defaults.get("nesterov", False) == bool(case["nesterov"])
    return found


@cache
def steps_of(name):
    """Losses of each step, gradients of the first one, and weights and statistics after the last one."""
    case = GOLDEN.npz(name)
    metric, n_classes = str(case["metric"]), int(case["num_classes"])
    network = filled(str(case["network"]), n_classes, n_outputs_of(metric, n_classes)).train()
    losses, gradients = [], {}
    objective = Objective(metric, n_classes, str(case["aux"]), float(case["k"]), float(case["T"]))
    adjustment = adjustments(case["class_counts"].tolist(), float(case["tau"]))
    optimizer = optimizer_of(case, network)
    for step in range(int(case["num_steps"])):
        labels = torch.from_numpy(case[f"labels{step}"])
        logits, features = network(images(str(case["image_names"][step]), (3 * len(labels), 3, 32, 32)))
        parts = training_losses(objective, logits, features, labels, adjustment, network)
        total = parts.id_loss + float(case["Lambda"]) * parts.ood_loss + float(case["Lambda2"]) * parts.aux_loss
        losses.append([total.item(), *(part.item() for part in parts)])
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            for key in ("linear", "conv1"):
                gradient, name = network.get_submodule(key).weight.grad, f"grad_{key}_weight"
                whole = name not in case or len(case[name]) == len(gradient)
                gradients[name] = (gradient if whole else gradient[case[f"{name}_rows"]]).clone()
        optimizer.step()
    after = {"linear_bias": network.linear.bias, "lambda_bias": network.lambda_linear.bias}
    after["bn1_running_mean"] = network.bn1.running_mean
    return losses, gradients, {f"{key}_after": value.detach() for key, value in after.items()}


@pytest.mark.parametrize("name", STEPS)
def test_losses_of_training_steps_are_the_recorded_ones(golden, name):
    expected = golden.npz(name)["losses"]
    for step, found in enumerate(steps_of(name)[0]):
        np.testing.assert_allclose(found, expected[step], rtol=1e-3 if step == 0 else 1e-2, atol=1e-5)


@pytest.mark.parametrize("name", STEPS)
def test_gradients_of_the_first_step_are_the_recorded_ones(golden, name):
    check_each(golden.npz(name), steps_of(name)[1], partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6))


@pytest.mark.parametrize("name", STEPS)
def test_weights_after_the_last_step_are_the_recorded_ones(golden, name):
    check_each(golden.npz(name), steps_of(name)[2], partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-5))
