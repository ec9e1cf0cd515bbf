"""AugMix on batches against Pillow, one image at a time; its draws."""

from types import ModuleType

import pytest
import torch
from know_your_space.augmix import CHAINS, AugMixDraws, augmix, canvas_side, draw_augmix
from know_your_space.operators import OPERATORS, apply_operators, codes, warp
from ood_shared.errors import InputError
from PIL import Image
from scipy import stats
from torch import Tensor
from torchvision.transforms import functional

ATOL = 1e-5  # float32 sums of four terms, in another order


def pictures(n: int, height: int = 28, width: int = 28) -> Tensor:
    """Smooth structure with some noise: neither flat nor white."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(n, 3, 7, 7, generator=generator) * 300 - 20
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    return (fine + 6 * torch.randn(fine.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def as_pillow(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("canvas", [32, 224])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (21, 40)])
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_gives_pillows_pixels(
    name: str, height: int, width: int, canvas: int, literal_augmix: ModuleType, generator: torch.Generator
) -> None:
    pixels = pictures(8, height, width)
    magnitudes = 0.1 + 12.9 * torch.rand(8, generator=generator, dtype=torch.float64)
    negative = torch.rand(8, generator=generator) > 0.5
    ((rows, found),) = apply_operators(pixels, codes(*[name] * 8), magnitudes, negative, canvas)
    assert rows.tolist() == list(range(8))
    for image, result, u, sign in zip(pixels, found, magnitudes, negative, strict=True):
        expected = literal_augmix.operate(as_pillow(image), name, u.item(), bool(sign), canvas)
        assert torch.equal(result.permute(1, 2, 0), torch.from_numpy(literal_augmix.np.array(expected)))


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("name", OPERATORS)
def test_flat_images_are_no_exception(name: str, value: int, literal_augmix: ModuleType) -> None:
    pixels = torch.full((1, 3, 28, 28), value, dtype=torch.uint8)
    settings = torch.tensor([5.0]).double(), torch.tensor([False])
    ((_, found),) = apply_operators(pixels, codes(name), *settings, 32)
    expected = literal_augmix.operate(as_pillow(pixels[0]), name, 5.0, False, 32)
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(literal_augmix.np.array(expected)))


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("name", OPERATORS)
def test_tiny_images_are_no_exception(name: str, side: int, literal_augmix: ModuleType) -> None:
    pixels = pictures(1, side, side)
    settings = torch.tensor([5.0]).double(), torch.tensor([False])
    ((_, found),) = apply_operators(pixels, codes(name), *settings, 32)
    expected = literal_augmix.operate(as_pillow(pixels[0]), name, 5.0, False, 32)
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(literal_augmix.np.array(expected)))


def test_every_image_gets_its_own_operator(generator: torch.Generator) -> None:
    pixels, n = pictures(26), 26
    operators = torch.arange(n) % len(OPERATORS)
    settings = 11 * torch.rand(n, generator=generator).double(), torch.rand(n, generator=generator) > 0.5
    seen = []
    for rows, found in apply_operators(pixels, operators, *settings, 32):
        for row, image in zip(rows.tolist(), found, strict=True):
            one = (values[row : row + 1] for values in (operators, *settings))
            ((_, alone),) = apply_operators(pixels[row : row + 1], *one, 32)
            assert torch.equal(image, alone[0])
            seen.append(row)
    assert sorted(seen) == list(range(n))


def test_a_warp_that_changes_nothing_keeps_every_pixel() -> None:
    pixels = pictures(2)
    identity = torch.tensor([[1.0, 0, 0, 0, 1, 0]]).double().repeat(2, 1)
    assert torch.equal(warp(pixels, identity, (28, 28)), pixels)


def chain_steps(draws: AugMixDraws, i: int) -> dict:
    chains = [
        [
            {
                "op": OPERATORS[draws.operators[i, c, k]],
                "level": draws.magnitudes[i, c, k].item(),
                "u_sign": float(draws.negative[i, c, k]),
            }
            for k in range(draws.depth[i, c])
        ]
        for c in range(CHAINS)
    ]
    return {"ws": draws.weights[i], "m": draws.mix[i], "chains": chains}


@pytest.mark.parametrize(("severity", "n"), [(11, 60), (5, 20), (3, 12)])
def test_a_batch_gives_the_mixtures_of_the_literal_route(
    severity: int, n: int, literal_augmix: ModuleType, generator: torch.Generator
) -> None:
    pixels, draws, canvas = pictures(n), draw_augmix(n, severity, generator), canvas_side(severity)
    found = augmix(pixels, draws, canvas)
    for i in range(n):

        def place(image: Image.Image, number: int, i: int = i) -> Image.Image:
            row = i if number == 0 else n + CHAINS * i + number - 1
            shift = [round(0.05 * side * u.item()) for side, u in zip(image.size, draws.affine.shift[row], strict=True)]
            return functional.affine(image, draws.affine.degrees[row].item(), shift, 1.0, [0.0, 0.0])

        expected = literal_augmix.mix(as_pillow(pixels[i]), chain_steps(draws, i), canvas, place)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=ATOL)


def test_images_that_fill_the_canvas_from_the_start_are_mixed_as_well(generator: torch.Generator) -> None:
    draws = draw_augmix(6, 11, generator)
    assert augmix(pictures(6, 32, 32), draws, 32).isfinite().all()


def test_no_mixing_leaves_the_moved_image(generator: torch.Generator) -> None:
    pixels, draws = pictures(4), draw_augmix(4, 11, generator)._replace(mix=torch.zeros(4))
    still = draws._replace(affine=type(draws.affine)(torch.zeros(16).double(), torch.zeros(16, 2).double()))
    expected = torch.stack([functional.normalize(x / 255, MEAN, STD) for x in resized(pixels)])
    torch.testing.assert_close(augmix(pixels, still, 32), expected)


MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def resized(pixels: Tensor) -> Tensor:
    images = [as_pillow(x).resize((32, 32), Image.Resampling.BILINEAR) for x in pixels]
    return torch.stack([functional.pil_to_tensor(image) for image in images])


def test_an_empty_batch_stays_empty(generator: torch.Generator) -> None:
    assert augmix(pictures(0), draw_augmix(0, 11, generator), 32).shape == (0, 3, 32, 32)


def test_the_same_generator_gives_the_same_mixtures() -> None:
    found = [augmix(pictures(4), draw_augmix(4, 11, torch.Generator().manual_seed(3)), 32) for _ in range(2)]
    assert torch.equal(*found)


def test_mixing_weights_are_uniform_on_the_simplex(generator: torch.Generator) -> None:
    draws = draw_augmix(4000, 11, generator)
    torch.testing.assert_close(draws.weights.sum(dim=1), torch.ones(4000))
    for i in range(CHAINS):  # each weight of Dirichlet(1, 1, 1) is Beta(1, 2)
        assert stats.kstest(draws.weights[:, i].numpy(), stats.beta(1, 2).cdf).pvalue > 1e-4
    assert stats.kstest(draws.mix.numpy(), "uniform").pvalue > 1e-4


def test_depths_and_operators_are_uniform(generator: torch.Generator) -> None:
    draws = draw_augmix(3000, 11, generator)
    for values, kinds in ((draws.depth - 1, 3), (draws.operators, len(OPERATORS))):
        counts = torch.bincount(values.flatten(), minlength=kinds)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_magnitudes_reach_from_a_tenth_to_the_severity(generator: torch.Generator) -> None:
    magnitudes = draw_augmix(3000, 7, generator).magnitudes
    assert 0.1 <= magnitudes.min() < 0.11
    assert 6.99 < magnitudes.max() < 7


@pytest.mark.parametrize("severity", [0.1, -1, float("nan"), float("inf")])
def test_a_severity_out_of_range_is_refused(severity: float, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="--augmix_severity"):
        draw_augmix(1, severity, generator)


@pytest.mark.parametrize(("severity", "side"), [(11, 32), (5, 32), (4.9, 224)])
def test_the_canvas_grows_below_severity_five(severity: float, side: int) -> None:
    assert canvas_side(severity) == side
