"""Latent samples: against the literal route, against SciPy, and by hand."""

from types import ModuleType

import numpy as np
import pytest
import torch
from know_your_space.inliers import (
    chi_square_quantile,
    class_means,
    covariance_factor,
    draw_latent,
    extreme_noise,
    extreme_shares,
    latent_samples,
    pooled_covariance,
    select_by_norm,
)
from ood_shared.errors import InputError
from scipy import stats
from torch import Tensor

DIM, CLASSES, LENGTH = 16, 3, 60
SIGNIFICANCE = 1e-4  # one false alarm in ten thousand seeds, and the seed is fixed


@pytest.fixture(scope="module")
def queue() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(DIM, DIM, generator=generator) / 3
    offsets = 5 * torch.randn(CLASSES, 1, DIM, generator=generator)
    return torch.randn(CLASSES, LENGTH, DIM, generator=generator) @ mixing + offsets


def whitened(samples: Tensor, queue: Tensor) -> Tensor:
    """(classes, rows, dim): L^-1 (v - mu)."""
    means = class_means(queue)
    factor, _ = covariance_factor(pooled_covariance(queue, means))
    centred = samples.reshape(CLASSES, -1, DIM) - means.unsqueeze(1)
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT


def many(draw, generator: torch.Generator, queue: Tensor, times: int) -> Tensor:
    """`times` steps of (classes, select, dim) whitened samples, along the rows."""
    return torch.cat([whitened(draw(generator), queue) for _ in range(times)], dim=1)


@pytest.mark.parametrize("tail", ["far", "near"])
def test_radii_have_the_law_of_the_literal_route(literal_sampling: ModuleType, queue: Tensor, tail: str) -> None:
    select, sample_from, times = 5, 300, 60
    fast = many(
        lambda g: draw_latent(queue, select, sample_from, g, tail)[0], torch.Generator().manual_seed(1), queue, times
    )
    literal = many(
        lambda g: literal_sampling.literal_latent_samples(queue, select, sample_from, g, largest=tail == "near"),
        torch.Generator().manual_seed(2),
        queue,
        times,
    )
    found = stats.ks_2samp(fast.norm(dim=-1).flatten(), literal.norm(dim=-1).flatten())
    assert found.pvalue > SIGNIFICANCE, found


def test_every_order_statistic_has_the_law_of_the_literal_route(literal_sampling: ModuleType, queue: Tensor) -> None:
    select, sample_from, times = 3, 100, 150
    fast = many(lambda g: draw_latent(queue, select, sample_from, g)[0], torch.Generator().manual_seed(1), queue, times)
    slow = many(
        lambda g: literal_sampling.literal_latent_samples(queue, select, sample_from, g),
        torch.Generator().manual_seed(2),
        queue,
        times,
    )
    ordered = [r.norm(dim=-1).reshape(CLASSES, times, select).sort(dim=-1).values.flatten(0, 1) for r in (fast, slow)]
    for position in range(select):
        found = stats.ks_2samp(ordered[0][:, position], ordered[1][:, position])
        assert found.pvalue > SIGNIFICANCE, (position, found)


def test_selected_rows_have_the_mean_and_covariance_of_the_literal_route(
    literal_sampling: ModuleType, queue: Tensor
) -> None:
    select, sample_from, times = 10, 200, 120
    draws = [
        torch.stack([draw(g).reshape(CLASSES, select, DIM) for _ in range(times)]).transpose(0, 1).flatten(1, 2)
        for draw, g in (
            (lambda g: draw_latent(queue, select, sample_from, g)[0], torch.Generator().manual_seed(1)),
            (
                lambda g: literal_sampling.literal_latent_samples(queue, select, sample_from, g),
                torch.Generator().manual_seed(2),
            ),
        )
    ]  # (classes, rows, dim) each
    fast, literal = draws
    n, spread = fast.shape[1], literal.std(dim=1)
    standard_error = spread * (2 / n) ** 0.5
    assert ((fast.mean(dim=1) - literal.mean(dim=1)).abs() < 5 * standard_error).all()
    for k in range(CLASSES):
        first, second = torch.cov(fast[k].T), torch.cov(literal[k].T)
        scale = torch.outer(spread[k], spread[k])
        assert ((first - second).abs() < 6 * scale * (2 / n) ** 0.5).all()


