"""Resizing, grey and RGB: identities, hand-computed values, Pillow as the outside reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.datasets import ImageSet, fit, luma, resize
from ood_shared.errors import InputError
from PIL import Image


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_luma_of_equal_channels_is_that_channel():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(luma(ramp.expand(1, 3, 16, 16)), ramp)


def test_luma_equals_the_integer_formula_and_pillow():
    images = noise(5, 3, 17, 13)
    red, green, blue = images.long().unbind(1)
    by_hand = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    assert torch.equal(luma(images)[:, 0].long(), by_hand)
    by_pillow = np.asarray(Image.fromarray(images[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.array_equal(luma(images)[0, 0].numpy(), by_pillow)


def test_same_size_leaves_every_pixel():
    images = noise(3, 3, 9, 7)
    assert torch.equal(resize(images, (9, 7), 3), images)


def test_arrays_and_tensors_give_the_same():
    images = noise(4, 3, 12, 10)
    array = images.permute(0, 2, 3, 1).contiguous().numpy()
    assert torch.equal(resize(array, (5, 6), 3), resize(images, (5, 6), 3))


def test_array_is_copied_and_may_be_read_only():
    array = np.zeros((1, 4, 4, 1), dtype=np.uint8)
    array.setflags(write=False)
    resize(array, (4, 4), 1).add_(7)
    assert array.max() == 0


def test_grey_to_rgb_repeats_the_channel():
    images = noise(2, 1, 8, 8)
    coloured = resize(images, (8, 8), 3)
    assert all(torch.equal(coloured[:, [channel]], images) for channel in range(3))


def test_constant_images_stay_constant():
    for value in (0, 1, 127, 254, 255):
        images = torch.full((1, 1, 28, 28), value, dtype=torch.uint8)
        assert resize(images, (37, 11), 1).unique().tolist() == [value]


@pytest.mark.parametrize("size", [(16, 16), (14, 20), (50, 40), (1, 1)])
def test_resize_agrees_with_pillow_within_one_level(size):
    image = noise(1, 1, 32, 32)
    mine = resize(image, size, 1)[0, 0].int().numpy()
    theirs = np.asarray(Image.fromarray(image[0, 0].numpy()).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    # Pillow keeps 22-bit fixed-point weights and rounds after each of its two passes
    assert np.abs(mine - theirs).max() <= 1


def test_reducing_is_antialiased():
    stripes = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 254
    reduced = resize(stripes, (8, 8), 1)
    assert (reduced.float() - 127).abs().max() < 10, reduced.unique()


def test_native_takes_the_sharpness_that_an_enlarged_id_set_does_not_have():
    sharp = noise(1, 1, 32, 32)
    softened = resize(sharp, (32, 32), 1, native=(8, 8))
    assert torch.equal(softened, resize(resize(sharp, (8, 8), 1), (32, 32), 1))
    edges = [image.float().diff(dim=-1).abs().mean().item() for image in (sharp, softened)]
    assert edges[1] < edges[0] / 4, edges


def test_native_leaves_images_that_are_not_larger():
    small = noise(1, 1, 8, 8)
    assert torch.equal(resize(small, (32, 32), 1, native=(8, 8)), resize(small, (32, 32), 1))
    assert torch.equal(resize(small, (32, 32), 1, native=(16, 16)), resize(small, (32, 32), 1))


def test_native_has_no_effect_when_id_is_not_enlarged():
    large = noise(1, 1, 64, 64)
    assert torch.equal(resize(large, (28, 28), 1, native=(28, 28)), resize(large, (28, 28), 1))


def test_many_images_equal_each_one_alone():
    images = noise(600, 3, 40, 40)  # more pixels than one chunk holds
    together = resize(images, (150, 150), 1)
    for number in (0, 299, 599):
        assert torch.equal(together[number], resize(images[[number]], (150, 150), 1)[0])


def test_no_images_give_no_images():
    assert resize(noise(0, 3, 8, 8), (4, 5), 1).shape == (0, 1, 4, 5)


@settings(deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]),
    st.sampled_from([1, 3]),
)  # fmt: skip
def test_any_size_comes_out_as_asked_within_the_range_of_the_input(height, width, new_height, new_width, found, wanted):
    images = noise(2, found, height, width)
    resized = resize(images, (new_height, new_width), wanted)
    assert resized.shape == (2, wanted, new_height, new_width)
    assert resized.dtype == torch.uint8
    assert resized.is_contiguous()
    assert images.min() <= resized.min() <= resized.max() <= images.max()


@pytest.mark.parametrize(("size", "channels"), [((0, 4), 1), ((4, 4), 2), ((4, -1), 3)])
def test_impossible_targets_are_refused(size, channels):
    with pytest.raises(InputError):
        resize(noise(1, 1, 4, 4), size, channels)


def test_fit_takes_the_centre_square():
    wide = np.zeros((1, 4, 10, 1), dtype=np.uint8)
    wide[:, :, 3:7] = 200
    images = ImageSet(wide, np.zeros(1, dtype=np.int64), ("a",), "none", "wide")
    assert fit(images, 2, 3).images.tolist() == np.full((1, 2, 2, 3), 200).tolist()
    assert fit(images, None, 3).images.shape == (1, 4, 10, 3)
    assert fit(images, None, None) is images
