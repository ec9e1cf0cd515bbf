"""Networks, their decoders' shortcuts, latent noise and losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from ood_shared.errors import InputError
from ood_shared.testing.golden import fill_state_dict
from oodgen.vae import VAE, ConditionalVAE, PaperVAE, build_vae, elbo_loss, mse_loss, one_hot
from torch import Tensor

DECODER = ("fc21", "fc22", "conv3", "conv4", "conv5")
BOTH = pytest.mark.parametrize("architecture", ["doc", "paper"])


def network(architecture: str, n_classes: int = 4, latent_dim: int = 3, salt: int = 0) -> ConditionalVAE:
    """A float64 network whose ReLUs are partly off."""
    return fill_state_dict(build_vae(architecture, n_classes, latent_dim), salt, torch.float64)


def codes(vae: ConditionalVAE, n: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, vae.latent_dim, generator=generator, dtype=torch.float64)
    return z, one_hot(torch.randint(vae.n_classes, (n,), generator=generator), vae.n_classes).double()


def images(n: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full_size_decoder(vae: VAE, z: Tensor, y: Tensor) -> Tensor:
    """The documented decoder as written: 7 -> 14 -> 28 -> 56, of which the last layer keeps the central 28."""
    x = F.relu(vae.fc22(F.relu(vae.fc21(torch.cat([z, y], dim=1))))).view(-1, 64, 7, 7)
    return torch.sigmoid(vae.conv5(F.relu(vae.conv4(F.relu(vae.conv3(x))))))


def same_transposed(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Keras' "same" transposed convolution: the adjoint of the "same" convolution with that kernel, by autograd."""
    image = x.new_zeros(len(x), weight.shape[1], x.shape[2] * stride, x.shape[3] * stride, requires_grad=True)
    padded = F.pad(image, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
    (adjoint,) = torch.autograd.grad(F.conv2d(padded, weight, stride=stride), image, x)
    return adjoint


def count(module: torch.nn.Module, *layers: str) -> int:
    return sum(p.numel() for key, p in module.named_parameters() if not layers or key.split(".")[0] in layers)


def test_the_documented_network_has_146289_parameters() -> None:
    assert count(VAE()) == 146_289


def test_the_papers_encoder_has_69440_parameters() -> None:
    assert count(PaperVAE(), "conv1", "conv2", "fc11", "fc12", "fc13") == 69_440


def test_the_papers_decoder_has_115265_parameters() -> None:
    assert count(PaperVAE(), "fc2", "conv3", "conv4", "conv5") == 115_265


@pytest.mark.parametrize(("n_classes", "latent_dim", "salt"), [(10, 8, 0), (5, 10, 1), (1, 1, 2), (13, 2, 3)])
def test_the_cropped_decoder_equals_the_full_size_one(n_classes: int, latent_dim: int, salt: int) -> None:
    vae = network("doc", n_classes, latent_dim, salt)
    z, y = codes(vae, 7, salt)
    torch.testing.assert_close(vae.decoder(z, y), full_size_decoder(vae, z, y), rtol=0, atol=1e-13)


def test_the_cropped_decoder_equals_the_full_size_one_in_float32() -> None:
    vae = network("doc", 10, 8).float()
    z, y = (t.float() for t in codes(vae, 20))
    torch.testing.assert_close(vae.decoder(z, y), full_size_decoder(vae, z, y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", [f"{layer}.{kind}" for layer in DECODER for kind in ("weight", "bias")])
def test_the_cropped_decoder_has_the_gradients_of_the_full_size_one(key: str) -> None:
    vae = network("doc")
    z, y = codes(vae)
    weight = vae.get_parameter(key)
    found, expected = (
        torch.autograd.grad(decoder(z, y).square().sum(), weight)[0]
        for decoder in (vae.decoder, lambda z, y: full_size_decoder(vae, z, y))
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_papers_decoder_is_keras_same_padding() -> None:
    vae = network("paper")
    z, y = codes(vae)
    x = F.relu(vae.fc2(torch.cat([z, y], dim=1))).view(-1, 64, 7, 7)
    for layer in (vae.conv3, vae.conv4):
        x = F.relu(same_transposed(x, layer.weight, 2) + layer.bias[:, None, None])
    expected = torch.sigmoid(same_transposed(x, vae.conv5.weight, 1) + vae.conv5.bias[:, None, None])
    torch.testing.assert_close(vae.decoder(z, y), expected, rtol=0, atol=1e-12)


def test_the_papers_encoder_pads_at_the_bottom_and_right_only() -> None:
    vae = PaperVAE()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.conv1.weight[0] = 1  # counts the pixels under the kernel
        vae.conv2.weight[0, 0, 1, 1] = 1  # reads the grid at 2 i + 1
        grid = vae.convolve(torch.ones(1, 1, 28, 28))[0, 0]
    assert (grid[0, 0].item(), grid[-1, 0].item(), grid[-1, -1].item()) == (9, 6, 4)


def test_the_papers_biases_start_at_zero() -> None:
    assert all(not parameter.any() for key, parameter in PaperVAE().named_parameters() if key.endswith("bias"))


def test_the_papers_weights_start_within_the_glorot_bound() -> None:
    weight = PaperVAE().conv3.weight  # 64 -> 64, 3 x 3
    bound = math.sqrt(6 / (9 * 64 + 9 * 64))
    assert 0.95 * bound < weight.abs().max() <= bound


@BOTH
def test_tangents_equal_forward_mode_differentiation(architecture: str) -> None:
    vae = network(architecture)
    z, y = codes(vae)
    _, tangents = vae.decoder_with_tangents(z, y)
    single = lambda z, y: vae.decoder(z[None], y[None]).flatten()  # noqa: E731
    expected = torch.vmap(torch.func.jacfwd(single))(z, y).mT
    torch.testing.assert_close(tangents.detach(), expected.detach(), rtol=1e-9, atol=1e-12)


@BOTH
def test_the_image_beside_the_tangents_is_the_decoders(architecture: str) -> None:
    vae = network(architecture)
    z, y = codes(vae)
    torch.testing.assert_close(vae.decoder_with_tangents(z, y)[0], vae.decoder(z, y), rtol=0, atol=1e-13)


@BOTH
def test_the_decoder_passes_gradcheck(architecture: str) -> None:
    vae = network(architecture, 2, 2)
    z, y = codes(vae, 1)
    assert torch.autograd.gradcheck(lambda z: vae.decoder(z, y)[..., 3::9, 3::9], z.requires_grad_())


@BOTH
def test_the_encoder_passes_gradcheck(architecture: str) -> None:
    vae = network(architecture, 2, 2)
    _, y = codes(vae, 1)
    corner = images(1)[..., :2, :2].clone().requires_grad_()

    def mean(corner: Tensor) -> Tensor:
        return vae.encode(F.pad(corner, (13, 13, 13, 13)), y)[0]

    assert torch.autograd.gradcheck(mean, corner)


def test_the_code_is_mean_plus_noise_times_deviation() -> None:
    vae = network("doc")
    _, y = codes(vae, 3)
    eps = torch.randn(3, vae.latent_dim, dtype=torch.float64)
    z, mu, logvar = vae.encoder(images(), y, eps)
    torch.testing.assert_close(z, mu + eps * (logvar / 2).exp())


def test_noise_is_drawn_in_evaluation_too() -> None:
    vae = network("doc").eval()
    _, y = codes(vae, 3)
    z, mu, _ = vae.encoder(images(), y, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(z, mu)


def test_one_seed_gives_one_code() -> None:
    vae = network("doc")
    _, y = codes(vae, 3)
    first, second = (vae.encoder(images(), y, generator=torch.Generator().manual_seed(4))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_generator_leaves_the_global_one_alone() -> None:
    vae = network("doc")
    _, y = codes(vae, 3)
    before = torch.get_rng_state()
    vae(images(), y, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_the_papers_code_is_the_mean() -> None:
    vae = network("paper")
    _, y = codes(vae, 3)
    z, mu, _ = vae.encoder(images(), y, generator=torch.Generator().manual_seed(0))
    assert torch.equal(z, mu)


@BOTH
def test_permuting_the_batch_permutes_the_reconstructions(architecture: str) -> None:
    vae = network(architecture)
    _, y = codes(vae, 3)
    eps, order = torch.randn(3, vae.latent_dim, dtype=torch.float64), torch.tensor([2, 0, 1])
    recon = vae(images(), y, eps)[0]
    torch.testing.assert_close(vae(images()[order], y[order], eps[order])[0], recon[order])


@pytest.mark.parametrize("shape", [(1, 27, 27), (1, 32, 32), (3, 28, 28), (1, 14, 56)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"takes images of shape \(1, 28, 28\)"):
        VAE(4, 3).encode(torch.zeros(2, *shape), torch.zeros(2, 4))


@pytest.mark.parametrize("columns", [3, 5])
def test_one_hot_rows_of_another_width_are_refused_by_the_encoder(columns: int) -> None:
    with pytest.raises(InputError, match="has 4 classes"):
        VAE(4, 3).encode(torch.zeros(2, 1, 28, 28), torch.zeros(2, columns))


def test_one_hot_rows_of_another_width_are_refused_by_the_decoder() -> None:
    with pytest.raises(InputError, match="has 4 classes"):
        VAE(4, 3).decoder(torch.zeros(2, 4), torch.zeros(2, 3))  # the sum of the widths would fit


@pytest.mark.parametrize("sizes", [(0, 8), (10, 0), (-1, 8)])
def test_sizes_below_one_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        VAE(*sizes)


def test_an_unknown_architecture_is_refused_with_a_guess() -> None:
    with pytest.raises(InputError, match="Did you mean `paper`"):
        build_vae("papr")


def test_one_hot_keeps_columns_of_missing_labels() -> None:
    assert one_hot(torch.tensor([3, 1]), 5).tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_one_hot_takes_every_integer_type(dtype: torch.dtype) -> None:
    assert one_hot(torch.tensor([1], dtype=dtype), 2).dtype == torch.float32


@pytest.mark.parametrize("bad", [-1, 3, 10])
def test_one_hot_refuses_labels_out_of_range_with_their_position(bad: int) -> None:
    with pytest.raises(InputError, match=rf"Label {bad} at position 1 is not one of 0\.\.2"):
        one_hot(torch.tensor([0, bad, 1]), 3)


def test_one_hot_refuses_floats() -> None:
    with pytest.raises(InputError, match="must be integers"):
        one_hot(torch.tensor([0.5]), 3)


def test_elbo_of_a_hand_computed_case() -> None:
    recon, x01 = torch.tensor([[0.8, 0.4]]), torch.tensor([[1.0, 0.25]])
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(4.0)]])
    bce = -math.log(0.8) - 0.25 * math.log(0.4) - 0.75 * math.log(0.6)
    kld = 0.5 * (1 + 1 - 0 - 1) + 0.5 * (4 + 4 - math.log(4.0) - 1)
    assert elbo_loss(recon, x01, mu, logvar).item() == pytest.approx(bce + kld, rel=1e-6)


def test_elbo_is_per_image() -> None:
    recon, x01, code = images(3, 1), images(3, 2), torch.randn(3, 2, dtype=torch.float64)
    one = elbo_loss(recon, x01, code, code)
    two = elbo_loss(*(torch.cat([t, t]) for t in (recon, x01, code, code)))
    torch.testing.assert_close(one, two)


def test_elbo_passes_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    recon = torch.rand(2, 3, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    mu, logvar = torch.randn(2, 2, 2, generator=generator, dtype=torch.float64)
    inputs = tuple(t.requires_grad_() for t in (recon, mu, logvar))
    x01 = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r, m, v: elbo_loss(r, x01, m, v), inputs)


def test_elbo_of_saturated_pixels_has_finite_gradients() -> None:
    recon = torch.tensor([[0.0, 1.0]], requires_grad=True)
    elbo_loss(recon, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1), torch.zeros(1, 1)).backward()
    assert recon.grad.isfinite().all()


@pytest.mark.parametrize("place", ["recon", "mu", "logvar"])
def test_a_nan_makes_the_elbo_nan_instead_of_aborting(place: str) -> None:
    values = {"recon": torch.full((1, 2), 0.5), "mu": torch.zeros(1, 1), "logvar": torch.zeros(1, 1)}
    values[place] = torch.full_like(values[place], math.nan)
    assert elbo_loss(values["recon"], torch.ones(1, 2), values["mu"], values["logvar"]).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_narrow_tensors_are_float32(dtype: torch.dtype) -> None:
    half, zero = torch.full((1, 2), 0.5, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (elbo_loss(half, half, zero, zero).dtype, mse_loss(half, half).dtype) == (torch.float32, torch.float32)


def test_squared_error_is_the_mean_over_all_elements() -> None:
    assert mse_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]])).item() == 2.0
