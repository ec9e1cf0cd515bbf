"""Augmentation of whole batches: the pixels of torchvision's operations, with draws of its own for every image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared import augment
from ood_shared.errors import InputError
from torchvision.transforms import functional as tv


def pictures(n=6, side=9, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(padding=st.integers(0, 4), seed=st.integers(0, 9), n=st.integers(0, 5), whole=st.booleans())
def test_every_crop_is_a_window_of_the_padded_image(padding, seed, n, whole):
    images = torch.randint(1, 256, (n, 3, 5, 7), generator=seeded(seed), dtype=torch.uint8)
    images = images if whole else images / 255
    offsets = torch.randint(0, 2 * padding + 1, (2, n), generator=seeded(seed + 1))
    cropped = augment.random_crop(images, padding, seeded(seed + 1))
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    assert cropped.dtype == images.dtype
    for found, image, top, left in zip(cropped, padded, *offsets.tolist(), strict=True):
        assert torch.equal(found, image[:, top : top + 5, left : left + 7])


def test_crops_reach_every_place():
    marked = torch.zeros(2000, 1, 8, 8, dtype=torch.uint8)
    marked[:, :, 4, 4] = 1
    places = augment.random_crop(marked, 2, seeded())[:, 0].flatten(1).argmax(1)
    assert sorted(set(places.tolist())) == [8 * (4 + y) + 4 + x for y in range(-2, 3) for x in range(-2, 3)]


def test_a_negative_padding_is_refused():
    with pytest.raises(InputError, match="-1 pixels"):
        augment.random_crop(pictures(), -1, seeded())


def test_flips_mirror_whole_images_about_half_of_the_time():
    images = pictures(1000, 3)
    flipped = augment.random_flip(images, seeded())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 420 < mirrored.sum() < 580  # five standard deviations of 1000 coins


def test_grey_images_have_equal_channels_and_the_others_stay():
    images = pictures(1000, 2)
    found = augment.random_grey(images, seeded())
    grey = (found[:, 0] == found[:, 1]).flatten(1).all(1)
    assert torch.equal(found[~grey], images[~grey])
    torch.testing.assert_close(found[grey], tv.rgb_to_grayscale(images[grey], 3))
    assert 137 < grey.sum() < 263


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99))
def test_jitter_is_torchvisions_operations_in_the_order_of_each_image(seed):
    images = pictures(seed=seed)
    images[0] = 0.25  # without a hue
    factors = 0.6 + 0.8 * torch.rand(6, 4, generator=seeded(seed))
    factors[:, 3] = 0.25 * (factors[:, 3] - 1)
    orders = torch.rand(6, 4, generator=seeded(seed + 1)).argsort(1)
    changed = torch.rand(6, generator=seeded(seed + 2)) < 0.8
    found = augment.jitter(images, factors, orders, changed)
    operations = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for row in range(6):
        expected = images[row]
        for number in orders[row].tolist() if changed[row] else []:
            expected = operations[number](expected, factors[row, number].item())
        # 1e-4: a hue of nearly grey pixels magnifies float32 rounding by 1 / chroma
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-4)


def test_jitter_draws_factors_and_orders_for_each_image():
    image = pictures(1).expand(200, -1, -1, -1)
    found = augment.colour_jitter(image, seeded())
    same = (found == image).flatten(1).all(1)
    assert 12 < same.sum() < 70  # 40 expected of 200 at p = 0.8
    assert len({tuple(row.tolist()) for row in found[~same].flatten(1)}) == int((~same).sum())
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_same_seed_gives_the_same_images():
    for function in (augment.random_flip, augment.random_grey, augment.colour_jitter):
        assert torch.equal(function(pictures(), seeded(3)), function(pictures(), seeded(3)))


def test_resized_crops_of_the_whole_image_are_the_image():
    images = pictures(4, 8)
    found = augment.random_resized_crop(images, 8, seeded(), scale=(1, 1), ratio=(1, 1))
    torch.testing.assert_close(found, images)


def test_resized_crops_of_a_ramp_stay_ramps_between_its_ends():
    ramp = torch.linspace(0, 1, 32).expand(50, 3, 32, 32)
    found = augment.random_resized_crop(ramp, 32, seeded(), scale=(0.2, 1.0))
    steps = found.diff(dim=-1)
    assert (steps > -1e-6).all()
    assert found.amin() >= 0
    assert found.amax() <= 1
    assert found[:, :, :, -1].std() > 0.01  # each image has a crop of its own


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 99))
def test_crop_boxes_lie_inside_the_image(height, width, seed):
    top, left, tall, wide = augment.crop_box(height, width, seeded(seed), scale=(0.2, 1.0)).tolist()
    assert 0 <= top < top + tall <= height
    assert 0 <= left < left + wide <= width


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_draws_of_the_cpu():
    images = pictures()
    for function in (augment.random_flip, augment.random_grey, augment.colour_jitter):
        torch.testing.assert_close(function(images.to("cuda"), seeded()).cpu(), function(images, seeded()))
    torch.testing.assert_close(
        augment.random_crop(images.to("cuda"), 2, seeded()).cpu(), augment.random_crop(images, 2, seeded())
    )
