"""Hand-computed cases and identities of the parts."""

import math
import warnings

import numpy as np
import pytest
import torch
from mood_dpa.checkpoints import Model
from mood_dpa.configuration import merge
from mood_dpa.data.anomalies import add_anomaly_3d, ellipsoid
from mood_dpa.data.preprocessing import prepare_slices
from mood_dpa.growing import Stage, mix_resolution, plan_stages
from mood_dpa.layers import Layers
from mood_dpa.losses import make_loss
from mood_dpa.networks import DecoderFamily, EncoderFamily
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.ranking import Ranking, rank_metrics
from mood_dpa.scores import SliceSelection, axis_map, combine
from mood_dpa.simclr import cosine_rates, nt_xent, view
from mood_dpa.vgg import VGG19, check_layers, load_features, random_weights
from ood_shared.errors import InputError
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

IMAGE_ONLY = {8: {"img_weight": 1, "feature_weights": {}}}


class Identity(torch.nn.Module):
    """A network that gives back what it takes, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def image_model(factor: float = 0.5) -> Model:
    loss = PerceptualLoss(
        IMAGE_ONLY, "pixelwise", use_L1_norm=True, use_relative_error=False, mode_3d=True, normalize_to_vgg_input=False
    )
    return Model(Identity(factor), Identity(), loss, 8, {})


# -- growing -------------------------------------------------------------------------------------------------------


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


# -- distances -------------------------------------------------------------------------------------------------------


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


# -- slices, maps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "size"), [((50, 37), 16), ((16, 16), 40), ((64, 64), 64), ((240, 155), 128)])
def test_resizing_equals_pil(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    want = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    found = prepare_slices(torch.from_numpy(image)[None], size, normalised=False)[0, 0]
    np.testing.assert_allclose(found, want, rtol=0, atol=5e-7)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_interior_gap_keeps_slices_at_their_place(axis: int) -> None:
    volume = torch.ones(10, 10, 10)
    volume.movedim(axis, 0)[4:6] = 0
    found = axis_map(volume, image_model(), axis, SliceSelection(True, 8, small_area=50), (10, 10, 10)).movedim(axis, 0)
    assert (found[4:6] == 0).all()
    assert (found[:4] > 0).all()
    assert (found[6:] > 0).all()


def test_a_volume_without_any_slice_to_look_at_is_all_zero() -> None:
    found = axis_map(torch.zeros(6, 7, 8), image_model(), 1, SliceSelection(True, 8), (6, 7, 8))
    assert found.shape == (6, 7, 8)
    assert not found.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_come_back_in_the_axes_of_the_volume(axis: int) -> None:
    volume = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(1))
    found = axis_map(volume, image_model(0.0), axis, SliceSelection(False, 8), (8, 8, 8))
    assert torch.allclose(found, (2 * volume - 1).abs(), atol=1e-6)


def test_the_mean_counts_axes_that_are_positive() -> None:
    maps = [torch.tensor([[[2.0, 0.0, 4.0]]]), torch.tensor([[[4.0, 0.0, 0.0]]])]
    assert combine(maps).flatten().tolist() == pytest.approx([0.03, 0.0, 0.04])


# -- anomalies ---------------------------------------------------------------------------------------------------------


def literal_ellipsoid(shape, centre, radii, angles):
    """The formula over the whole grid, as published."""
    n = np.array(shape)
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    p = np.stack([k - n[2] // 2, j - n[1] // 2, i - n[0] // 2]).reshape(3, -1).astype(float)
    q = np.array(centre) - n[::-1] / 2
    x, y, z = (-a for a in angles)
    rx = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    ry = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    rz = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    turn = rz @ ry @ rx
    return ((((turn @ p - (turn @ q)[:, None]) / np.array(radii)[:, None]) ** 2).sum(0) <= 1).reshape(shape)


@pytest.mark.parametrize("seed", range(12))
def test_drawing_in_the_box_equals_drawing_on_the_whole_grid(seed: int) -> None:
    draws = np.random.default_rng(seed)
    shape = tuple(int(n) for n in draws.integers(9, 30, 3))
    centre = [float(draws.uniform(-8, n + 8)) for n in reversed(shape)]
    radii, angles = draws.uniform(2, 9, 3).tolist(), draws.uniform(0, 1.6, 3).tolist()
    assert np.array_equal(ellipsoid(shape, centre, radii, angles), literal_ellipsoid(shape, centre, radii, angles))


def test_array_order_puts_the_centre_where_it_was_drawn() -> None:
    found = ellipsoid((21, 31, 41), (5, 15, 30), (3, 3, 3), (0.3, 0.2, 0.1), "array")
    np.testing.assert_allclose(
        [axis.mean() for axis in np.nonzero(found)], (5, 15, 30), atol=0.3
    )  # voxels on the very border may fall on one side


def test_anomalies_stay_in_range_and_change_nothing_outside_the_mask() -> None:
    volume = np.random.default_rng(0).random((30, 32, 28)).astype(np.float32)
    found = add_anomaly_3d(volume, np.random.RandomState(4))
    assert 0 <= found.image.min() <= found.image.max() <= 1
    assert np.array_equal(found.image[found.mask == 0], volume[found.mask == 0])
    assert (found.image[found.mask == 1] != volume[found.mask == 1]).mean() > 0.9


# -- metrics, SimCLR, configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_metrics_equal_scikit_learn_with_ties(dtype: type) -> None:
    draws = np.random.default_rng(0)
    y, s = draws.random(5000) < 0.05, np.round(draws.random(5000), 2).astype(dtype)
    found = rank_metrics(y, s)
    assert found.ap == pytest.approx(average_precision_score(y, s), rel=1e-9)
    assert found.auroc == pytest.approx(roc_auc_score(y, s), rel=1e-9)


def test_counting_in_bins_agrees_with_sorting() -> None:
    draws = np.random.default_rng(1)
    sorting, counting = Ranking(), Ranking(sort_limit=1000)
    for _ in range(3):
        y, s = draws.random(4000) < 0.1, draws.gamma(1, 1, 4000).astype(np.float32)
        for ranking in (sorting, counting):
            ranking.add(y, s + y)
    assert sorting.exact
    assert not counting.exact
    assert counting.metrics().ap == pytest.approx(sorting.metrics().ap, rel=1e-3)
    assert counting.metrics().auroc == pytest.approx(sorting.metrics().auroc, abs=1e-4)


def test_a_single_class_has_no_auroc() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rank_metrics([0, 0], [0.1, 0.2])
    assert found.ap == 0
    assert math.isnan(found.auroc)
    assert caught


def test_views_are_repeatable_differ_between_slices_and_stay_in_range() -> None:
    slices = torch.rand(1, 1, 40, 40).repeat(4, 1, 1, 1)
    one, two = (view(slices, 24, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (4, 3, 24, 24)
    assert torch.equal(one, two)
    assert not torch.equal(one[0], one[1])
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_a_single_pair_has_no_contrast() -> None:
    assert float(nt_xent(torch.randn(1, 4), torch.randn(1, 4))) == pytest.approx(0, abs=1e-6)


def test_few_batches_do_not_stop_the_schedule() -> None:
    assert all(math.isfinite(rate) for rate in cosine_rates(5, 3, 1, 10))


def test_a_mapping_over_a_number_is_refused() -> None:
    with pytest.raises(InputError):
        merge({"a": 1}, {"a": {"b": 2}})