def test_directions_are_uniform(generator: torch.Generator) -> None:
    noise = extreme_noise(1, 3, 4000, 4000, generator)[0]
    cosine = noise[:, 0] / noise.norm(dim=1)  # uniform on [-1, 1] in three dimensions
    assert stats.kstest(cosine.numpy(), stats.uniform(-1, 2).cdf).pvalue > SIGNIFICANCE


def test_all_draws_selected_are_plain_normal_numbers(generator: torch.Generator) -> None:
    noise = extreme_noise(1, 4, 3000, 3000, generator)
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > SIGNIFICANCE


def test_the_smallest_share_has_its_exact_law(generator: torch.Generator) -> None:
    shares = extreme_shares(3000, 2, 50, generator)
    for position in range(2):
        law = stats.beta(position + 1, 50 - position)
        assert stats.kstest(shares[:, position].numpy(), law.cdf).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("dim", [1, 2, 3, 8, 64, 128, 256, 1024])
def test_quantiles_are_those_of_scipy(dim: int) -> None:
    upper = np.concatenate([np.logspace(-14, -0.001, 60), 1 - np.logspace(-6, -0.5, 30)])
    found = chi_square_quantile(torch.from_numpy(upper), dim)
    np.testing.assert_allclose(found, stats.chi2.isf(upper, dim), rtol=1e-8)


def test_quantiles_of_zero_and_one_are_finite() -> None:
    assert chi_square_quantile(torch.tensor([0.0, 1.0], dtype=torch.float64), 128).isfinite().all()


def test_the_farthest_draws_are_the_least_likely(queue: Tensor, generator: torch.Generator) -> None:
    means = class_means(queue)
    covariance = pooled_covariance(queue, means)
    factor, _ = covariance_factor(covariance)
    noise = torch.randn(CLASSES, 200, DIM, generator=generator)
    z = latent_samples(means, factor, noise)
    density = torch.distributions.MultivariateNormal(means.unsqueeze(1), covariance).log_prob(z)
    for tail, largest in (("far", False), ("near", True)):
        expected = density.topk(7, largest=largest).indices.sort(dim=-1).values
        assert torch.equal(select_by_norm(noise, 7, tail).sort(dim=-1).values, expected)


def test_the_covariance_is_pooled_biased_and_raised() -> None:
    queue = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[5.0, 1.0], [5.0, 5.0]]])
    found = pooled_covariance(queue, class_means(queue))
    torch.testing.assert_close(found, torch.tensor([[0.501, 0.0], [0.0, 2.001]]))


def test_a_sound_covariance_gets_no_jitter(queue: Tensor) -> None:
    covariance = pooled_covariance(queue, class_means(queue))
    factor, jittered = covariance_factor(covariance)
    assert not jittered
    torch.testing.assert_close(factor, torch.linalg.cholesky(covariance))


def test_an_indefinite_covariance_is_raised_until_it_has_a_factor() -> None:
    covariance = torch.diag(torch.tensor([1.0, 1.0, -1e-5]))
    factor, jittered = covariance_factor(covariance)
    assert jittered
    torch.testing.assert_close(factor @ factor.T, covariance, rtol=0, atol=1e-4)


def test_a_covariance_that_is_not_finite_gives_nan_instead_of_silence() -> None:
    assert covariance_factor(torch.full((3, 3), torch.nan))[0].isnan().any()


def test_latent_samples_are_shifted_and_mixed_noise() -> None:
    factor = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    found = latent_samples(torch.tensor([[10.0, 20.0]]), factor, torch.tensor([[[1.0, 1.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[12.0, 24.0]]]))


def test_autocast_does_not_narrow_the_samples(queue: Tensor) -> None:
    expected = draw_latent(queue, 4, 20, torch.Generator().manual_seed(0))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = draw_latent(queue, 4, 20, torch.Generator().manual_seed(0))[0]
    assert torch.equal(found, expected)


def test_the_same_generator_gives_the_same_samples(queue: Tensor) -> None:
    first, second = (draw_latent(queue, 4, 20, torch.Generator().manual_seed(7))[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("select", [0, 21])
def test_more_selected_than_drawn_is_refused(queue: Tensor, select: int, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=rf"--select {select} needs .* which is 20"):
        draw_latent(queue, select, 20, generator)


def test_an_unknown_tail_is_refused(queue: Tensor, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="far or near, got `middle`"):
        draw_latent(queue, 4, 20, generator, tail="middle")
