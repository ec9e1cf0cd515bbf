"""06a and 06b: outliers of type 1 as the documented program makes them, and by the authors' rule."""

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.echelon import echelon_direction, reduced_row_echelon
from oodgen.manifold import decoder_jacobian, degenerate_direction, null_space_direction, null_space_projection, unit
from oodgen.off_manifold import off_manifold
from oodgen.vae import VAE, one_hot

ATOL = 1e-5
STORED = 1e-6  # the authors' basis is stored as float32


@pytest.fixture
def documented(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("06a_offmanifold_seed_port")


@pytest.fixture
def authors(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("06b_offmanifold_paper")


@pytest.fixture
def jacobians(golden: Golden, vae64: VAE) -> torch.Tensor:
    """Those of file 05, which the vectors here refer to."""
    return decoder_jacobian(vae64, *tensors(golden.npz("05_jacobian_nullspace"), "z", "y"))[1]


def test_documented_base_is_the_noisy_reconstruction(documented: dict, vae: VAE, meta: dict) -> None:
    x, labels, eps = tensors(documented, "x", "labels", "eps_latent")
    with torch.no_grad():
        recon, *_ = vae(x, one_hot(labels, meta["n_classes"]), eps)
    np.testing.assert_allclose(recon, documented["recon"], rtol=0, atol=ATOL)


def test_documented_direction_spares_the_first_pixel(documented: dict) -> None:
    found = degenerate_direction(*tensors(documented, "coeff"))
    np.testing.assert_allclose(found, documented["direction"], rtol=0, atol=ATOL)


def test_documented_outliers_agree(documented: dict) -> None:
    recon, coeff, magnitude, sign = tensors(documented, "recon", "coeff", "magnitude", "sign_factor")
    found = off_manifold(recon, degenerate_direction(coeff), magnitude, sign)
    np.testing.assert_allclose(found, documented["ood"], rtol=0, atol=ATOL)


def test_authors_jacobians_are_those_of_the_decoder(authors: dict, jacobians: torch.Tensor) -> None:
    (index,) = tensors(authors, "jac_index")
    np.testing.assert_allclose(jacobians[index], authors["J"], rtol=0, atol=1e-10)


def test_authors_directions_lie_in_the_null_space(authors: dict, jacobians: torch.Tensor) -> None:
    index, raw = tensors(authors, "jac_index", "raw_direction")
    found = null_space_projection(jacobians[index], raw)
    assert ((found - raw).norm(dim=1) <= STORED * raw.norm(dim=1)).all(), (found - raw).norm(dim=1) / raw.norm(dim=1)


def test_authors_directions_are_orthogonal_to_the_tangents(authors: dict) -> None:
    jacobian, raw = tensors(authors, "J", "raw_direction")
    products = (jacobian.mT @ raw.unsqueeze(-1)).squeeze(-1).abs()
    assert (products <= STORED * raw.norm(dim=1, keepdim=True) * jacobian.norm(dim=1).clamp_min(1e-12)).all(), products


def test_authors_directions_are_met_by_their_own_coefficients(authors: dict) -> None:
    """The coefficients are read off the free pixels, where a basis vector has one value: 1 over its length."""
    jacobian, raw = tensors(authors, "J", "raw_direction")
    reduced, pivots = reduced_row_echelon(jacobian.mT)
    coefficients = raw * (1 + reduced.square().sum(dim=1)).sqrt()
    coefficients = coefficients.scatter(1, pivots, 0)
    assert (coefficients.abs() <= 1 + STORED).all(), coefficients.abs().amax(dim=1)
    found = echelon_direction(jacobian, coefficients)
    np.testing.assert_allclose(found, unit(raw), rtol=0, atol=STORED)


def test_authors_directions_lie_on_few_pixels_and_ours_on_as_few(authors: dict) -> None:
    """Share of |v|^2 in the 20 largest of 784 pixels: one draw of theirs per image against many of ours."""
    jacobian, raw = tensors(authors, "J", "raw_direction")
    generator = torch.Generator().manual_seed(0)
    draws = [2 * torch.rand(raw.shape, generator=generator, dtype=torch.float64) - 1 for _ in range(100)]
    ours = torch.stack([in_largest(echelon_direction(jacobian, c)) for c in draws])
    theirs, uniform = in_largest(raw), in_largest(null_space_direction(jacobian, draws[0]))
    assert (theirs > 0.5).all(), theirs
    assert (uniform < 0.2).all(), uniform
    assert ((theirs > ours.amin(dim=0)) & (theirs < ours.amax(dim=0))).all(), (theirs, ours.amin(dim=0))
    assert ours.median() > 0.7, ours.median()


def in_largest(v: torch.Tensor, count: int = 20) -> torch.Tensor:
    squares = v.square().sort(dim=1, descending=True).values
    return squares[:, :count].sum(dim=1) / squares.sum(dim=1)


def test_authors_outliers_agree(authors: dict) -> None:
    data, raw, magnitude, sign = tensors(authors, "data", "raw_direction", "magnitude", "sign")
    found = off_manifold(data.movedim(-1, 1), unit(raw), magnitude, sign.double())
    np.testing.assert_allclose(found.movedim(1, -1), authors["ood"], rtol=0, atol=ATOL)


def test_outliers_are_labelled_with_the_class_after_the_last(authors: dict, meta: dict) -> None:
    assert (authors["label"] == meta["n_classes"]).all()


def test_basis_free_jacobians_are_those_of_the_decoder(authors: dict, jacobians: torch.Tensor) -> None:
    found, expected = jacobians, authors["p_J"]
    if expected.shape[1] != found.shape[1]:
        found = found[:, authors["p_J_pixels"]]  # those that the file holds
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_basis_free_directions_agree(authors: dict, jacobians: torch.Tensor) -> None:
    found = null_space_direction(jacobians, *tensors(authors, "p_noise"))
    np.testing.assert_allclose(found, authors["p_direction"], rtol=0, atol=ATOL)


def test_basis_free_outliers_agree(authors: dict, jacobians: torch.Tensor) -> None:
    x, noise, magnitude, sign = tensors(authors, "p_x", "p_noise", "p_magnitude", "p_sign")
    found = off_manifold(x, null_space_direction(jacobians, noise), magnitude, sign.double())
    np.testing.assert_allclose(found, authors["p_ood"], rtol=0, atol=ATOL)
