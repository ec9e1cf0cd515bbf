"""The Jacobian and the projection, against literal per-sample references and the identities of a projector."""

import pytest
import torch
from ood_shared.errors import InputError
from ood_shared.testing.golden import fill_state_dict
from oodgen.manifold import (
    decoder_jacobian,
    decoder_rank,
    degenerate_direction,
    exact_inference,
    null_space_direction,
    null_space_projection,
    tangent_basis,
    unit,
)
from oodgen.vae import ConditionalVAE, build_vae, one_hot
from torch import Tensor

BOTH = pytest.mark.parametrize("architecture", ["doc", "paper"])
PIXELS, DIM = 40, 5  # the projection knows no image size


def network(architecture: str, dtype: torch.dtype = torch.float64) -> ConditionalVAE:
    return fill_state_dict(build_vae(architecture, 4, 3), salt=1, dtype=dtype)


def codes(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return z.to(dtype), one_hot(torch.arange(n) % 4, 4).to(dtype)


def with_singular_values(*values: float, seed: int = 0) -> Tensor:
    """A (1, PIXELS, DIM) matrix with these singular values."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(n, DIM, generator=generator, dtype=torch.float64) for n in (PIXELS, DIM))
    return (torch.linalg.qr(left).Q * torch.tensor(values, dtype=torch.float64) @ torch.linalg.qr(right).Q.T)[None]


def projector(jacobian: Tensor) -> Tensor:
    """P as a whole, column by column."""
    pixels = jacobian.shape[1]
    return null_space_projection(jacobian, torch.eye(pixels, dtype=torch.float64).expand(len(jacobian), -1, -1))


def by_backward_passes(vae: ConditionalVAE, z: Tensor, y: Tensor, pixels: list[int]) -> Tensor:
    """Rows of the literal Jacobian: one backward pass per pixel of each sample."""
    samples = []
    for code, condition in zip(z, y, strict=True):
        code = code[None].requires_grad_()
        image = vae.decoder(code, condition[None]).flatten()
        samples.append(torch.cat([torch.autograd.grad(image[k], code, retain_graph=True)[0] for k in pixels]))
    return torch.stack(samples)


def by_full_svd(jacobian: Tensor) -> Tensor:
    """The literal projector of each sample: N N^T of a full null-space basis N."""
    parts = []
    for matrix in jacobian:
        left, values, _ = torch.linalg.svd(matrix, full_matrices=True)
        basis = left[:, int((values > 1e-6 * values.max()).sum()) :]
        parts.append(basis @ basis.T)
    return torch.stack(parts)


MATRICES = {
    "full rank": with_singular_values(3, 2, 1, 0.5, 0.1),
    "one short": with_singular_values(3, 2, 1, 0.5, 0),
    "rank one": with_singular_values(3, 0, 0, 0, 0),
    "zero": torch.zeros(1, PIXELS, DIM, dtype=torch.float64),
    "six decades": with_singular_values(1, 1e-1, 1e-3, 1e-4, 3e-6),
    "equal columns": with_singular_values(3, 2, 1, 0.5, 0.1)[..., [0, 1, 2, 2, 0]],
    "tiny": with_singular_values(3, 2, 1, 0.5, 0) * 1e-200,
    "huge": with_singular_values(3, 2, 1, 0.5, 0) * 1e200,
    "rounding noise": with_singular_values(3, 2, 1, 0.5, 1e-9),
}
CASES = pytest.mark.parametrize("case", MATRICES)


@BOTH
def test_the_jacobian_equals_one_backward_pass_per_pixel(architecture: str) -> None:
    vae, (z, y), pixels = network(architecture), codes(2), list(range(0, 784, 41))
    found = decoder_jacobian(vae, z, y)[1][:, pixels]
    torch.testing.assert_close(found, by_backward_passes(vae, z, y, pixels), rtol=0, atol=1e-12)


@BOTH
def test_the_float32_jacobian_is_near_the_float64_one(architecture: str) -> None:
    wide = decoder_jacobian(network(architecture), *codes(4))[1]
    narrow = decoder_jacobian(network(architecture, torch.float32), *codes(4))[1]
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=0, atol=2e-5)


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_the_chunk_does_not_change_the_jacobian(chunk: int) -> None:
    vae, (z, y) = network("doc"), codes(5)
    found, expected = decoder_jacobian(vae, z, y, chunk)[1], decoder_jacobian(vae, z, y)[1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_the_image_is_that_of_the_decoder() -> None:
    vae, (z, y) = network("doc"), codes(3)
    torch.testing.assert_close(decoder_jacobian(vae, z, y)[0], vae.decoder(z, y).detach(), rtol=0, atol=1e-13)


def test_codes_of_another_precision_are_taken() -> None:
    assert decoder_jacobian(network("doc"), *codes(2, torch.float32))[1].dtype == torch.float64


@CASES
def test_the_projector_equals_that_of_a_full_null_space_basis(case: str) -> None:
    torch.testing.assert_close(projector(MATRICES[case]), by_full_svd(MATRICES[case]), rtol=0, atol=1e-9)


@CASES
def test_the_projector_is_idempotent(case: str) -> None:
    p = projector(MATRICES[case])
    torch.testing.assert_close(p @ p, p, rtol=0, atol=1e-12)


@CASES
def test_the_projector_is_symmetric(case: str) -> None:
    p = projector(MATRICES[case])
    torch.testing.assert_close(p.mT, p, rtol=0, atol=1e-12)


@CASES
def test_the_trace_is_the_dimension_of_the_null_space(case: str) -> None:
    matrix = MATRICES[case]
    dimension = PIXELS - decoder_rank(matrix).item()
    assert projector(matrix).diagonal(dim1=1, dim2=2).sum().item() == pytest.approx(dimension, abs=1e-10)


@CASES
def test_directions_are_orthogonal_to_every_tangent(case: str) -> None:
    matrix = MATRICES[case]
    v = null_space_direction(matrix, torch.randn(1, PIXELS, generator=torch.Generator().manual_seed(3)))
    assert (matrix.mT @ v.unsqueeze(-1)).norm() <= 1e-8 * matrix.norm()


@CASES
def test_directions_have_length_one(case: str) -> None:
    v = null_space_direction(MATRICES[case], torch.randn(1, PIXELS, generator=torch.Generator().manual_seed(3)))
    assert v.norm().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("case", "rank"),
    [("full rank", 5), ("one short", 4), ("rank one", 1), ("zero", 0), ("six decades", 5), ("rounding noise", 4)],
)
def test_ranks_count_singular_values_above_a_millionth_of_the_largest(case: str, rank: int) -> None:
    assert decoder_rank(MATRICES[case]).item() == rank


def test_a_zero_jacobian_leaves_every_direction() -> None:
    w = torch.randn(1, PIXELS, dtype=torch.float64)
    assert torch.equal(null_space_projection(MATRICES["zero"], w), w)


def test_matrices_of_different_rank_share_a_batch() -> None:
    batch = torch.cat([MATRICES[case] for case in ("full rank", "zero", "rank one")])
    assert decoder_rank(batch).tolist() == [5, 0, 1]
    torch.testing.assert_close(projector(batch), by_full_svd(batch), rtol=0, atol=1e-9)


def test_decoders_of_short_rank_are_met_by_the_projection() -> None:
    vae = fill_state_dict(build_vae("doc"), 0, torch.float64)
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    _, jacobian = decoder_jacobian(vae, z, torch.eye(6, 10))
    short = jacobian[decoder_rank(jacobian) < 8][:2]
    assert len(short) == 2  # about half of the bottleneck's ReLUs are off
    torch.testing.assert_close(projector(short), by_full_svd(short), rtol=0, atol=1e-9)


def test_a_float32_jacobian_is_enough() -> None:
    matrix = MATRICES["one short"]
    torch.testing.assert_close(projector(matrix.float()), projector(matrix), rtol=0, atol=2e-6)


def test_several_probes_are_projected_like_single_ones() -> None:
    batch = torch.cat([MATRICES["full rank"], MATRICES["rank one"]])
    w = torch.randn(2, 3, PIXELS, dtype=torch.float64)
    together = null_space_projection(batch, w)
    for k in range(3):
        torch.testing.assert_close(together[:, k], null_space_projection(batch, w[:, k]))


def test_the_basis_has_zero_columns_where_the_rank_is_short() -> None:
    basis, rank = tangent_basis(MATRICES["one short"])
    gram = (basis.mT @ basis)[0]
    assert sorted(gram.diagonal().round(decimals=12).tolist()) == [0, 1, 1, 1, 1]
    assert rank.item() == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_jacobian_that_is_not_finite_is_refused(value: float) -> None:
    matrix = MATRICES["full rank"].clone()
    matrix[0, 3, 2] = value
    with pytest.raises(InputError, match="not finite"):
        null_space_projection(matrix, torch.zeros(1, PIXELS))


def test_directions_are_uniform_on_the_sphere_of_the_null_space() -> None:
    matrix = MATRICES["one short"].expand(4_000, -1, -1)
    v = null_space_direction(matrix, torch.randn(4_000, PIXELS, generator=torch.Generator().manual_seed(0)))
    second_moment = v.mT @ v / len(v)  # P / dim for the uniform distribution
    torch.testing.assert_close(second_moment, projector(MATRICES["one short"])[0] / (PIXELS - 4), rtol=0, atol=4e-3)


def test_the_degenerate_direction_spares_the_first_pixel() -> None:
    found = degenerate_direction(torch.tensor([[3.0, -4.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.6, -0.8]]))


def test_a_zero_vector_has_no_direction() -> None:
    assert not unit(torch.zeros(2, 3)).any()


@pytest.mark.parametrize("training", [True, False])
def test_exact_inference_restores_the_mode(training: bool) -> None:
    vae = network("doc").train(training)
    with exact_inference(vae):
        assert not vae.training
    assert vae.training is training


def test_exact_inference_restores_the_mode_after_an_error() -> None:
    vae = network("doc").train()
    with pytest.raises(KeyError), exact_inference(vae):
        raise KeyError
    assert vae.training


def test_exact_inference_builds_no_graph() -> None:
    vae = network("doc")
    with exact_inference(vae):
        assert not vae.decoder(*codes(1)).requires_grad


def test_exact_inference_turns_autocast_off() -> None:
    vae = network("doc", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16), exact_inference(vae):
        assert vae.decoder(*codes(1, torch.float32)).dtype == torch.float32


def test_exact_inference_turns_tf32_off_and_on_again() -> None:
    flags = lambda: (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision)  # noqa: E731
    before = flags()
    with exact_inference(network("doc")):
        assert flags() == ("ieee", "ieee")
    assert flags() == before
