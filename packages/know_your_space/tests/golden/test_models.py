"""state_dict_*, wrn_forward and optional_baseline_nets: keys, shapes, and forward passes with the filled weights."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.networks import build_model
from ood_shared.testing.golden import (
    Golden,
    cases,
    check_each,
    fill_state_dict,
    golden_dir,
    hashed_uniform,
    stems,
    tensors,
)
from torch import nn

RTOL, ATOL = 1e-4, 1e-4

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
STATE_DICTS = sorted(path.stem for path in GOLDEN.folder.glob("state_dict_*.json"))
FORWARD = GOLDEN.npz("wrn_forward")
NETS = stems(FORWARD, "*/logits", "*/num_params", "*/features")
near = partial(np.testing.assert_allclose, rtol=RTOL, atol=ATOL)
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
    check_each(FORWARD, {f"{name}/logits": logits, f"{name}/features": features}, near)


@pytest.mark.parametrize("name", NETS)
def test_the_outputs_of_the_stages_agree(name: str) -> None:
    with torch.inference_mode():
        stages = filled(name).stages(*tensors(FORWARD, "x"))
    means = [stage.abs().mean(dim=(2, 3)) for stage in stages]
    check_each(FORWARD, {f"{name}/block{number}_mean_abs": mean for number, mean in enumerate(means, start=1)}, near)


def optional(kind: str) -> nn.Module:
    return filled(f"{kind}_c{OPTIONAL[f'{kind}/logits'].shape[1]}")


@pytest.mark.parametrize("kind", cases(OPTIONAL, "*/num_params", "*/logits"))
def test_the_baselines_have_the_published_number_of_parameters(kind: str) -> None:
    network = build(f"{kind}_c{OPTIONAL[f'{kind}/logits'].shape[1]}")
    assert sum(parameter.numel() for parameter in network.parameters()) == OPTIONAL[f"{kind}/num_params"]


@pytest.mark.parametrize("kind", stems(OPTIONAL, "*/num", "*/den"))
def test_quotient_numerator_and_denominator_agree(kind: str) -> None:
    with torch.inference_mode():
        found = optional(kind)(*tensors(OPTIONAL, "x32"))
    keys = (f"{kind}/{key}" for key in ("logits", "num", "den"))
    check_each(OPTIONAL, dict(zip(keys, found, strict=True)), near)


@pytest.mark.parametrize("kind", cases(OPTIONAL, "*/features_mean"))
def test_the_resnet_agrees(kind: str) -> None:
    with torch.inference_mode():
        logits, features = optional(kind)(*tensors(OPTIONAL, "x32"))
    check_each(OPTIONAL, {f"{kind}/logits": logits, f"{kind}/features_mean": features.mean(dim=1)}, near)
