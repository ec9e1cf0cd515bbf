"""Growing: the stages, and networks that keep what they have learnt."""

import pytest
import torch
from mood_dpa.growing import Stage, mix_resolution, plan_stages
from mood_dpa.layers import Layers
from mood_dpa.networks import DecoderFamily, EncoderFamily
from ood_shared.errors import InputError


def test_stages_alternate_and_empty_ones_are_left_out() -> None:
    found = plan_stages(8, 32, 0, 5, {16: {"trns": 2}})
    assert found == [Stage("stab", 8, 5), Stage("trns", 16, 2), Stage("stab", 16, 5), Stage("stab", 32, 5)]


@pytest.mark.parametrize(("initial", "highest"), [(6, 8), (16, 8)])
def test_resolutions_must_be_rising_powers_of_two(initial: int, highest: int) -> None:
    with pytest.raises(InputError):
        plan_stages(initial, highest, 1, 1)


def test_half_resolution_is_the_mean_of_two_by_two() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    expected = x.view(1, 1, 2, 2, 2, 2).mean((3, 5))
    assert torch.allclose(mix_resolution(x, 4, 2, "stab", 1.0), expected)


def test_growing_keeps_trained_modules() -> None:
    family = EncoderFamily("residual9", [4, 4, 4], 1, 3, 1, Layers())
    low, grown = family.net("stab", 8), family.net("trns", 16)
    assert low.model.res_4 is grown.model.res_4
    assert grown.model.concat.layer1.preprocess_res_8 is low.model.preprocess_res_8


def test_a_transition_at_progress_0_is_the_low_path_and_at_1_the_high_path() -> None:
    family = DecoderFamily("residual9", [4, 4, 4], 1, 3, 1, Layers())
    grown, low, high = family.net("trns", 8), family.net("stab", 4), family.net("stab", 8)
    z = torch.randn(2, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    grown.set_progress(0)
    repeated = low(z).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.allclose(grown(z), repeated, atol=1e-6)
    grown.set_progress(1)
    assert torch.allclose(grown(z), high(z), atol=1e-6)


def test_too_few_widths_are_named() -> None:
    with pytest.raises(InputError, match="inner_dims has 1"):
        EncoderFamily("residual9", [4], 1, 3, 1, Layers()).net("stab", 16)


@pytest.mark.parametrize("pad", ["zero", "reflect"])
def test_networks_of_volumes_work(pad: str) -> None:
    layers = Layers("bn", pad, 3)
    encoder = EncoderFamily("residual18", [3, 3], 1, 2, 1, layers).net("trns", 8)
    decoder = DecoderFamily("residual18", [3, 3], 1, 2, 1, layers).net("trns", 8)
    assert decoder(encoder(torch.randn(2, 1, 8, 8, 8))).shape == (2, 1, 8, 8, 8)
