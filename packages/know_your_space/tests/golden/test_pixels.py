"""transforms, augmix_*, jigsaw and randconv: from stored images to outliers, pixel by pixel."""

from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from know_your_space.augmix import CHAINS, DEPTH, AugMixDraws, augmix, canvas_side
from know_your_space.data.classes import recode
from know_your_space.jigsaw import shuffle_tiles
from know_your_space.operators import OPERATORS, apply_operators, codes
from know_your_space.randconv import Kernel, draw_kernel, random_convolution, valid_range
from know_your_space.transforms import (
    MEAN,
    REVERSED_SETS,
    STD,
    AffineDraws,
    affine,
    as_rgb,
    evaluation_transform,
)
from ood_shared.testing.golden import Golden, cases, check_each, golden_dir, stems, tensors
from torch import Tensor

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
OPS, MIX, MIX_DRAWS = GOLDEN.npz("augmix_ops"), GOLDEN.npz("augmix_mix"), GOLDEN.json("augmix_mix")
SHUFFLES, CONVOLUTIONS, TRANSFORMS = GOLDEN.npz("jigsaw"), GOLDEN.npz("randconv"), GOLDEN.npz("transforms")
SETS = stems(TRANSFORMS, "*/images", "*/item_image", "*/item_label")
ITEM_ATOL, MIX_ATOL, CONVOLUTION_ATOL = 1e-6, 1e-5, 1e-5


WITHOUT_LEVEL = ("autocontrast", "equalize")
DIRECTED = ("rotate", "shear", "translate")


def strength(level: str) -> float:
    """u of a key: `level0.7`, or the number of a level."""
    return float(level.removeprefix("level")) if level.startswith("level") else float(OPS["levels"][int(level)])


def operator_cases() -> list[tuple[str, str, str, str, str, int]]:
    """(key, image, operator, level, sign, canvas) of every result, also of those that are missing.

    On the small canvas, an image has the same levels for every operator that has levels, and both signs for those that
    have a direction.
    """
    found = {tuple(key.split("/")) for key in OPS if key.startswith(("out/", "canvas"))}
    for image in {parts[1] for parts in found if parts[0] == "out"}:
        of_image = [parts[2:4] for parts in found if parts[:2] == ("out", image)]
        levels = {level for name, level in of_image if name not in WITHOUT_LEVEL}
        for name in OPERATORS:
            signs = ("pos", "neg") if name.startswith(DIRECTED) else ("pos",)
            pairs = product(["0"] if name in WITHOUT_LEVEL else levels, signs)
            found |= {("out", image, name, level, sign) for level, sign in pairs}
    canvas = {where: canvas_side(np.inf) if where == "out" else int(where[6:]) for where, *_ in found}
    return [("/".join(parts), *parts[1:], canvas[parts[0]]) for parts in sorted(found)]


CASES = operator_cases()


MIXTURES = cases(MIX, "img*", "out*", "ws*", "m*")


def channels_first(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.moveaxis(image, -1, -3).copy())


def test_the_listed_operators_are_those_of_the_package() -> None:
    assert set(map(str, OPS["ops"])) <= set(OPERATORS)


@pytest.mark.parametrize(("key", "image", "name", "level", "sign", "canvas"), CASES, ids=[key for key, *_ in CASES])
def test_an_operator_gives_the_recorded_pixels(
    key: str, image: str, name: str, level: str, sign: str, canvas: int
) -> None:
    pixels = channels_first(OPS[f"img/{image}"])[None]
    settings = torch.tensor([strength(level)], dtype=torch.float64), torch.tensor([sign == "neg"])
    ((_, found),) = apply_operators(pixels, codes(name), *settings, canvas)
    np.testing.assert_array_equal(found[0], channels_first(OPS[key]))


def recorded(entry: dict, number: str) -> AugMixDraws:
    """The draws of one image; the random affine map is the identity."""
    steps = [[chain[i] if i < len(chain) else None for i in range(DEPTH)] for chain in entry["chains"]]
    filled = [[step or {"op": OPERATORS[0]} for step in chain] for chain in steps]

    def values(read) -> Tensor:
        return torch.tensor([[[read(step) for step in chain] for chain in filled]])

    return AugMixDraws(
        weights=torch.from_numpy(MIX[f"ws{number}"])[None],
        mix=torch.from_numpy(MIX[f"m{number}"].reshape(1)),
        depth=torch.tensor([[len(chain) for chain in entry["chains"]]]),
        operators=values(lambda step: OPERATORS.index(step["op"])),
        magnitudes=values(lambda step: step.get("level", 0.0)).double(),
        negative=values(lambda step: step.get("u_sign", 0.0) > 0.5),
        affine=AffineDraws(torch.zeros(1 + CHAINS).double(), torch.zeros(1 + CHAINS, 2).double()),
    )


@pytest.mark.parametrize("number", MIXTURES)
def test_a_mixture_with_recorded_draws_agrees(number: str) -> None:
    entry = MIX_DRAWS[int(number)]
    pixels = channels_first(MIX[f"img{number}"])[None]
    found = augmix(pixels, recorded(entry, number), canvas_side(entry["severity"]))
    np.testing.assert_allclose(found[0], MIX[f"out{number}"], rtol=0, atol=MIX_ATOL)


@pytest.mark.parametrize("number", stems(MIX, "img*", "ws*", "m*"))
def test_the_literal_reference_draws_the_recorded_numbers(number: str, literal_augmix: ModuleType) -> None:
    entry = MIX_DRAWS[int(number)]
    found = literal_augmix.draw(entry["severity"], np.random.RandomState(entry["numpy_seed"]))
    assert found["chains"] == entry["chains"]
    check_each(MIX, {f"ws{number}": found["ws"], f"m{number}": found["m"]}, np.testing.assert_array_equal)
    near = partial(np.testing.assert_allclose, rtol=1e-6)
    check_each(
        entry, {key: np.squeeze(found[key]) for key in ("ws", "m")}, lambda ours, theirs: near(ours, np.squeeze(theirs))
    )


