"""The relative perceptual distance: its terms, its map, and the features behind it."""

import pytest
import torch
from mood_dpa.losses import make_loss
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.vgg import VGG19, check_layers
from mood_dpa.vgg_weights import load_features, random_weights
from ood_shared.errors import InputError

IMAGE_ONLY = {8: {"img_weight": 1, "feature_weights": {}}}


def test_the_relative_distance_of_the_image_term_by_hand() -> None:
    loss = PerceptualLoss(IMAGE_ONLY, "none", use_L1_norm=True, use_relative_error=True)
    x, y = torch.full((1, 1, 8, 8), 0.5), torch.full((1, 1, 8, 8), 0.2)
    assert float(loss(x, y)) == pytest.approx(0.3 / 0.5)


def test_an_all_zero_image_gives_a_finite_distance() -> None:
    loss = PerceptualLoss(IMAGE_ONLY, "none", use_L1_norm=True, use_relative_error=True)
    zero = torch.zeros(1, 1, 8, 8)
    assert float(loss(zero, zero)) == 0


def test_the_mean_of_the_map_is_the_distance() -> None:
    kwargs = {"use_L1_norm": True, "use_relative_error": True, "mode_3d": True}
    x, y = torch.rand(2, 1, 4, 8, 8), torch.rand(2, 1, 4, 8, 8)
    maps = PerceptualLoss(IMAGE_ONLY, "pixelwise", **kwargs)(x, y)
    numbers = PerceptualLoss(IMAGE_ONLY, "none", **kwargs)(x, y)
    assert torch.allclose(maps.flatten(1).mean(1), numbers)


def test_the_image_map_along_any_axis_of_a_box_is_the_same() -> None:
    x, y = torch.rand(1, 1, 4, 8, 6), torch.rand(1, 1, 4, 8, 6)
    kwargs = {"use_L1_norm": True, "use_relative_error": True, "mode_3d": True}
    found = [PerceptualLoss(IMAGE_ONLY, "pixelwise", mode_3d_apply_along_axes=[a], **kwargs)(x, y) for a in range(3)]
    assert torch.allclose(found[0], found[1])
    assert torch.allclose(found[0], found[2])


def test_a_map_of_two_terms_is_refused() -> None:
    both = {8: {"img_weight": 1, "feature_weights": {"r11": 1}}}
    loss = PerceptualLoss(both, "pixelwise", features=VGG19())
    with pytest.raises(InputError, match="exactly one term"):
        loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_a_loss_without_terms_is_refused() -> None:
    loss = PerceptualLoss({8: {"img_weight": 0, "feature_weights": {}}})
    with pytest.raises(InputError, match="no term"):
        loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_old_and_new_name_of_the_input_normalisation_mean_the_same() -> None:
    for name in ("normalize_vgg_input", "normalize_to_vgg_input"):
        loss = make_loss("relative_perceptual_L1", {name: False, "weights_per_resolution": IMAGE_ONLY})
        assert loss.normalise is False


def test_one_channel_stands_for_three() -> None:
    network = load_features(quiet=True)
    x = torch.rand(2, 1, 16, 16)
    one, three = (network(v, ["r21"])["r21"] for v in (x, x.expand(-1, 3, -1, -1)))
    assert torch.allclose(one, three, rtol=1e-4, atol=1e-5)


def test_unknown_layers_are_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="r32"):
        check_layers(["r3_2"])


def test_random_features_leave_the_callers_random_numbers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    random_weights.cache_clear()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_features()
    assert torch.equal(before, torch.get_rng_state())
    assert "RANDOM" in capsys.readouterr().err
