"""Noise images: their distributions, and the names that load them."""

import math

import pytest
import torch
from ood_shared.datasets import NOISE, load, make_noise
from ood_shared.errors import InputError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_is_normal_around_one_half_clipped_to_zero_and_one():
    pixels = make_noise("gaussian", 100, (1, 40, 40), generator())
    assert (pixels.min(), pixels.max()) == (0, 1)
    at_zero = (pixels == 0).double().mean().item()
    expected = 0.5 * math.erfc(0.5 / math.sqrt(2))  # P(N(0.5, 1) < 0) = 0.3085
    assert abs(at_zero - expected) < 0.005, at_zero  # 4 standard errors of 160 000 draws
    assert abs(pixels.double().mean().item() - 0.5) < 0.005


def test_uniform_fills_zero_to_one_evenly():
    pixels = make_noise("uniform", 100, (1, 40, 40), generator())
    counts = torch.histc(pixels, bins=10, min=0, max=1) / pixels.numel()
    assert (counts - 0.1).abs().max() < 0.005, counts


def test_sphere_has_the_radius_and_negative_values():
    images = make_noise("sphere", 50, (3, 28, 28), generator(), radius=25.5)
    norms = images.double().flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.full_like(norms, 25.5), rtol=1e-6)  # float32 of 2352 numbers
    assert abs((images < 0).double().mean().item() - 0.5) < 0.02


@pytest.mark.parametrize("kind", NOISE)
def test_noise_has_the_shape_asked_for_and_repeats_for_the_same_seed(kind):
    first = make_noise(kind, 3, (3, 5, 7), generator(4), radius=2.0)
    assert first.shape == (3, 3, 5, 7)
    assert first.dtype == torch.float32
    assert torch.equal(first, make_noise(kind, 3, (3, 5, 7), generator(4), radius=2.0))
    assert not torch.equal(first, make_noise(kind, 3, (3, 5, 7), generator(5), radius=2.0))


@pytest.mark.parametrize("radius", [None, 0.0, -1.0, math.nan, math.inf])
def test_sphere_refuses_a_radius_that_is_none(radius):
    with pytest.raises(InputError, match="positive radius"):
        make_noise("sphere", 2, (1, 4, 4), generator(), radius=radius)


def test_unknown_noise_names_the_near_one():
    with pytest.raises(InputError, match="Did you mean `gaussian`"):
        make_noise("gausian", 2, (1, 4, 4), generator())


def test_no_images_are_refused():
    with pytest.raises(InputError, match="at least 1 image"):
        make_noise("uniform", 0, (1, 4, 4), generator())


@pytest.mark.parametrize("name", ["gaussian", "uniform"])
def test_loaded_noise_is_the_same_every_time_and_other_in_each_split(name):
    test = load(name, "test")
    assert test.images.shape == (1000, 28, 28, 1)
    assert (test.images == load(name, "test").images).all()
    assert not (test.images == load(name, "train").images).all()
    assert not (test.images == load(name, "val").images).all()


def test_loaded_noise_takes_size_and_channels_without_resizing():
    images = load("uniform", "test", size=16, channels=3).images
    assert images.shape == (1000, 16, 16, 3)
    levels = images.ravel()
    assert levels.min() == 0
    assert levels.max() == 255
    assert abs(float(levels.std()) - 255 / math.sqrt(12)) < 1, "resized noise would have lost its spread"


def test_sphere_by_name_says_how_to_get_it():
    with pytest.raises(InputError, match="make_noise"):
        load("sphere", "test")
