"""Transforms of whole batches against Pillow and torchvision, one image at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from know_your_space.transforms import (
    AffineDraws,
    affine,
    as_rgb,
    draw_affine,
    evaluation_transform,
    normalise,
    random_affine,
    resize,
    training_transform,
    training_view,
)
from ood_shared.augment import common_views
from ood_shared.errors import InputError
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

NOBODY = torch.zeros(0, dtype=torch.float64)


def noise(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def pixels_of(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(0, 20), st.integers(1, 60), st.integers(0, 99))
def test_resizing_gives_pillows_pixels(height: int, excess: int, side: int, seed: int) -> None:
    pixels = noise(1, height, height + excess, seed)
    expected = picture(pixels[0]).resize((side, side), Image.Resampling.BILINEAR)
    assert torch.equal(resize(pixels, side)[0], pixels_of(expected))


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    pixels = noise(2, 32, 32)
    assert resize(pixels) is pixels


@settings(deadline=None)
@given(st.integers(2, 50), st.integers(2, 50), st.floats(-180, 180), st.integers(-9, 9), st.integers(-9, 9))
def test_the_affine_map_gives_pillows_pixels(height: int, width: int, degrees: float, x: int, y: int) -> None:
    pixels = noise(1, height, width)
    found = affine(pixels, torch.tensor([degrees]).double(), torch.tensor([[x, y]]).double())
    angle = torch.tensor([degrees]).double().item()
    expected = functional.affine(picture(pixels[0]), angle, [x, y], 1.0, [0.0, 0.0])
    assert torch.equal(found[0], pixels_of(expected))


def test_each_image_is_moved_by_its_own_draw() -> None:
    pixels = noise(1, 28, 28).repeat(3, 1, 1, 1)
    degrees, shift = torch.tensor([0.0, 90, 180]).double(), torch.zeros(3, 2).double()
    found = affine(pixels, degrees, shift)
    for image, turns in zip(found, (0, -1, 2), strict=True):
        assert torch.equal(image, pixels[0].rot90(turns, (1, 2)))


@pytest.mark.parametrize(("side", "largest"), [(28, 1), (32, 2), (224, 11)])
def test_shifts_are_whole_pixels_up_to_a_twentieth(side: int, largest: int) -> None:
    pixels = noise(1, side, side)
    for share, pixel in ((1.0, largest), (-1.0, -largest)):
        draws = AffineDraws(torch.zeros(1).double(), torch.tensor([[share, 0.0]]).double())
        expected = affine(pixels, torch.zeros(1).double(), torch.tensor([[pixel, 0.0]]).double())
        assert torch.equal(random_affine(pixels, draws), expected)


def test_draws_fill_their_ranges(generator: torch.Generator) -> None:
    draws = draw_affine(4000, generator)
    for values, bound in ((draws.degrees, 15), (draws.shift[:, 0], 1), (draws.shift[:, 1], 1)):
        assert -bound <= values.min() < -0.98 * bound
        assert 0.98 * bound < values.max() <= bound


def test_normalisation_is_that_of_torchvision() -> None:
    pixels = noise(1, 4, 4)
    expected = functional.normalize(pixels[0] / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalise(pixels)[0], expected)


def test_the_identity_draw_makes_training_and_evaluation_equal() -> None:
    pixels = noise(2, 28, 28)
    still = AffineDraws(torch.zeros(2).double(), torch.zeros(2, 2).double())
    assert torch.equal(training_transform(pixels, still), evaluation_transform(pixels))


def test_an_empty_batch_stays_empty() -> None:
    found = training_transform(noise(0, 28, 28), AffineDraws(NOBODY, NOBODY.reshape(0, 2)))
    assert found.shape == (0, 3, 32, 32)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 5, 1)])
def test_grey_images_get_three_equal_channels(shape: tuple[int, ...]) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(shape)
    found = as_rgb(images)
    assert found.shape == (2, 3, 4, 5)
    assert all(np.array_equal(found[:, c], images.reshape(2, 4, 5)) for c in range(3))


def test_reversal_swaps_red_and_blue() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    assert torch.equal(as_rgb(images, reverse=True), as_rgb(images).flip(1))


@pytest.mark.parametrize("images", [np.zeros((2, 4, 5, 2), np.uint8), np.zeros((2, 4, 5)), np.zeros(4, np.uint8)])
def test_arrays_that_are_no_images_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match="Images are uint8"):
        as_rgb(images)


def test_the_views_of_a_comparison_are_those_of_all_methods():
    pixels = noise(20, 32, 32)
    for augmentation, mirror in (("crop", False), ("crop_mirror", True)):
        found = training_view(pixels, augmentation, torch.Generator().manual_seed(5))
        expected = common_views(pixels, torch.Generator().manual_seed(5), mirror)
        assert torch.equal(found, normalise(expected))


def test_the_paper_s_view_is_the_random_affine():
    pixels = noise(20, 28, 28)
    drawn = draw_affine(20, torch.Generator().manual_seed(5))
    found = training_view(pixels, "affine", torch.Generator().manual_seed(5))
    assert torch.equal(found, training_transform(pixels, drawn))
