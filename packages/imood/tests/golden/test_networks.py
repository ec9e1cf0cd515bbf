"""Weights by the rule, keys and shapes, forward passes, and training steps of the networks."""

import numpy as np
import pytest
import torch
from imood.longtail import adjustments
from imood.losses import Objective, training_losses
from imood.networks import build
from imood.settings import Settings
from imood.train import make_optimizer

from .conftest import GOLDEN, files, filled, images, weight_rule

SHAPES = GOLDEN.json("state_dict_shapes")
NETWORKS = files("net_*")
STEPS = files("steps_*")


def named(word):
    """`ResNet18`, classes and outputs of a case like resnet18_c10_o11."""
    name, classes, outputs = word.removeprefix("net_").split("_")
    return name.replace("resnet", "ResNet"), int(classes[1:]), int(outputs[1:])


def test_the_rule_gives_the_sampled_weights(golden):
    arrays = golden.npz("weight_rule_samples")
    for key in map(str, arrays["keys"]):
        name = key.replace(".", "_")
        values = weight_rule(key, tuple(arrays[f"{name}_shape"])).astype(np.float32).ravel()
        np.testing.assert_array_equal(values[: len(arrays[name])], arrays[name])


@pytest.mark.parametrize("case", SHAPES)
def test_keys_their_order_and_shapes_are_the_published_ones(case):
    with torch.device("meta"):
        network = build(*named(case))
    found = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(found.items()) == [(key, list(shape)) for key, shape in SHAPES[case].items()]


@pytest.mark.parametrize("case", NETWORKS)
def test_forward_passes_are_the_published_ones(golden, case):
    arrays = golden.npz(case)
    network = filled(str(arrays["network"]), int(arrays["num_classes"]), int(arrays["num_outputs"])).eval()
    x = images(str(arrays["image_name"]), arrays["images"].shape)
    np.testing.assert_array_equal(x.float(), arrays["images"])
    near = {"rtol": 1e-3, "atol": 1e-4}
    with torch.no_grad():
        logits, features = network(x)
        np.testing.assert_allclose(logits, arrays["logits"], **near)
        np.testing.assert_allclose(features, arrays["features"], **near)
        np.testing.assert_allclose(network.project(features), arrays["projection"], **near)
        np.testing.assert_allclose(network.gamma(features), arrays["gamma"], **near)
        logits, _ = network.train()(x)
    np.testing.assert_allclose(logits, arrays["train_logits"], rtol=5e-3, atol=1e-3)
    last = network.layer4[-1]
    for key, norm, name in (
        ("bn1_running_mean", network.bn1, "running_mean"),
        ("bn1_running_var", network.bn1, "running_var"),
        ("last_running_mean", last.bn2, "running_mean"),
    ):
        np.testing.assert_allclose(getattr(norm, name), arrays[key], **near, err_msg=key)


def optimizer_of(case, network):
    settings = Settings(
        dataset="", model="", counts=(), opt=str(case["optimizer"]), lr=float(case["lr"]),
        wd=float(case["weight_decay"]), momentum=float(case["momentum"]),
    )  # fmt: skip
    found = make_optimizer(network, settings)
    assert found.defaults.get("nesterov", False) == bool(case["nesterov"])
    return found


@pytest.mark.parametrize("name", STEPS)
def test_training_steps_are_the_recorded_ones(golden, name):
    case = golden.npz(name)
    metric, n_classes = str(case["metric"]), int(case["num_classes"])
    network = filled(str(case["network"]), n_classes, len(case["linear_bias_after"])).train()
    objective = Objective(metric, n_classes, str(case["aux"]), float(case["k"]), float(case["T"]))
    adjustment = adjustments(case["class_counts"].tolist(), float(case["tau"]))
    optimizer = optimizer_of(case, network)
    for step in range(int(case["num_steps"])):
        labels = torch.from_numpy(case[f"labels{step}"])
        logits, features = network(images(str(case["image_names"][step]), (3 * len(labels), 3, 32, 32)))
        parts = training_losses(objective, logits, features, labels, adjustment, network)
        total = parts.id_loss + float(case["Lambda"]) * parts.ood_loss + float(case["Lambda2"]) * parts.aux_loss
        found = [total.item(), *(part.item() for part in parts)]
        np.testing.assert_allclose(found, case["losses"][step], rtol=1e-3 if step == 0 else 1e-2, atol=1e-5)
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            for key in ("linear", "conv1"):
                gradient = network.get_submodule(key).weight.grad
                rows = case.get(f"grad_{key}_weight_rows")  # all, unless the file names those it holds
                gradient = gradient if rows is None else gradient[rows]
                np.testing.assert_allclose(gradient, case[f"grad_{key}_weight"], rtol=1e-3, atol=1e-6, err_msg=key)
        optimizer.step()
    near = {"rtol": 1e-2, "atol": 1e-5}
    np.testing.assert_allclose(network.linear.bias.detach(), case["linear_bias_after"], **near)
    np.testing.assert_allclose(network.bn1.running_mean, case["bn1_running_mean_after"], **near)
    np.testing.assert_allclose(network.lambda_linear.bias.detach(), case["lambda_bias_after"], **near)
