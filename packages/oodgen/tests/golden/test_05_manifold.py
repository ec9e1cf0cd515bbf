"""05: the decoder's Jacobian and the projector onto the null space of its transpose."""

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.manifold import decoder_jacobian, decoder_rank, null_space_projection
from oodgen.vae import VAE, one_hot

J_ATOL, J_ATOL_FLOAT32 = 1e-10, 2e-5
P_ATOL, P_ATOL_FLOAT32 = 1e-9, 2e-4
IMAGE_ATOL = 1e-10


@pytest.fixture
def arrays(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("05_jacobian_nullspace")


@pytest.fixture
def own(arrays: dict, vae64: VAE) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and Jacobians in float64."""
    return decoder_jacobian(vae64, *tensors(arrays, "z", "y"))


@pytest.fixture
def own32(arrays: dict, vae: VAE) -> torch.Tensor:
    return decoder_jacobian(vae, *tensors(arrays, "z", "y"))[1]


def test_labels_become_the_recorded_one_hot_rows(arrays: dict, meta: dict) -> None:
    labels, y = tensors(arrays, "labels", "y")
    assert torch.equal(one_hot(labels, meta["n_classes"]).double(), y)


def test_images_agree(arrays: dict, own: tuple) -> None:
    np.testing.assert_allclose(own[0].flatten(1), arrays["recon"], rtol=0, atol=IMAGE_ATOL)


def test_jacobian_agrees_in_float64(arrays: dict, own: tuple) -> None:
    np.testing.assert_allclose(own[1], arrays["J"], rtol=0, atol=J_ATOL)


def test_jacobian_agrees_in_float32(arrays: dict, own32: torch.Tensor) -> None:
    np.testing.assert_allclose(own32, arrays["J"], rtol=0, atol=J_ATOL_FLOAT32)


def test_singular_values_agree(arrays: dict, own: tuple) -> None:
    np.testing.assert_allclose(torch.linalg.svdvals(own[1]), arrays["singular"], rtol=0, atol=J_ATOL)


def test_ranks_agree(arrays: dict, own: tuple) -> None:
    np.testing.assert_array_equal(decoder_rank(own[1]), arrays["rank"])


def test_ranks_agree_in_float32(arrays: dict, own32: torch.Tensor) -> None:
    np.testing.assert_array_equal(decoder_rank(own32), arrays["rank"])


def test_projected_probes_agree(arrays: dict, own: tuple) -> None:
    found = null_space_projection(own[1], *tensors(arrays, "probe"))
    np.testing.assert_allclose(found, arrays["P_probe"], rtol=0, atol=P_ATOL)


def test_projected_probes_agree_for_a_float32_jacobian(arrays: dict, own32: torch.Tensor) -> None:
    found = null_space_projection(own32, *tensors(arrays, "probe"))
    np.testing.assert_allclose(found, arrays["P_probe"], rtol=0, atol=P_ATOL_FLOAT32)


def test_projected_probes_agree_for_the_recorded_jacobian(arrays: dict) -> None:
    found = null_space_projection(*tensors(arrays, "J", "probe"))
    np.testing.assert_allclose(found, arrays["P_probe"], rtol=0, atol=P_ATOL)


def test_diagonal_of_the_projector_agrees(arrays: dict, own: tuple) -> None:
    pixels = own[1].shape[1]
    whole = null_space_projection(own[1], torch.eye(pixels, dtype=torch.float64).expand(len(own[1]), -1, -1))
    np.testing.assert_allclose(whole.diagonal(dim1=1, dim2=2), arrays["P_diag"], rtol=0, atol=P_ATOL)


def test_rows_of_the_first_projector_agree(arrays: dict, own: tuple) -> None:
    first = own[1][:1]
    rows = torch.eye(first.shape[1], dtype=torch.float64)[torch.from_numpy(arrays["P0_rows"])]
    found = null_space_projection(first, rows[None])[0]
    np.testing.assert_allclose(found, arrays["P0"], rtol=0, atol=1e-7)  # P0 is stored as float32


def test_the_documented_gradient_is_the_sum_over_the_pixels(arrays: dict, own: tuple) -> None:
    np.testing.assert_allclose(own[1].sum(dim=1), arrays["seed_summed_gradient"], rtol=0, atol=784 * J_ATOL)
