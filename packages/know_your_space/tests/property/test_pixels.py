"""Outliers for sizes, severities and numbers of images that nobody thought of."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from know_your_space.augmix import augmix, draw_augmix
from know_your_space.jigsaw import draw_permutations, shuffle_tiles
from know_your_space.outliers import OPERATORS, pixel_outliers
from know_your_space.randconv import valid_range


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 6),
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0.2, 30),
    st.integers(1, 48),
    st.integers(0, 2**31),
)
def test_mixtures_are_valid_images(n: int, height: int, width: int, severity: float, canvas: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)
    found = augmix(pixels, draw_augmix(n, severity, generator), canvas)
    low, high = valid_range()
    assert found.shape == (n, 3, 32, 32)
    assert ((found >= low - 1e-5) & (found <= high + 1e-5)).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.data())
def test_an_image_is_mixed_alike_alone_and_in_a_batch(n: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    pixels = torch.randint(0, 256, (n, 3, 28, 28), dtype=torch.uint8, generator=generator)
    draws = draw_augmix(n, 11, generator)
    i = data.draw(st.integers(0, n - 1))
    places = torch.cat([torch.tensor([i]), n + 3 * i + torch.arange(3)])
    own = type(draws)(
        *(values[i : i + 1] for values in draws[:-1]), type(draws.affine)(*(values[places] for values in draws.affine))
    )
    torch.testing.assert_close(augmix(pixels[i : i + 1], own, 32)[0], augmix(pixels, draws, 32)[i], rtol=0, atol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_shuffling_back_gives_the_image(n: int, tiles: int, side: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 2, tiles * side, tiles * side, generator=generator)
    permutations = draw_permutations(n, tiles, generator)
    there = shuffle_tiles(images, permutations)
    # Tile p[b k + a] of the image stands at a k + b: so tile t must be fetched from where p has t.
    transposed = torch.arange(tiles**2).view(tiles, tiles).T.flatten()
    back = transposed[permutations.argsort(dim=1)][:, transposed]
    assert torch.equal(shuffle_tiles(there, back), images)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 5), st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=3), st.integers(0, 2**31))
def test_any_choice_of_operators_gives_one_outlier_for_each_image(n: int, operators: list[str], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, 28, 28), dtype=torch.uint8, generator=generator)
    assert pixel_outliers(pixels, operators, 11, generator).shape == (n, 3, 32, 32)
