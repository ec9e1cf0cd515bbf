"""Outliers of type 2: class shells, their samples, and the images decoded from them."""

import math

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError
from ood_shared.testing.golden import fill_state_dict
from oodgen.on_manifold import (
    Shells,
    fit_class_shells,
    mahalanobis,
    make_on_manifold,
    mean_and_covariance,
    published_factor,
    sample_shells,
    shell_points,
    shell_radius,
    sphere_points,
)
from oodgen.vae import build_vae
from torch import Tensor

CLASSES, DIM = 3, 5
FACTORS = pytest.mark.parametrize("factor", ["rank", "cholesky", "seed"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def class_codes(rank: int = DIM, per_class: int = 80) -> tuple[Tensor, Tensor]:
    """Correlated codes that fill `rank` dimensions, each class elsewhere."""
    generator = seeded(rank)
    parts = []
    for _ in range(CLASSES):
        span = torch.randn(rank, DIM, generator=generator, dtype=torch.float64)
        offset = torch.randn(DIM, generator=generator, dtype=torch.float64)
        parts.append(torch.randn(per_class, rank, generator=generator, dtype=torch.float64) @ span + offset)
    return torch.cat(parts), torch.arange(CLASSES).repeat_interleave(per_class)


def fit(rank: int = DIM, factor: str = "rank") -> Shells:
    return fit_class_shells(*class_codes(rank), CLASSES, factor)


def ratios(shells: Shells, n: int = 600) -> Tensor:
    """Mahalanobis distance over the radius of the class, for samples of all classes."""
    labels = torch.arange(n) % CLASSES
    codes = sample_shells(shells, labels, seeded())
    parts = zip(codes, labels, strict=True)
    return torch.stack(
        [mahalanobis(z[None], shells.mean[c], shells.precision[c])[0] / shells.radius[c] for z, c in parts]
    )


def test_covariance_has_the_divisor_n_minus_one() -> None:
    codes, _ = class_codes()
    np.testing.assert_allclose(mean_and_covariance(codes)[1], np.cov(codes.numpy().T), rtol=1e-12)


def test_distance_of_a_hand_computed_case() -> None:
    found = mahalanobis(torch.tensor([[3.0, 0.0]]), torch.tensor([1.0, 0.0]), torch.diag(torch.tensor([4.0, 1.0])))
    assert found.tolist() == [4.0]


@pytest.mark.parametrize(("n", "index"), [(1, 0), (2, 1), (19, 18), (20, 19), (21, 19), (100, 95)])
def test_the_radius_is_the_distance_at_floor_95_percent(n: int, index: int) -> None:
    distances = torch.arange(n, dtype=torch.float64).flip(0)
    assert shell_radius(distances).item() == index


@pytest.mark.parametrize("rank", range(1, DIM + 1))
def test_the_rank_is_that_of_the_codes(rank: int) -> None:
    assert fit(rank).rank.tolist() == [rank] * CLASSES


@pytest.mark.parametrize("rank", range(1, DIM + 1))
def test_every_sample_lies_in_the_shell_whatever_the_rank(rank: int) -> None:
    found = ratios(fit(rank))
    assert found.min() >= 1 - 1e-9, found.min()
    assert found.max() <= 1.5 + 1e-9, found.max()


@pytest.mark.parametrize("rank", range(1, DIM + 1))
def test_samples_stay_in_the_support_of_their_class(rank: int) -> None:
    shells = fit(rank)
    labels = torch.arange(60) % CLASSES
    offsets = sample_shells(shells, labels, seeded()) - shells.mean[labels]
    support = (shells.precision @ shells.cov)[labels]
    torch.testing.assert_close((support @ offsets.unsqueeze(-1)).squeeze(-1), offsets, rtol=0, atol=1e-9)


def test_radii_of_the_samples_are_uniform_in_the_shell() -> None:
    found = ratios(fit(), 3000)
    counts = torch.histc(found, bins=5, min=1, max=1.5)
    assert (counts - 600).abs().max() < 4 * math.sqrt(600)


def test_cholesky_samples_lie_in_the_shell_at_full_rank() -> None:
    found = ratios(fit(factor="cholesky"))
    assert found.min() >= 1 - 1e-9, found.min()
    assert found.max() <= 1.5 + 1e-9, found.max()


def test_the_published_factor_leaves_the_shell() -> None:
    found = ratios(fit(factor="seed"))
    assert ((found < 1) | (found > 1.5)).double().mean() > 0.1


@pytest.mark.parametrize("factor", ["rank", "cholesky"])
def test_the_factor_is_a_root_of_the_covariance(factor: str) -> None:
    shells = fit(factor=factor)
    torch.testing.assert_close(shells.factor @ shells.factor.mT, shells.cov, rtol=0, atol=1e-12)


def test_the_rank_factor_has_the_second_moment_of_the_cholesky_factor() -> None:
    labels = torch.zeros(20_000, dtype=torch.int64)
    moments = []
    for factor in ("rank", "cholesky"):
        shells = fit(factor=factor)
        offsets = sample_shells(shells, labels, seeded()) - shells.mean[0]
        moments.append(offsets.T @ offsets / len(labels))
    # standard error of an entry: about its size * sqrt(2 / 20 000) = 1 %
    torch.testing.assert_close(moments[0], moments[1], rtol=0, atol=0.04 * moments[1].abs().max().item())


def test_the_published_factor_of_a_diagonal_covariance_is_choleskys() -> None:
    cov = torch.diag(torch.tensor([4.0, 0.25, 9.0], dtype=torch.float64))
    torch.testing.assert_close(published_factor(cov), torch.linalg.cholesky(cov))


def test_the_published_factor_equals_the_loop_of_the_published_programs() -> None:
    cov = mean_and_covariance(class_codes()[0])[1]
    expected = torch.zeros(DIM, DIM, dtype=torch.float64)
    for i in range(DIM):
        for j in range(i + 1):
            rest = cov[j, j] - sum(expected[j, k] ** 2 for k in range(j))
            expected[i, j] = cov[i, j] / math.sqrt(abs(rest))
    torch.testing.assert_close(published_factor(cov), expected)


def test_the_published_factor_of_a_collapsed_dimension_is_finite() -> None:
    cov = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 1.0]], dtype=torch.float64)
    found = published_factor(cov)
    assert found.isfinite().all()
    assert not found[1].any()


