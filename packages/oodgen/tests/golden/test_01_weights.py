"""01: keys, shapes and parameter counts of the networks, and the fill rule that gives them their weights."""

from pathlib import Path

import numpy as np
import pytest
from ood_shared.testing.golden import Golden, fill_state_dict, golden_dir
from oodgen import classifier, vae
from torch import nn

GOLDEN = Golden(golden_dir("oodgen", Path(__file__).parent))
STATE, FILL = GOLDEN.json("01_state_dict"), GOLDEN.json("01_fill_check")
NETWORKS = sorted(set(STATE) - {"n_params"})


def build(name: str, meta: dict) -> nn.Module:
    if name == "VAE":
        return vae.VAE(meta["n_classes"], meta["latent_dim"])
    return getattr(classifier, name)(meta["n_classes"])


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_and_shapes_come_in_the_published_order(name: str, meta: dict) -> None:
    found = [(key, list(value.shape)) for key, value in build(name, meta).state_dict().items()]
    assert found == list(STATE[name].items())


@pytest.mark.parametrize("name", sorted(STATE.get("n_params", [])))
def test_the_number_of_parameters_is_the_published_one(name: str, meta: dict) -> None:
    assert sum(parameter.numel() for parameter in build(name, meta).parameters()) == STATE["n_params"][name]


@pytest.mark.parametrize("entry", sorted(FILL))
def test_the_fill_rule_gives_the_recorded_weights(entry: str, meta: dict) -> None:
    name, key = entry.split(".", 1)
    values = fill_state_dict(build(name, meta), meta["salt"]).state_dict()[key].double().flatten()
    np.testing.assert_allclose([values[0], values[-1], values.sum()], FILL[entry], rtol=0, atol=1e-5)
