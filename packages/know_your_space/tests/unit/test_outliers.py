"""Tile shuffle, random convolution, and the outliers of a batch."""

import math

import pytest
import torch
import torch.nn.functional as F
from know_your_space.jigsaw import draw_permutations, shuffle_tiles
from know_your_space.outliers import (
    OPERATORS,
    convolved_outliers,
    jitter_contrast,
    latent_tails,
    pixel_inliers,
    pixel_outliers,
)
from know_your_space.randconv import draw_kernel, random_convolution, valid_range
from know_your_space.settings import chosen_operators
from know_your_space.transforms import MEAN, STD, normalise
from ood_shared.errors import InputError
from torch import Tensor


def noise(n: int, side: int = 28) -> Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def literal_shuffle(image: Tensor, permutation: list[int], k: int) -> Tensor:
    """Tile by tile, as the specification words it."""
    side, out = image.shape[-1] // k, torch.empty_like(image)
    for a in range(k):
        for b in range(k):
            row, column = divmod(permutation[b * k + a], k)
            tile = image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            out[:, a * side : (a + 1) * side, b * side : (b + 1) * side] = tile
    return out


@pytest.mark.parametrize("tiles", [2, 3, 4])
def test_the_batched_shuffle_is_the_literal_one(tiles: int, generator: torch.Generator) -> None:
    images, permutations = torch.randn(5, 3, 24, 24), draw_permutations(5, tiles, generator)
    expected = [literal_shuffle(x, p.tolist(), tiles) for x, p in zip(images, permutations, strict=True)]
    assert torch.equal(shuffle_tiles(images, permutations), torch.stack(expected))


def test_the_identity_transposes_the_grid_and_not_the_tiles() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = shuffle_tiles(image, torch.arange(4).unsqueeze(0))[0, 0]
    assert found.tolist() == [[0, 1, 8, 9], [4, 5, 12, 13], [2, 3, 10, 11], [6, 7, 14, 15]]


def test_no_permutation_is_the_identity(generator: torch.Generator) -> None:
    drawn = draw_permutations(2000, 2, generator)  # 1 in 24 would be
    assert not (drawn == torch.arange(4)).all(dim=1).any()
    assert len(drawn.unique(dim=0)) == math.factorial(4) - 1


def test_a_shuffle_keeps_every_value(generator: torch.Generator) -> None:
    images = torch.randn(3, 3, 32, 32)
    found = shuffle_tiles(images, draw_permutations(3, 4, generator))
    assert torch.equal(found.flatten(1).sort(dim=1).values, images.flatten(1).sort(dim=1).values)


def test_sides_that_do_not_divide_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="30 x 30 pixels cannot be cut into 16"):
        shuffle_tiles(torch.zeros(1, 3, 30, 30), draw_permutations(1, 4, generator))


def test_one_tile_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="at least 2 tiles"):
        draw_permutations(1, 1, generator)


def test_a_convolution_stays_within_valid_pixels(generator: torch.Generator) -> None:
    low, high = valid_range()
    found = random_convolution(5 * torch.randn(4, 3, 32, 32), draw_kernel([9], generator))
    assert ((found >= low) & (found <= high)).all()
    torch.testing.assert_close(found.amin(dim=(0, 2, 3)), low.flatten())


def test_a_convolution_keeps_no_gradient(generator: torch.Generator) -> None:
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    assert not random_convolution(images, draw_kernel([3], generator)).requires_grad


def test_a_single_kernel_size_works(generator: torch.Generator) -> None:
    assert draw_kernel([11], generator).weight.shape == (3, 3, 11, 11)


@pytest.mark.parametrize("sizes", [[], [4], [0], [-3]])
def test_kernel_sizes_are_positive_and_odd(sizes: list[int], generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="--rand_conv_kernel_size"):
        draw_kernel(sizes, generator)


def test_half_of_the_steps_add_convolved_rows(generator: torch.Generator) -> None:
    images = torch.randn(4, 3, 32, 32)
    lengths = [len(convolved_outliers(images, generator, sizes=[3], rows=5)) for _ in range(400)]
    assert set(lengths) == {0, 5}
    assert abs(lengths.count(5) - 200) < 50  # five standard deviations


def test_convolved_rows_are_those_of_the_whole_batch(generator: torch.Generator) -> None:
    images = torch.randn(6, 3, 32, 32)
    while not len(found := convolved_outliers(images, again(generator), sizes=[5], rows=9)):
        torch.rand(1, generator=generator)
    twin = again(generator)
    torch.rand(1, generator=twin)
    whole = random_convolution(images, draw_kernel([5], twin))
    rows = torch.randint(len(images), (9,), generator=twin)
    torch.testing.assert_close(found, whole[rows], rtol=1e-5, atol=1e-5)


def again(generator: torch.Generator) -> torch.Generator:
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    return twin


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_makes_outliers_of_every_image(name: str, generator: torch.Generator) -> None:
    found = pixel_outliers(noise(7), [name], 11, generator)
    assert found.shape == (7, 3, 32, 32)
    assert found.isfinite().all()


