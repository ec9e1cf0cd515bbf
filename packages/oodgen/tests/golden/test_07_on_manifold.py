"""07, 07b and 14: class statistics, points on spheres and shells, classes of short rank."""

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.on_manifold import (
    Shells,
    fit_class_shells,
    mahalanobis,
    published_factor,
    sample_shells,
    shell_points,
    sphere_points,
)
from oodgen.vae import VAE, one_hot

RTOL, ATOL = 1e-5, 1e-5
DECODED_ATOL = 1e-4
SPHERE_RTOL = 1e-12
LOWRANK = 1e-8


@pytest.fixture
def arrays(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("07_onmanifold")


@pytest.fixture
def lowrank(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("14_lowrank_class")


def fit(arrays: dict, factor: str) -> Shells:
    return fit_class_shells(*tensors(arrays, "z", "labels"), len(arrays["mean"]), factor)


@pytest.fixture
def line(lowrank: dict, meta: dict) -> Shells:
    """The shell of the one class whose codes fill a subspace only."""
    (z,) = tensors(lowrank, "z")
    return fit_class_shells(z, torch.zeros(len(z), dtype=torch.int64), 1, rank_cut=meta["rank_cut_class_covariance"])


@pytest.mark.parametrize(("field", "key"), [("mean", "mean"), ("cov", "cov")])
def test_class_statistics_agree(field: str, key: str, arrays: dict) -> None:
    np.testing.assert_allclose(getattr(fit(arrays, "rank"), field), arrays[key], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("factor", ["rank", "cholesky", "seed"])
def test_shell_radii_agree_whatever_the_factor(factor: str, arrays: dict) -> None:
    np.testing.assert_allclose(fit(arrays, factor).radius, arrays["d95"], rtol=RTOL)


def test_mahalanobis_distances_agree(arrays: dict) -> None:
    shells, (z, labels) = fit(arrays, "rank"), tensors(arrays, "z", "labels")
    found = torch.empty(len(z), dtype=torch.float64)
    for c in range(len(shells.mean)):
        found[labels == c] = mahalanobis(z[labels == c].double(), shells.mean[c], shells.precision[c])
    np.testing.assert_allclose(found, arrays["maha"], rtol=RTOL)


def test_class_counts_are_those_of_the_labels(arrays: dict) -> None:
    counts = np.bincount(arrays["labels"], minlength=len(arrays["mean"]))
    np.testing.assert_array_equal(counts, arrays["class_count"])


def test_published_factor_agrees(arrays: dict) -> None:
    np.testing.assert_allclose(published_factor(*tensors(arrays, "cov")), arrays["C_seed"], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(("factor", "key"), [("seed", "C_seed"), ("cholesky", "L_true")])
def test_factors_of_the_shells_agree(factor: str, key: str, arrays: dict) -> None:
    np.testing.assert_allclose(fit(arrays, factor).factor, arrays[key], rtol=RTOL, atol=ATOL)


def points(arrays: dict, factor: str) -> torch.Tensor:
    """Z (classes, samples, d) from the recorded radii and normal numbers."""
    shells, (radius, normal) = fit(arrays, factor), tensors(arrays, "radius", "normal")
    parts = zip(radius, normal, shells.factor, shells.mean, strict=True)
    return torch.stack([shell_points(r, a, factor, mean) for r, a, factor, mean in parts])


@pytest.mark.parametrize(("factor", "key"), [("seed", "Z_seed"), ("cholesky", "Z_true")])
def test_points_agree(factor: str, key: str, arrays: dict) -> None:
    np.testing.assert_allclose(points(arrays, factor), arrays[key], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(("factor", "key"), [("seed", "maha_ratio_seed"), ("cholesky", "maha_ratio_true")])
def test_ratios_of_the_points_agree(factor: str, key: str, arrays: dict) -> None:
    shells = fit(arrays, factor)
    parts = zip(points(arrays, factor), shells.mean, shells.precision, shells.radius, strict=True)
    found = torch.stack([mahalanobis(z, mean, precision) / r for z, mean, precision, r in parts])
    np.testing.assert_allclose(found, arrays[key], rtol=RTOL)


def test_decoded_points_agree(arrays: dict, vae: VAE) -> None:
    classes = len(arrays["mean"])
    each = len(arrays["decoded_first3_seed"]) // classes
    (codes,) = tensors(arrays, "Z_seed")
    labels = torch.arange(classes).repeat_interleave(each)
    with torch.no_grad():
        found = vae.decoder(codes[:, :each].flatten(0, 1).float(), one_hot(labels, classes))
    np.testing.assert_allclose(found, arrays["decoded_first3_seed"], rtol=0, atol=DECODED_ATOL)


def test_points_on_spheres_agree(golden: Golden) -> None:
    arrays = golden.npz("07b_sphere")
    np.testing.assert_allclose(sphere_points(*tensors(arrays, "radius", "normal")), arrays["X"], rtol=SPHERE_RTOL)


def test_the_published_sphere_label_is_one_constant_that_is_not_used_here(golden: Golden) -> None:
    labels = golden.npz("07b_sphere")["y"]  # 9, an in-distribution class: a slip of the published helper
    assert (labels == 9).all()


@pytest.mark.parametrize(
    ("field", "key"), [("mean", "mean"), ("cov", "cov"), ("precision", "pinv_cut"), ("radius", "d95"), ("rank", "rank")]
)
def test_statistics_of_a_class_of_short_rank_agree(field: str, key: str, lowrank: dict, line: Shells) -> None:
    np.testing.assert_allclose(getattr(line, field)[0], lowrank[key], rtol=LOWRANK, atol=LOWRANK)


def test_distances_in_a_class_of_short_rank_agree(lowrank: dict, line: Shells) -> None:
    (z,) = tensors(lowrank, "z")
    found = mahalanobis(z, line.mean[0], line.precision[0])
    np.testing.assert_allclose(found, lowrank["maha"], rtol=LOWRANK, atol=LOWRANK)


def test_the_factor_spans_the_support_of_a_class_of_short_rank(lowrank: dict, line: Shells) -> None:
    span = torch.linalg.qr(line.factor[0, :, : int(line.rank[0])]).Q
    np.testing.assert_allclose(span @ span.T, lowrank["support_projector"], rtol=0, atol=LOWRANK)


def test_new_samples_stay_in_the_support_of_a_class_of_short_rank(lowrank: dict, line: Shells) -> None:
    mean, support = tensors(lowrank, "mean", "support_projector")
    offsets = sample_shells(line, torch.zeros(500, dtype=torch.int64), torch.Generator().manual_seed(0)) - mean
    np.testing.assert_allclose(offsets @ support, offsets, rtol=0, atol=LOWRANK)


def test_new_samples_stay_in_the_shell_of_a_class_of_short_rank(lowrank: dict, line: Shells) -> None:
    mean, precision = tensors(lowrank, "mean", "pinv_cut")
    codes = sample_shells(line, torch.zeros(500, dtype=torch.int64), torch.Generator().manual_seed(0))
    ratio = mahalanobis(codes, mean, precision) / float(lowrank["d95"])
    assert ratio.min() >= 1 - LOWRANK, ratio.min()
    assert ratio.max() <= 1.5 + LOWRANK, ratio.max()