@FACTORS
def test_radii_do_not_depend_on_the_factor(factor: str) -> None:
    torch.testing.assert_close(fit(factor=factor).radius, fit().radius)


def test_about_95_percent_of_the_class_lie_within_the_radius() -> None:
    codes, labels = class_codes(per_class=400)
    shells = fit_class_shells(codes, labels, CLASSES)
    inside = mahalanobis(codes[labels == 1], shells.mean[1], shells.precision[1]) < shells.radius[1]
    assert inside.sum().item() == 380


def test_the_cut_separates_noise_from_spread() -> None:
    codes, labels = class_codes(2)
    noisy = codes + 1e-5 * torch.randn(codes.shape, generator=seeded(), dtype=torch.float64)
    assert fit_class_shells(noisy, labels, CLASSES).rank.tolist() == [2] * CLASSES
    assert fit_class_shells(noisy, labels, CLASSES, rank_cut=1e-14).rank.tolist() == [DIM] * CLASSES


def test_points_on_a_sphere_have_its_radius() -> None:
    radius = torch.rand(50, generator=seeded(), dtype=torch.float64) + 1
    found = sphere_points(radius, torch.randn(50, 784, generator=seeded(1), dtype=torch.float64))
    torch.testing.assert_close(found.norm(dim=1), radius, rtol=1e-14, atol=0)


def test_shell_points_by_hand() -> None:
    factor, mean = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([10.0, 20.0])
    found = shell_points(torch.tensor([5.0]), torch.tensor([[3.0, 4.0]]), factor, mean)  # u = (3, 4)
    torch.testing.assert_close(found, torch.tensor([[16.0, 27.0]]))


