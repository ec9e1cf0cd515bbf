"""wrn_train_step: losses, gradients and one step of Adam with the real network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from know_your_space.losses import cross_entropy, margin_loss
from know_your_space.networks import WideResNet
from ood_shared.testing.golden import Entries, Golden, fill_state_dict, golden_dir, hashed_uniform, stems, tensors
from torch import Tensor

GOLDEN = Golden(golden_dir("know_your_space", Path(__file__).parent))
STEP = GOLDEN.npz("wrn_train_step")
ATOL, LOSS_RTOL, GRADIENT_RTOL = 1e-5, 1e-5, 1e-3
OUTPUT_RTOL = OUTPUT_ATOL = 1e-4
DECIDED = 1e-3  # share of the largest gradient above which Adam's first step does not hang on rounding
BUFFERS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Outcome:
    logits: Tensor
    features: Tensor
    ce: float
    margin: float
    total: float
    gradients: dict[str, Tensor]
    after: dict[str, Tensor]


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    number = Entries({key: value.item() for key, value in STEP.items() if value.ndim == 0}, STEP.source)
    x_in, x_out, y, latent, weights = tensors(STEP, "x_in", "x_out", "y", "latent", "class_weight")
    network = WideResNet(number["num_classes"], number["depth"], number["widen"], drop_rate=0.0)
    fill_state_dict(network, rule=hashed_uniform).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=5e-4)
    logits, features = network(torch.cat([x_in, x_out]))
    ce = cross_entropy(logits[: len(x_in)], y, weights)
    margins = number["m_in"], number["m_out"], number["T"]
    margin = margin_loss(network.fc(latent), logits[len(x_in) :], *margins).total
    total = ce + number["beta1"] * margin
    total.backward()
    gradients = {key: parameter.grad.clone() for key, parameter in network.named_parameters()}
    optimizer.step()
    losses = ce.item(), margin.item(), total.item()
    return Outcome(logits.detach(), features.detach(), *losses, gradients, network.state_dict())


@pytest.mark.parametrize("key", ["logits", "features"])
def test_one_forward_pass_over_both_populations_agrees(outcome: Outcome, key: str) -> None:
    np.testing.assert_allclose(getattr(outcome, key), STEP[key], rtol=OUTPUT_RTOL, atol=OUTPUT_ATOL)


@pytest.mark.parametrize("key", ["ce", "margin", "total"])
def test_losses_agree(outcome: Outcome, key: str) -> None:
    np.testing.assert_allclose(getattr(outcome, key), STEP[key], rtol=LOSS_RTOL)


def test_the_norm_of_every_gradient_agrees(outcome: Outcome) -> None:
    assert sorted(outcome.gradients) == sorted(map(str, STEP["grad_names"]))
    found = [outcome.gradients[str(key)].norm().item() for key in STEP["grad_names"]]
    np.testing.assert_allclose(found, STEP["grad_norms"], rtol=GRADIENT_RTOL, atol=ATOL)


@pytest.mark.parametrize("key", stems(STEP, "grad/*"))
def test_gradients_agree(outcome: Outcome, key: str) -> None:
    np.testing.assert_allclose(outcome.gradients[key], STEP[f"grad/{key}"], rtol=GRADIENT_RTOL, atol=ATOL)


@pytest.mark.parametrize("key", [key for key in stems(STEP, "after/*") if key.endswith(BUFFERS)])
def test_running_statistics_agree(outcome: Outcome, key: str) -> None:
    np.testing.assert_allclose(outcome.after[key], STEP[f"after/{key}"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("key", [key for key in stems(STEP, "after/*", "grad/*") if not key.endswith(BUFFERS)])
def test_weights_after_the_step_agree(outcome: Outcome, key: str) -> None:
    size = np.abs(STEP[f"grad/{key}"])
    decided = size > DECIDED * size.max()
    assert decided.mean() > 0.5
    np.testing.assert_allclose(outcome.after[key].numpy()[decided], STEP[f"after/{key}"][decided], rtol=0, atol=ATOL)
