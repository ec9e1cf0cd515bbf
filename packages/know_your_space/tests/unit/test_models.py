"""Networks: what the golden vectors do not show."""

import math

import pytest
import torch
from know_your_space.networks import MODELS, BasicBlock, WideResNet, build_model
from ood_shared.backbone import NETWORKS, build_common
from ood_shared.errors import InputError


def small(classes: int = 3, **options) -> WideResNet:
    torch.manual_seed(0)
    return WideResNet(classes, depth=10, **options)


@pytest.mark.parametrize(("classes", "parameters"), [(3, 2_242_643), (5, 2_242_901), (6, 2_243_030), (8, 2_243_288)])
def test_the_wide_network_has_the_documented_number_of_parameters(classes: int, parameters: int) -> None:
    assert sum(p.numel() for p in WideResNet(classes).parameters()) == parameters


@pytest.mark.parametrize(("kind", "parameters"), [("resnet50_small_godin", 23_522_371), ("resnet50", 23_520_326)])
def test_the_other_resnets_have_the_documented_number_of_parameters(kind: str, parameters: int) -> None:
    assert sum(p.numel() for p in build_model(kind, 6).parameters()) == parameters


def test_fc_maps_the_features_to_the_logits() -> None:
    network = small().eval()
    logits, features = network(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(network.fc(features), logits)


def test_the_width_of_the_features_follows_the_network() -> None:
    network = small(widen=1).eval()
    assert network(torch.randn(2, 3, 32, 32))[1].shape == (2, network.feature_dim) == (2, 64)


def test_a_block_of_equal_widths_adds_its_raw_input() -> None:
    block = BasicBlock(4, 4, 1, 0.0).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_a_block_that_widens_projects_its_activated_input() -> None:
    block = BasicBlock(4, 6, 2, 0.0).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), block.convShortcut(block.bn1(x).relu()))


def test_dropout_acts_in_training_only() -> None:
    block = BasicBlock(4, 4, 1, 0.5)
    block.bn1.eval()
    block.bn2.eval()
    x = torch.randn(1, 4, 8, 8)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_the_initial_spread_of_convolutions_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    weight = WideResNet(3, depth=10).block3.layer[0].conv2.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.02)


def test_the_last_layer_starts_without_bias() -> None:
    assert not small().fc.bias.any()


def test_channels_last_gives_the_same_logits() -> None:
    network, x = small().eval(), torch.randn(2, 3, 32, 32)
    expected = network(x)[0]
    found = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 64, 64), (1, 32, 32)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"shape \(3, 32, 32\)"):
        small()(torch.zeros(2, *shape))


def test_the_small_resnet_refuses_images_that_leave_a_larger_map() -> None:
    with pytest.raises(InputError, match="32 x 32"):
        build_model("resnet50_small", 2).eval()(torch.zeros(1, 3, 64, 64))


def test_a_godin_resnet_gives_quotient_numerator_and_denominator() -> None:
    logits, numerator, denominator = build_model("resnet50_small_godin", 2).eval()(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(logits * denominator, numerator)


def test_the_standard_resnet_averages_its_map() -> None:
    network = build_model("resnet50", 2).eval()
    logits, features = network(torch.randn(1, 3, 64, 64))
    assert (logits.shape, features.shape) == ((1, 2), (1, 2048))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"depth": 12}, "--layers 12"), ({"widen": 0}, "--widen-factor"), ({"drop_rate": 1.0}, "--droprate 1.0")],
)
def test_options_out_of_range_are_refused(options: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        WideResNet(3, **options)


def test_a_misspelt_model_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="Did you mean `wrn`"):
        build_model("wrm", 3)


def test_every_model_names_the_width_of_its_features() -> None:
    assert [build_model(kind, 2).feature_dim for kind in MODELS] == [128, 128, 2048, 2048, 2048, 64, 64]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_common_network_gives_logits_of_its_features(name: str) -> None:
    network = build_model(name, 3).eval()
    logits, features = network(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(network.fc(features), logits)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in build_common(name, 3).parameters())
