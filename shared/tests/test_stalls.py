"""The look for what makes a step wait sees each kind, and where it stands."""

import pytest
import torch
from ood_shared import augment, loaders
from ood_shared.testing.stalls import Stalls


def found_in(work):
    with Stalls() as stalls:
        work()
    return stalls.found


def test_views_of_a_batch_wait_for_draws_on_the_host_only():
    images = torch.rand(4, 3, 8, 8)
    found = found_in(lambda: augment.colour_jitter(images, torch.Generator().manual_seed(0)))
    assert found == {"nonzero in augment.py, <listcomp>", "tensor in augment.py, colour_jitter"}
    assert not found_in(lambda: augment.common_views(images, torch.Generator().manual_seed(0), mirror=True))


def test_constants_of_the_normalisation_are_made_once():
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    loaders.channel_column.cache_clear()
    assert found_in(lambda: loaders.to_float(pixels, 0.25, 0.5)) == {"tensor in loaders.py, channel_column"}
    assert not found_in(lambda: loaders.to_float(pixels, 0.25, 0.5))


@pytest.mark.parametrize(
    ("work", "word"),
    [
        (lambda: float(torch.ones(1)), "item"),
        (lambda: torch.ones(3)[torch.tensor([1, 0, 1]) == 1], "nonzero"),
        (lambda: torch.tensor([1.0, 2.0]), "tensor"),
    ],
)
def test_each_kind_is_seen(work, word):
    assert f"{word} in test_stalls.py, <lambda>" in found_in(work)
