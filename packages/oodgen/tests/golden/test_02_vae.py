"""02 and 03: the VAE's forward pass and its losses."""

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.vae import VAE, elbo_loss, mse_loss, one_hot
from torch import Tensor

FORWARD_ATOL = 1e-5  # float32
LOSS_RTOL = 1e-5


@pytest.fixture
def forward(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("02_vae_forward")


@pytest.fixture
def losses(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("03_vae_loss")


def test_x_is_x01_normalised(forward: dict, meta: dict) -> None:
    np.testing.assert_allclose((forward["x01"] - meta["mean"]) / meta["std"], forward["x"], rtol=0, atol=FORWARD_ATOL)


def test_labels_become_the_recorded_one_hot_rows(forward: dict, meta: dict) -> None:
    labels, y = tensors(forward, "labels", "y")
    assert torch.equal(one_hot(labels, meta["n_classes"]), y)


@pytest.mark.parametrize(("position", "key"), list(enumerate(["recon", "mu", "logvar", "z"])))
def test_forward_agrees(position: int, key: str, forward: dict, vae: VAE) -> None:
    x, y, eps = tensors(forward, "x", "y", "eps")
    with torch.no_grad():
        found = vae(x, y, eps)[position]
    np.testing.assert_allclose(found, forward[key], rtol=0, atol=FORWARD_ATOL)


@pytest.mark.parametrize(("position", "key"), list(enumerate(["z", "mu", "logvar"])))
def test_encoder_agrees(position: int, key: str, forward: dict, vae: VAE) -> None:
    x, y, eps = tensors(forward, "x", "y", "eps")
    with torch.no_grad():
        found = vae.encoder(x, y, eps)[position]
    np.testing.assert_allclose(found, forward[key], rtol=0, atol=FORWARD_ATOL)


@pytest.mark.parametrize(("code", "image"), [("z", "recon"), ("z_free", "dec_free")])
def test_decoder_agrees(code: str, image: str, forward: dict, vae: VAE) -> None:
    z, y = tensors(forward, code, "y")
    with torch.no_grad():
        np.testing.assert_allclose(vae.decoder(z, y), forward[image], rtol=0, atol=FORWARD_ATOL)


def elbo_of(arrays: dict, recon: str, target: str, codes: bool) -> Tensor:
    """The loss with the recorded codes, or with mu = logvar = 0, whose KL term is 0."""
    r, x, mu, logvar = tensors(arrays, recon, target, "mu", "logvar")
    return elbo_loss(r, x, mu, logvar) if codes else elbo_loss(r, x, mu.new_zeros(len(r), 1), mu.new_zeros(len(r), 1))


def test_elbo_agrees(losses: dict) -> None:
    np.testing.assert_allclose(elbo_of(losses, "recon", "x01", codes=True), losses["loss"], rtol=LOSS_RTOL)


def test_cross_entropy_part_agrees(losses: dict) -> None:
    found = elbo_of(losses, "recon", "x01", codes=False) * len(losses["recon"])
    np.testing.assert_allclose(found, losses["bce_sum"], rtol=LOSS_RTOL)


def test_divergence_part_agrees(losses: dict) -> None:
    mu, logvar = tensors(losses, "mu", "logvar")
    blank = torch.zeros(len(mu), 1, 1, 1)  # a perfect reconstruction: no cross-entropy
    np.testing.assert_allclose(elbo_loss(blank, blank, mu, logvar) * len(mu), losses["kld_sum"], rtol=LOSS_RTOL)


def test_loss_is_the_sum_of_its_parts(losses: dict) -> None:
    parts = (losses["bce_sum"] + losses["kld_sum"]) / len(losses["recon"])
    np.testing.assert_allclose(elbo_of(losses, "recon", "x01", codes=True), parts, rtol=LOSS_RTOL)


def test_mean_squared_error_agrees(losses: dict) -> None:
    np.testing.assert_allclose(mse_loss(*tensors(losses, "recon", "x_norm")), losses["mse_norm"], rtol=LOSS_RTOL)


def test_saturated_pixels_cost_at_most_100_nats_each(losses: dict) -> None:
    found = elbo_of(losses, "sat_recon", "sat_target", codes=False)
    np.testing.assert_allclose(found, losses["sat_loss"], rtol=LOSS_RTOL)
