"""Networks: sizes, initial heads, and outputs of each metric."""

import pytest
import torch
from imood.metrics import n_outputs_of
from imood.networks import CifarResNet, build
from ood_shared.errors import InputError

PARAMETERS = [
    ("ResNet18", 10, 10, 11_507_414, 130),
    ("ResNet18", 10, 11, 11_507_927, 130),
    ("ResNet18", 100, 100, 11_599_754, 130),
    ("ResNet18", 100, 101, 11_600_267, 130),
    ("ResNet34", 10, 10, 21_615_574, 226),
    ("ResNet34", 100, 101, 21_708_427, 226),
    ("ResNet50", 1000, 1000, 32_064_658, 328),
    ("ResNet50", 1000, 1001, 32_066_707, 328),
]


@pytest.mark.parametrize(("name", "classes", "outputs", "parameters", "entries"), PARAMETERS)
def test_parameters_and_entries_are_as_many_as_published(name, classes, outputs, parameters, entries):
    with torch.device("meta"):
        network = build(name, classes, outputs)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


def test_gamma_starts_with_bias_zero_and_projections_have_unit_length():
    network = build("ResNet18", 3, 3, width=2)
    assert not network.lambda_linear.bias.any()
    _, features = network(torch.rand(4, 3, 32, 32))
    torch.testing.assert_close(network.project(features).norm(dim=1), torch.ones(4))


def test_a_narrow_network_is_a_narrow_network():
    network = build("ResNet34", 3, 4, width=4)
    assert isinstance(network, CifarResNet)
    logits, features = network(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 4)
    assert features.shape == (2, 32)


def test_resnet50_runs_at_its_size():
    """The published code installs a forward pass that cannot be called."""
    network = build("ResNet50", 3, 4).eval()
    with torch.no_grad():
        logits, features = network(torch.rand(1, 3, 64, 64))
    assert logits.shape == (1, 4)
    assert features.shape == (1, 2048)
    assert network.classifier is network.fc


@pytest.mark.parametrize(
    ("metric", "extra"),
    [("oe", 0), ("ada_maha", 0), ("ada_bin_disc", 1), ("bkg_c", 1), ("mc_disc", 2), ("gradnorm", 0)],
)
def test_outputs_follow_the_metric(metric, extra):
    assert n_outputs_of(metric, 7) == 7 + extra


def test_an_unknown_network_is_refused():
    with pytest.raises(InputError, match="`ResNet20` is not known"):
        build("ResNet20", 3, 3)
