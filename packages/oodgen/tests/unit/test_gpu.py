"""The device changes rounding, nothing else: draws are made on the CPU."""

import pytest
import torch
from oodgen.echelon import echelon_direction
from oodgen.off_manifold import make_off_manifold
from oodgen.on_manifold import fit_class_shells, make_on_manifold
from oodgen.vae import VAE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ATOL = 2e-4  # of the golden vectors, for float32 Jacobians


@pytest.fixture
def networks():
    torch.manual_seed(0)
    network = VAE().eval()
    other = VAE().eval()
    other.load_state_dict(network.state_dict())
    return network, other.to("cuda")


def test_type_1_is_the_same_on_both_devices(networks):
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 10
    made = [
        make_off_manifold(network, images, images, labels, generator=torch.Generator().manual_seed(2)).cpu()
        for network in networks
    ]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=ATOL * 28)


def test_the_authors_directions_are_the_same_on_both_devices_for_one_jacobian():
    generator = torch.Generator().manual_seed(5)
    jacobian = torch.randn(6, 784, 8, generator=generator, dtype=torch.float64)
    jacobian[1, :20] = 0  # pivots elsewhere
    jacobian[2] = 0
    c = 2 * torch.rand(6, 784, generator=generator, dtype=torch.float64) - 1
    made = [echelon_direction(jacobian.to(device), c.to(device)).cpu() for device in ("cpu", "cuda")]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-9)


def test_type_2_is_the_same_on_both_devices(networks):
    codes = torch.randn(200, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(200) % 10
    shells = fit_class_shells(codes, labels, 10)
    made = [make_on_manifold(network, shells, labels, torch.Generator().manual_seed(4)).cpu() for network in networks]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=ATOL)