def test_outliers_stand_in_the_order_of_their_images(generator: torch.Generator) -> None:
    """Flat images stay flat inside: their grey level tells where each went."""
    levels = torch.arange(12) * 20
    flat = levels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 28, 28).contiguous()
    found = pixel_outliers(flat, ["jigsaw", "jigsaw"], 11, generator)
    grey = (found * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
    torch.testing.assert_close(grey.flatten(1).median(dim=1).values, levels.float(), rtol=0, atol=1e-3)


def test_two_operators_share_the_images(generator: torch.Generator) -> None:
    """`jigsaw` alone leaves flat images flat but for the black that the affine map brings in."""
    flat = torch.full((300, 3, 28, 28), 90, dtype=torch.uint8)
    found = pixel_outliers(flat, ["augmix_jigsaw", "jigsaw"], 11, generator)
    value = (90 / 255 - MEAN[0]) / STD[0]
    share = ((found[:, 0] - value).abs() < 1e-4).flatten(1).float().mean(dim=1)
    assert 0.3 < (share > 0.8).float().mean() < 0.75


def test_pixel_inliers_stay_closer_to_their_images_than_outliers(generator: torch.Generator) -> None:
    coarse = torch.rand(64, 3, 4, 4, generator=generator) * 255
    pixels = F.interpolate(coarse, size=(28, 28), mode="bilinear").to(torch.uint8)
    clean = pixel_outliers(pixels, ["augmix"], 0.2, generator)
    near = pixel_inliers(pixels, generator)
    far = pixel_outliers(pixels, ["augmix_jigsaw"], 11, generator)
    assert F.mse_loss(near, clean) < 0.7 * F.mse_loss(far, clean)


def test_pixel_inliers_need_square_images(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="square images, got 28 x 20"):
        pixel_inliers(noise(1)[..., :20], generator)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [((True, False), ("augmix_jigsaw",)), ((False, True), ("jigsaw",)), ((True, True), ("augmix_jigsaw", "jigsaw"))],
)
def test_the_flags_choose_the_documented_operators(flags: tuple[bool, bool], expected: tuple[str, ...]) -> None:
    assert chosen_operators(*flags) == expected


def test_no_operator_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"clean training images.*--augmix"):
        chosen_operators(False, False)
    with pytest.raises(InputError, match="at least one operator"):
        pixel_outliers(noise(1), [], 11, generator)


def test_a_misspelt_operator_gets_a_suggestion(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="Did you mean `jigsaw`"):
        pixel_outliers(noise(1), ["jigsaws"], 11, generator)


@pytest.mark.parametrize(
    ("spaces", "tails"),
    [
        (("none", "latent"), (None, "far")),  # VOS
        (("pixel", "latent"), (None, "far")),  # VOS++
        (("none", "pixel"), (None, None)),  # NDA
        (("pixel", "pixel"), (None, None)),  # NDA++
        (("latent", "pixel"), ("far", None)),  # the paper
        (("latent", "latent"), ("near", "far")),
    ],
)
def test_the_far_tail_is_never_pushed_both_ways(spaces: tuple[str, str], tails: tuple[str | None, str | None]) -> None:
    assert latent_tails(*spaces) == tails


@pytest.mark.parametrize(("spaces", "flag"), [(("pixels", "latent"), "--inlier_space"), (("none", "x"), "--outlier_s")])
def test_an_unknown_space_is_refused(spaces: tuple[str, str], flag: str) -> None:
    with pytest.raises(InputError, match=flag):
        latent_tails(*spaces)


def grey_steps(n: int) -> Tensor:
    """Normalised images of mid greys, so that stretching them leaves no valid range."""
    pixels = torch.randint(120, 136, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    return normalise(pixels)


def test_jittered_contrast_keeps_the_mean_and_scales_by_at_most_the_factor(
    generator: torch.Generator,
) -> None:
    images = grey_steps(500)
    changed = jitter_contrast(images, 3.0, generator)
    assert torch.allclose(changed.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5)
    factors = changed.std(dim=(2, 3)) / images.std(dim=(2, 3))  # (500, 3)
    assert torch.allclose(factors, factors[:, :1].expand(-1, 3), rtol=1e-4)  # one factor for all channels
    assert 1 / 3 - 1e-4 < factors.min() < 0.36
    assert 2.8 < factors.max() < 3 + 1e-4
    assert 0.4 < (factors[:, 0] > 1).float().mean() < 0.6  # as often stretched as flattened


def test_stretched_images_stay_valid_pixels(generator: torch.Generator) -> None:
    low, high = valid_range()
    changed = jitter_contrast(normalise(noise(50)), 10.0, generator)
    assert (changed >= low).all()
    assert (changed <= high).all()


def test_a_factor_of_one_changes_nothing_and_draws_nothing(generator: torch.Generator) -> None:
    before, images = generator.get_state(), grey_steps(3)
    assert jitter_contrast(images, 1.0, generator) is images
    assert torch.equal(generator.get_state(), before)
