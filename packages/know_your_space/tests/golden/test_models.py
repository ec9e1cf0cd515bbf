"""state_dict_*, wrn_forward and optional_baseline_nets: keys, shapes, and forward passes with the filled weights."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.networks import build_model
from ood_shared.testing.golden import Golden, fill_state_dict, golden_dir, hashed_uniform, names, tensors
from torch import nn

RTOL, ATOL = 1e-4, 1e-4

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
STATE_DICTS = sorted(path.stem for path in GOLDEN.folder.glob("state_dict_*.json"))
FORWARD = GOLDEN.npz("wrn_forward")
NETS = names(FORWARD, "*/logits", "*/num_params")
OPTIONAL = GOLDEN.npz("optional_baseline_nets")


def build(name: str) -> nn.Module:
    """`wrn{depth}_{widen}_c{K}`, `wrn_godin_c{K}`, `resnet50_small_c{K}`."""
    sized = re.fullmatch(r"wrn(\d+)_(\d+)_c(\d+)", name)
    if sized:
        depth, widen, classes = map(int, sized.groups())
        return build_model("wrn", classes, depth, widen)
    kind, classes = name.rsplit("_c", 1)
    return build_model(kind, int(classes))


def filled(name: str) -> nn.Module:
    return fill_state_dict(build(name), rule=hashed_uniform).eval()


def test_there_are_state_dicts() -> None:
    assert STATE_DICTS


@pytest.mark.parametrize("name", STATE_DICTS)
def test_keys_shapes_and_types_come_in_the_published_order(name: str) -> None:
    state = build(name.removeprefix("state_dict_")).state_dict()
    found = [[key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()]
    assert found == GOLDEN.json(name)


@pytest.mark.parametrize("name", NETS)
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == FORWARD[f"{name}/num_params"]


@pytest.mark.parametrize("name", NETS)
def test_logits_and_features_agree(name: str) -> None:
    with torch.inference_mode():
        logits, features = filled(name)(*tensors(FORWARD, "x"))
    np.testing.assert_allclose(logits, FORWARD[f"{name}/logits"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(features, FORWARD[f"{name}/features"], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("name", NETS)
def test_the_outputs_of_the_stages_agree(name: str) -> None:
    with torch.inference_mode():
        stages = filled(name).stages(*tensors(FORWARD, "x"))
    for number, stage in enumerate(stages, start=1):
        expected = FORWARD[f"{name}/block{number}_mean_abs"]
        np.testing.assert_allclose(stage.abs().mean(dim=(2, 3)), expected, rtol=RTOL, atol=ATOL)


def optional(kind: str) -> nn.Module:
    return filled(f"{kind}_c{OPTIONAL[f'{kind}/logits'].shape[1]}")


@pytest.mark.parametrize("kind", names(OPTIONAL, "*/num_params"))
def test_the_baselines_have_the_published_number_of_parameters(kind: str) -> None:
    network = build(f"{kind}_c{OPTIONAL[f'{kind}/logits'].shape[1]}")
    assert sum(parameter.numel() for parameter in network.parameters()) == OPTIONAL[f"{kind}/num_params"]


@pytest.mark.parametrize("kind", names(OPTIONAL, "*/num", "*/den"))
def test_quotient_numerator_and_denominator_agree(kind: str) -> None:
    with torch.inference_mode():
        found = optional(kind)(*tensors(OPTIONAL, "x32"))
    for values, key in zip(found, ("logits", "num", "den"), strict=True):
        np.testing.assert_allclose(values, OPTIONAL[f"{kind}/{key}"], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("kind", names(OPTIONAL, "*/logits", "*/features_mean"))
def test_the_resnet_agrees(kind: str) -> None:
    with torch.inference_mode():
        logits, features = optional(kind)(*tensors(OPTIONAL, "x32"))
    np.testing.assert_allclose(logits, OPTIONAL[f"{kind}/logits"], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(features.mean(dim=1), OPTIONAL[f"{kind}/features_mean"], rtol=RTOL, atol=ATOL)
