"""10: a few full-batch training steps of the VAE and of the classifier.

RMSprop's first step is 10 lr sign(gradient) whatever the size of the gradient. A weight whose gradient is near zero
therefore moves by +0.01 or by -0.01 as rounding has it, on every machine anew. Such weights are found by training again
with the batch in another order and in float64, which changes nothing but the rounding, and are not compared.
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ood_shared.testing.golden import Golden, tensors
from oodgen.classifier import Classifier, double_softmax_loss
from oodgen.train import ClassifierSettings, VaeSettings, make_optimizer
from oodgen.vae import VAE, elbo_loss, mse_loss
from torch import nn

LOSS_RTOL, WEIGHTS_ATOL = 1e-4, 1e-4
DETERMINED = WEIGHTS_ATOL / 10  # a weight that rounding moves by more is not compared


@pytest.fixture
def arrays(golden: Golden) -> dict[str, np.ndarray]:
    return golden.npz("10_training_trace")


def train(network: nn.Module, optimizer: dict, steps: int, loss_of: Callable[[int], torch.Tensor]) -> list[float]:
    """Losses before each step."""
    settings = {key: value for key, value in optimizer.items() if key != "name"}
    step = getattr(torch.optim, optimizer["name"])(network.parameters(), **settings)
    losses = []
    for t in range(steps):
        loss = loss_of(t)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return losses


def train_mse(arrays: dict, vae: VAE, meta: dict, order: torch.Tensor | slice = slice(None)) -> list[float]:
    x, y, eps = (tensor.to(vae.fc12.weight) for tensor in tensors(arrays, "x", "y", "eps"))
    x, y, eps = x[order], y[order], eps[:, order]
    return train(vae, meta["vae_optimizer"], len(eps), lambda t: mse_loss(vae(x, y, eps[t])[0], x))


def determined_by_the_data(arrays: dict, vae64: VAE, meta: dict) -> np.ndarray:
    """Which weights of fc12 the training gives the same value whatever the rounding."""
    runs = []
    for seed in range(4):
        order = torch.randperm(len(arrays["x"]), generator=torch.Generator().manual_seed(seed))
        network = copy.deepcopy(vae64).float()
        train_mse(arrays, network, meta, order)
        runs.append(network.fc12.weight.detach().double())
    train_mse(arrays, vae64, meta)
    spread = (torch.stack(runs) - vae64.fc12.weight.detach()).abs().amax(dim=0)
    return (spread <= DETERMINED).numpy()


def train_elbo(arrays: dict, vae: VAE, meta: dict) -> list[float]:
    x01, y, eps = tensors(arrays, "x01", "y", "eps")

    def loss_of(t: int) -> torch.Tensor:
        recon, mu, logvar, _ = vae(x01, y, eps[t])
        return elbo_loss(recon, x01, mu, logvar)

    return train(vae, meta["vae_optimizer"], len(eps), loss_of)


def train_classifier(arrays: dict, classifier: Classifier, meta: dict) -> list[float]:
    x, labels, weight = tensors(arrays, "cls_x", "cls_labels", "cls_class_weight")
    steps = len(arrays["cls_losses"])
    loss_of = lambda t: double_softmax_loss(classifier(x), labels, weight)  # noqa: E731
    return train(classifier, meta["classifier_optimizer"], steps, loss_of)


def test_losses_on_the_squared_error_agree(arrays: dict, vae: VAE, meta: dict) -> None:
    np.testing.assert_allclose(train_mse(arrays, vae, meta), arrays["vae_mse_losses"], rtol=LOSS_RTOL)


def test_weights_after_the_squared_error_agree(arrays: dict, vae: VAE, vae64: VAE, meta: dict) -> None:
    train_mse(arrays, vae, meta)
    compared = determined_by_the_data(arrays, vae64, meta)
    assert compared.mean() > 0.5, f"rounding decides {(~compared).sum()} of {compared.size} weights"
    found, expected = vae.fc12.weight.detach().numpy(), arrays["vae_fc12_after"]
    np.testing.assert_allclose(found[compared], expected[compared], rtol=0, atol=WEIGHTS_ATOL)


def test_losses_on_the_elbo_agree(arrays: dict, vae: VAE, meta: dict) -> None:
    np.testing.assert_allclose(train_elbo(arrays, vae, meta), arrays["vae_elbo_losses"], rtol=LOSS_RTOL)


def test_classifier_losses_agree(arrays: dict, classifier: Classifier, meta: dict) -> None:
    np.testing.assert_allclose(train_classifier(arrays, classifier, meta), arrays["cls_losses"], rtol=LOSS_RTOL)


def test_classifier_weights_agree(arrays: dict, classifier: Classifier, meta: dict) -> None:
    train_classifier(arrays, classifier, meta)
    np.testing.assert_allclose(classifier.fc2.weight.detach(), arrays["cls_fc2_after"], rtol=0, atol=WEIGHTS_ATOL)


@pytest.mark.parametrize(
    ("settings", "key"), [(VaeSettings, "vae_optimizer"), (ClassifierSettings, "classifier_optimizer")]
)
def test_the_commands_train_with_the_recorded_optimizer(settings: type, key: str, meta: dict) -> None:
    optimizer = make_optimizer(nn.Linear(1, 1), settings(n_classes=meta["n_classes"]))
    found = {**optimizer.param_groups[0], "name": type(optimizer).__name__}
    expected = meta[key]
    assert {name: found[name] for name in expected} == expected
