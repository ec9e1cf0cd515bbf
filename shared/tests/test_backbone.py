"""The common network."""

import pytest
import torch
from ood_shared.backbone import NETWORKS, SmallResNet, build_common
from ood_shared.errors import InputError


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32)])
def test_it_takes_grey_and_colour_images_of_any_size(channels, side):
    network = SmallResNet(5, channels)
    logits = network(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 5)


def test_logits_are_the_last_layer_on_the_features():
    network = SmallResNet(4).eval()
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(network(x), network.fc(network.features(x)))
    assert network.features(x).shape == (3, network.feature_dim)


def test_more_blocks_are_more_parameters():
    first, second = (sum(p.numel() for p in SmallResNet(10, blocks=n).parameters()) for n in (1, 2))
    assert second > 2 * first


def test_a_network_without_classes_is_refused():
    with pytest.raises(InputError, match="1 class, channel and block or more"):
        SmallResNet(0)


@pytest.mark.parametrize(("name", "thousands"), [("smallresnet10", 77), ("smallresnet22", 272)])
def test_networks_of_the_bench_have_the_size_that_is_written_down(name, thousands):
    assert sum(p.numel() for p in build_common(name, 10).parameters()) // 1000 == thousands
    assert name in NETWORKS


def test_features_are_the_mean_of_the_last_map():
    network = build_common("smallresnet22", 4).eval()
    x = torch.randn(2, 3, 32, 32)
    maps = network.maps(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]
    torch.testing.assert_close(network.features(x), maps[-1].mean(dim=(2, 3)))


def test_an_unknown_common_network_is_refused():
    with pytest.raises(InputError, match="smallresnet11"):
        build_common("smallresnet11", 4)
