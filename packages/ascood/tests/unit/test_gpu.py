"""What only a CUDA device shows."""

import contextlib

import pytest
import torch
from ascood.attribution import saliency
from ascood.build import to_device
from ascood.heads import ASCOODNet
from ascood.networks import make_backbone
from ascood.objectives import AscoodArgs, Pass, ascood_step
from ascood.outliers import OOD_TYPES
from ascood.testing import filled, image
from ood_shared.devices import autocast

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def network_on(device):
    return to_device(filled(ASCOODNet(make_backbone("resnet18_32x32", 10), 0.5), 0), torch.device(device))


@pytest.fixture
def exact():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_saliency_is_that_of_the_cpu(exact):
    x, labels = image((4, 3, 32, 32), 1), torch.tensor([0, 9, 5, 2])
    expected = saliency(network_on("cpu"), x, labels)
    found = saliency(network_on("cuda"), x.to("cuda"), labels.to("cuda")).cpu()
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize("ood_type", OOD_TYPES)
def test_a_step_on_the_device_has_the_loss_of_the_cpu(exact, ood_type):
    args = AscoodArgs(ood_type=ood_type, p_inv=0.2)
    x, labels = image((4, 3, 32, 32), 1), torch.tensor([0, 9, 5, 2])
    noise = {"gradient": None, "shuffle": torch.rand(4, 204), "gaussian": image(x.shape, 3)}[ood_type]
    losses = []
    for device in ("cpu", "cuda"):
        network = network_on(device).train()
        run = Pass(network, network, contextlib.nullcontext, contextlib.nullcontext, torch.Generator(device))
        drawn = None if noise is None else noise.to(device)
        losses.append(ascood_step(run, args, x.to(device), labels.to(device), 1.0, drawn)["loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


@pytest.mark.parametrize("compiled", [False, True])
def test_bf16_and_compilation_give_finite_gradients(compiled):
    network = network_on("cuda").train()
    forward = torch.compile(network) if compiled else network
    bf16 = lambda: autocast(torch.device("cuda"), "bf16")  # noqa: E731
    run = Pass(network, forward, bf16, bf16, torch.Generator("cuda"))
    x, labels = image((8, 3, 32, 32), 1).to("cuda"), torch.arange(8).to("cuda")
    for ood_type in OOD_TYPES:
        ascood_step(run, AscoodArgs(ood_type=ood_type), x, labels, 1.0)["loss"].backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())
