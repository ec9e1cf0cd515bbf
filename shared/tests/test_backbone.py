"""The common network."""

import pytest
import torch
from ood_shared.backbone import SmallResNet
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


def test_it_has_78_thousand_parameters():
    assert sum(p.numel() for p in SmallResNet(10).parameters()) // 1000 == 77


def test_more_blocks_are_more_parameters():
    first, second = (sum(p.numel() for p in SmallResNet(10, blocks=n).parameters()) for n in (1, 2))
    assert second > 2 * first


def test_a_network_without_classes_is_refused():
    with pytest.raises(InputError, match="1 class, channel and block or more"):
        SmallResNet(0)
