"""Channels last changes where numbers lie, not what they are."""

import pytest
import torch
from ood_shared import devices
from oodgen.classifier import build_classifier
from oodgen.vae import build_vae
from torch import Tensor, nn


def laid_out(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """As on CUDA."""
    monkeypatch.setattr(devices, "channels_last_on", lambda device: True)
    devices.lay_out(network, torch.device("cpu"))
    assert any(
        p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in network.parameters()
    )
    return network


@pytest.mark.parametrize("architecture", ["doc", "paper"])
def test_the_vae_and_its_gradients_are_the_same(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_vae(architecture, 10, 8).double()
    draws = torch.Generator().manual_seed(0)
    x, eps = torch.rand(5, 1, 28, 28, generator=draws).double(), torch.randn(5, 8, generator=draws).double()

    def run() -> list[Tensor]:
        network.zero_grad()
        recon, mu, _, _ = network(x, torch.eye(10)[:5].double(), eps)
        (recon.square().sum() + mu.sum()).backward()
        return [recon, *(p.grad.clone() for p in network.parameters() if p.grad is not None)]

    plain = run()
    laid_out(network, monkeypatch)
    for one, other in zip(plain, run(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("architecture", ["doc", "paper"])
def test_the_classifier_is_the_same(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_classifier(architecture).double().eval()
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0)).double()
    plain = network.logits(x)
    torch.testing.assert_close(laid_out(network, monkeypatch).logits(x), plain)