def test_one_seed_gives_one_sample() -> None:
    labels = torch.tensor([0, 2, 1])
    assert torch.equal(sample_shells(fit(), labels, seeded()), sample_shells(fit(), labels, seeded()))


def test_float32_codes_give_float64_shells() -> None:
    codes, labels = class_codes()
    assert fit_class_shells(codes.float(), labels, CLASSES).factor.dtype == torch.float64


def test_an_unknown_factor_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean `cholesky`"):
        fit(factor="choleski")


def test_cholesky_is_refused_at_short_rank_with_the_class() -> None:
    with pytest.raises(InputError, match=r"class 0 fill 2 of 5 latent dimensions.*Use --maha_factor rank"):
        fit(2, "cholesky")


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_without_a_covariance_is_refused(count: int) -> None:
    codes, labels = class_codes()
    kept = (labels != 1) | (torch.arange(len(labels)) < 80 + count)
    with pytest.raises(InputError, match=rf"Class 1 has {count} code\(s\)"):
        fit_class_shells(codes[kept], labels[kept], CLASSES)


def test_a_collapsed_class_is_refused_with_advice() -> None:
    codes, labels = class_codes()
    codes[labels == 2] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    with pytest.raises(InputError, match=r"class 2 are equal.*--latent sample"):
        fit_class_shells(codes, labels, CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_codes_that_are_not_finite_are_refused(value: float) -> None:
    codes, labels = class_codes()
    codes[3, 1] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        fit_class_shells(codes, labels, CLASSES)


def test_labels_and_codes_of_different_number_are_refused() -> None:
    codes, labels = class_codes()
    with pytest.raises(InputError, match="do not belong together"):
        fit_class_shells(codes[1:], labels, CLASSES)


def test_a_label_out_of_range_is_refused_when_fitting() -> None:
    codes, labels = class_codes()
    with pytest.raises(InputError, match=r"not one of 0\.\.1"):
        fit_class_shells(codes, labels, 2)


def test_a_label_without_a_shell_is_refused_when_sampling() -> None:
    with pytest.raises(InputError, match=r"Label 3 at position 1"):
        sample_shells(fit(), torch.tensor([0, 3]), seeded())


@pytest.mark.parametrize("architecture", ["doc", "paper"])
def test_decoded_samples_are_images_in_the_unit_range(architecture: str) -> None:
    vae = fill_state_dict(build_vae(architecture, CLASSES, DIM))
    found = make_on_manifold(vae, fit(2), torch.arange(7) % CLASSES, seeded())
    assert (found.shape, found.dtype) == ((7, 1, 28, 28), torch.float32)
    assert found.min() >= 0
    assert found.max() <= 1


def test_decoded_samples_are_the_decoders_images_of_the_codes() -> None:
    vae, labels = fill_state_dict(build_vae("doc", CLASSES, DIM)), torch.arange(7) % CLASSES
    codes = sample_shells(fit(), labels, seeded()).float()
    with torch.no_grad():
        expected = vae.decoder(codes, torch.eye(CLASSES)[labels])
    torch.testing.assert_close(make_on_manifold(vae, fit(), labels, seeded()), expected, rtol=0, atol=1e-6)


def test_the_chunk_does_not_change_the_images() -> None:
    vae, labels = fill_state_dict(build_vae("doc", CLASSES, DIM)), torch.arange(7) % CLASSES
    whole, parts = (make_on_manifold(vae, fit(), labels, seeded(), chunk) for chunk in (100, 2))
    torch.testing.assert_close(whole, parts, rtol=0, atol=2e-5)  # float32 sums in another order


def test_the_mode_of_the_network_is_restored() -> None:
    vae = build_vae("doc", CLASSES, DIM).train()
    make_on_manifold(vae, fit(), torch.zeros(2, dtype=torch.int64), seeded())
    assert vae.training


def test_no_labels_give_no_images() -> None:
    vae = build_vae("doc", CLASSES, DIM)
    assert make_on_manifold(vae, fit(), torch.zeros(0, dtype=torch.int64), seeded()).shape == (0, 1, 28, 28)
