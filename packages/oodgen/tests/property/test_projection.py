"""The projection and the tangents for shapes, ranks and scales that nobody thought of."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.testing.golden import fill_state_dict
from oodgen.manifold import decoder_rank, null_space_projection, tangent_basis
from oodgen.vae import build_vae, one_hot
from torch import Tensor


@st.composite
def jacobians(draw: st.DrawFn) -> Tensor:
    """(batch, pixels, d) of chosen rank; singular values over up to five decades; any scale."""
    batch, pixels, dim = draw(st.integers(1, 4)), draw(st.integers(6, 50)), draw(st.integers(1, 6))
    rank = draw(st.integers(0, dim))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    left = torch.linalg.qr(torch.randn(batch, pixels, dim, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(batch, dim, dim, generator=generator, dtype=torch.float64)).Q
    values = 10 ** (-5 * torch.rand(dim, generator=generator, dtype=torch.float64))
    values = values / values[:rank].max() if rank else values
    values[rank:] = 0
    return (left * values) @ right.mT * 10.0 ** draw(st.integers(-30, 30))


def noise(jacobian: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(
        len(jacobian), jacobian.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@settings(deadline=None)
@given(jacobians())
def test_what_is_projected_is_orthogonal_to_every_column(jacobian: Tensor) -> None:
    w = noise(jacobian)
    products = jacobian.mT @ null_space_projection(jacobian, w).unsqueeze(-1)
    assert (products.norm(dim=(1, 2)) <= 1e-9 * jacobian.norm(dim=(1, 2)) * w.norm(dim=1)).all()


@settings(deadline=None)
@given(jacobians())
def test_projecting_twice_changes_nothing(jacobian: Tensor) -> None:
    v = null_space_projection(jacobian, noise(jacobian))
    torch.testing.assert_close(null_space_projection(jacobian, v), v, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(jacobians())
def test_the_projection_is_symmetric(jacobian: Tensor) -> None:
    a, b = noise(jacobian, 1), noise(jacobian, 2)
    left = (null_space_projection(jacobian, a) * b).sum(dim=1)
    torch.testing.assert_close(left, (a * null_space_projection(jacobian, b)).sum(dim=1), rtol=0, atol=1e-10)


@settings(deadline=None)
@given(jacobians())
def test_the_columns_themselves_are_projected_to_nothing(jacobian: Tensor) -> None:
    found = null_space_projection(jacobian, jacobian.mT)
    assert (found.norm(dim=(1, 2)) <= 1e-9 * jacobian.norm(dim=(1, 2))).all()


@settings(deadline=None)
@given(jacobians())
def test_the_rank_is_that_of_numerical_linear_algebra(jacobian: Tensor) -> None:
    values = torch.linalg.svdvals(jacobian)
    assert torch.equal(decoder_rank(jacobian), (values > 1e-6 * values[:, :1]).sum(dim=1))


@settings(deadline=None)
@given(jacobians())
def test_the_basis_is_orthonormal_where_it_is_not_zero(jacobian: Tensor) -> None:
    basis, rank = tangent_basis(jacobian)
    gram = basis.mT @ basis
    torch.testing.assert_close(gram @ gram, gram, rtol=0, atol=1e-12)
    torch.testing.assert_close(gram.diagonal(dim1=1, dim2=2).sum(dim=1), rank.double(), rtol=0, atol=1e-10)


@settings(deadline=None)
@given(jacobians(), st.floats(1e-6, 1e6))
def test_the_scale_of_the_jacobian_does_not_matter(jacobian: Tensor, scale: float) -> None:
    w = noise(jacobian)
    found, expected = null_space_projection(jacobian * scale, w), null_space_projection(jacobian, w)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["doc", "paper"]), st.integers(1, 12), st.integers(1, 9), st.integers(1, 4), st.integers(0, 9999)
)
def test_tangents_are_the_slopes_of_the_decoder(
    architecture: str, n_classes: int, latent_dim: int, batch: int, salt: int
) -> None:
    vae = fill_state_dict(build_vae(architecture, n_classes, latent_dim), salt, torch.float64)
    generator = torch.Generator().manual_seed(salt)
    z, direction = torch.randn(2, batch, latent_dim, generator=generator, dtype=torch.float64)
    y = one_hot(torch.arange(batch) % n_classes, n_classes).double()
    with torch.no_grad():
        _, tangents = vae.decoder_with_tangents(z, y)
    _, expected = torch.func.jvp(lambda code: vae.decoder(code, y), (z,), (direction,))
    found = torch.einsum("bdp,bd->bp", tangents, direction)
    torch.testing.assert_close(found, expected.detach().flatten(1), rtol=1e-9, atol=1e-10)