@pytest.mark.parametrize("number", MIXTURES)
def test_the_literal_reference_gives_the_recorded_mixture(number: str, literal_augmix: ModuleType) -> None:
    entry = MIX_DRAWS[int(number)]
    picture = literal_augmix.Image.fromarray(MIX[f"img{number}"])
    draws = {"ws": MIX[f"ws{number}"], "m": MIX[f"m{number}"], "chains": entry["chains"]}
    found = literal_augmix.mix(picture, draws, canvas_side(entry["severity"]))
    np.testing.assert_allclose(found, MIX[f"out{number}"], rtol=0, atol=MIX_ATOL)


@pytest.mark.parametrize("number", cases(SHUFFLES, "x*", "perm*", "y*"))
def test_tiles_are_laid_out_as_recorded(number: str) -> None:
    x, permutations = tensors(SHUFFLES, f"x{number}", f"perm{number}")
    np.testing.assert_array_equal(shuffle_tiles(x, permutations), SHUFFLES[f"y{number}"])


@pytest.mark.parametrize("number", stems(SHUFFLES, "k*"))
def test_a_permutation_has_a_place_for_every_tile(number: str) -> None:
    (permutations,) = tensors(SHUFFLES, f"perm{number}")
    assert permutations.shape[1] == int(SHUFFLES[f"k{number}"]) ** 2


@pytest.mark.parametrize("size", cases(CONVOLUTIONS, "w*", "b*", "x*", "y*"))
def test_random_convolutions_agree(size: str) -> None:
    x, weight, bias = tensors(CONVOLUTIONS, f"x{size}", f"w{size}", f"b{size}")
    found = random_convolution(x, Kernel(weight, bias))
    np.testing.assert_allclose(found, CONVOLUTIONS[f"y{size}"], rtol=0, atol=CONVOLUTION_ATOL)


def test_valid_pixels_reach_the_recorded_range() -> None:
    low, high = valid_range()
    check_each(CONVOLUTIONS, {"range_low": low, "range_up": high}, partial(np.testing.assert_allclose, rtol=1e-6))


def own_statistics(sizes: list[int], n: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    kernels = [draw_kernel(sizes, generator) for _ in range(n)]
    return np.array([[k.weight.shape[-1], k.weight.std().item(), k.bias.abs().max().item()] for k in kernels])


@pytest.mark.parametrize("whose", ["recorded", "own"])
def test_kernels_have_the_documented_law(whose: str) -> None:
    """Both the recorded draws and ours, so that a wrong law cannot pass on one side only."""
    stats = CONVOLUTIONS["draw_stats"]
    sizes, counts = np.unique(stats[:, 0].astype(int), return_counts=True)
    if whose == "own":
        stats = own_statistics(sizes.tolist(), len(stats))
        counts = np.array([(stats[:, 0] == size).sum() for size in sizes])
    share = 1 / len(sizes)
    assert np.abs(counts / len(stats) - share).max() < 5 * np.sqrt(share * (1 - share) / len(stats))
    for size in sizes:
        rows, bound = stats[stats[:, 0] == size], 1 / (size * np.sqrt(3))
        spread = bound / np.sqrt(2 * 9 * size**2)  # of the standard deviation of one draw
        assert abs(rows[:, 1].mean() - bound) < 5 * spread / np.sqrt(len(rows))
        assert rows[:, 2].max() <= bound
        assert rows[:, 2].mean() == pytest.approx(0.75 * bound, rel=0.25)  # of the largest of three uniform numbers


def test_the_normalisation_is_the_recorded_one() -> None:
    check_each(TRANSFORMS, {"normalize_mean": MEAN, "normalize_std": STD}, np.testing.assert_array_equal)


@pytest.mark.parametrize("name", SETS)
def test_evaluation_items_agree(name: str) -> None:
    stored = TRANSFORMS[f"{name}/images"][TRANSFORMS[f"{name}/index"]]
    found = evaluation_transform(as_rgb(stored, reverse=name in REVERSED_SETS))
    np.testing.assert_allclose(found, TRANSFORMS[f"{name}/item_image"], rtol=0, atol=ITEM_ATOL)


@pytest.mark.parametrize("name", stems(TRANSFORMS, "*/outlier_base_image"))
def test_outliers_are_never_reversed(name: str) -> None:
    found = evaluation_transform(as_rgb(TRANSFORMS[f"{name}/images"][TRANSFORMS[f"{name}/index"]]))
    np.testing.assert_allclose(found, TRANSFORMS[f"{name}/outlier_base_image"], rtol=0, atol=ITEM_ATOL)


@pytest.mark.parametrize("name", SETS)
def test_labels_of_a_set_agree(name: str) -> None:
    np.testing.assert_array_equal(recode(TRANSFORMS[f"{name}/csv_labels"]), TRANSFORMS[f"{name}/item_label"])


@pytest.mark.parametrize("number", stems(TRANSFORMS, "affine/out*"))
def test_the_affine_map_agrees(number: str) -> None:
    degrees, x, y = TRANSFORMS["affine/params"][int(number)]
    where = torch.tensor([degrees], dtype=torch.float64), torch.tensor([[x, y]], dtype=torch.float64)
    found = affine(channels_first(TRANSFORMS["affine/img"])[None], *where)
    np.testing.assert_array_equal(found[0], channels_first(TRANSFORMS[f"affine/out{number}"]))
