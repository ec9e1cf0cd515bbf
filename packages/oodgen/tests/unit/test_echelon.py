"""The authors' directions, against a literal echelon form, row by row and number by number."""

from fractions import Fraction

import numpy as np
import pytest
import sympy  # comes with torch
import torch
from ood_shared.errors import InputError
from ood_shared.testing.golden import fill_state_dict
from oodgen.echelon import echelon_direction, reduced_row_echelon
from oodgen.manifold import decoder_jacobian, null_space_direction
from oodgen.vae import build_vae
from torch import Tensor

Rows = list[list[float]]


def literal_echelon(matrix: Rows) -> tuple[Rows, list[int]]:
    """Gauss-Jordan elimination as in a textbook: exact with fractions, with rounding and no tolerance on floats."""
    rows, pivots = [list(row) for row in matrix], []
    for column in range(len(rows[0])):
        at = len(pivots)
        if at == len(rows):
            break
        best = max(range(at, len(rows)), key=lambda r: abs(rows[r][column]))
        if rows[best][column] == 0:
            continue
        rows[at], rows[best] = rows[best], rows[at]
        for other in range(len(rows)):
            if other != at and rows[other][column] != 0:
                factor = rows[other][column] / rows[at][column]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[at], strict=True)]
                rows[other][column] *= 0
        pivots.append(column)
    for at, column in enumerate(pivots):
        rows[at] = [value / rows[at][column] for value in rows[at]]
    return rows, pivots


def literal_direction(jacobian: Tensor, coefficients: Tensor) -> np.ndarray:
    """The unit basis vectors one after the other, each times its coefficient; pixels x latent in, pixels out."""
    rows, pivots = literal_echelon(jacobian.T.tolist())
    total = np.zeros(len(jacobian))
    for pixel in range(len(jacobian)):
        if pixel not in pivots:
            vector = np.zeros(len(jacobian))
            vector[pixel] = 1
            for row, pivot in zip(rows, pivots, strict=False):
                vector[pivot] = -row[pixel]
            total += float(coefficients[pixel]) * vector / np.linalg.norm(vector)
    return total / np.linalg.norm(total)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 1) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


WHOLE = {  # rows of J^T whose elimination needs no rounding: ranks are those of exact arithmetic
    "regular": [[2, 1, 4, 3, 5], [4, 3, 1, 2, 2], [8, 1, 2, 6, 1]],
    "leading column of zeros": [[0, 2, 1, 4, 3], [0, 4, 2, 2, 1], [0, 8, 2, 1, 5]],
    "equal leading columns": [[1, 1, 2, 3, 4], [2, 2, 1, 5, 1], [4, 4, 2, 1, 3]],
    "columns of zeros between": [[1, 0, 0, 2, 3], [2, 0, 0, 1, 1], [4, 0, 0, 4, 2]],
    "two equal rows": [[1, 2, 3, 4, 5], [2, 1, 4, 1, 3], [1, 2, 3, 4, 5]],
    "rank one": [[1, 2, 3, 4, 5], [2, 4, 6, 8, 10], [4, 8, 12, 16, 20]],
    "one column": [[0, 0, 0, 1, 0], [0, 0, 0, 2, 0], [0, 0, 0, 4, 0]],
    "zero": [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


@pytest.mark.parametrize("case", WHOLE)
def test_the_echelon_form_is_that_of_exact_arithmetic(case: str) -> None:
    exact, pivots = literal_echelon([[Fraction(value) for value in row] for row in WHOLE[case]])
    found, columns = reduced_row_echelon(torch.tensor([WHOLE[case]], dtype=torch.float64))
    np.testing.assert_allclose(found[0], np.array(exact, dtype=float), rtol=0, atol=1e-12)
    assert columns[0].tolist() == pivots + [5] * (3 - len(pivots))


@pytest.mark.parametrize("case", WHOLE)
def test_the_null_space_is_that_of_the_symbolic_step(case: str) -> None:
    found, columns = reduced_row_echelon(torch.tensor([WHOLE[case]], dtype=torch.float64))
    pivots = [column for column in columns[0].tolist() if column < 5]
    basis = [np.array(vector, dtype=float).ravel() for vector in sympy.Matrix(WHOLE[case]).nullspace()]
    for pixel, expected in zip([pixel for pixel in range(5) if pixel not in pivots], basis, strict=True):
        vector = np.eye(5)[pixel]
        vector[pivots] = -found[0, : len(pivots), pixel]
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", WHOLE)
def test_the_direction_is_the_sum_over_the_literal_basis(case: str) -> None:
    jacobian, c = torch.tensor([WHOLE[case]], dtype=torch.float64).mT, uniform(1, 5)
    found = echelon_direction(jacobian, c)
    np.testing.assert_allclose(found[0], literal_direction(jacobian[0], c[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_floats_have_the_pivots_and_the_direction_of_the_literal_form(seed: int) -> None:
    jacobian, c = random(1, 12, 4, seed=seed), uniform(1, 12)
    rows, pivots = literal_echelon(jacobian[0].T.tolist())
    found, columns = reduced_row_echelon(jacobian.mT)
    assert columns[0].tolist() == pivots == [0, 1, 2, 3]
    np.testing.assert_allclose(found[0], rows, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        echelon_direction(jacobian, c)[0], literal_direction(jacobian[0], c[0]), rtol=0, atol=1e-9
    )


def test_matrices_of_all_kinds_share_a_batch() -> None:
    batch = torch.tensor(list(WHOLE.values()), dtype=torch.float64)
    together, columns = reduced_row_echelon(batch)
    for k in range(len(batch)):
        alone, pivots = reduced_row_echelon(batch[k : k + 1])
        assert torch.equal(together[k], alone[0])
        assert torch.equal(columns[k], pivots[0])


def test_the_matrix_itself_is_left_alone() -> None:
    matrix = random(2, 3, 6)
    before = matrix.clone()
    reduced_row_echelon(matrix)
    assert torch.equal(matrix, before)


def test_a_zero_jacobian_leaves_the_coefficients() -> None:
    c = uniform(2, 9)
    torch.testing.assert_close(echelon_direction(torch.zeros(2, 9, 3), c), c / c.norm(dim=1, keepdim=True))


def of_short_rank(pixels: int = 60, latent: int = 6, rank: int = 4) -> Tensor:
    return random(3, pixels, rank) @ random(3, rank, latent, seed=1)


JACOBIANS = {
    "full rank": random(3, 60, 6),
    "short rank, in exact arithmetic only": of_short_rank(),
    "dead corner": random(3, 60, 6) * (torch.arange(60) >= 20).double()[:, None],
    "tiny corner": random(3, 60, 6) * torch.where(torch.arange(60) < 6, 1e-12, 1.0).double()[:, None],
    "one latent dimension off": random(3, 60, 6) * torch.tensor([1.0, 1, 0, 1, 1, 1]),
    "nearly equal columns in the corner": random(3, 60, 6) * 1e-13 + random(3, 60, 1) @ random(3, 1, 6, seed=1),
    "tiny": random(3, 60, 6) * 1e-150,
    "huge": random(3, 60, 6) * 1e150,
}


@pytest.mark.parametrize("case", JACOBIANS)
def test_directions_are_unit_vectors_orthogonal_to_every_tangent(case: str) -> None:
    jacobian = JACOBIANS[case]
    v = echelon_direction(jacobian, uniform(3, 60))
    torch.testing.assert_close(v.norm(dim=1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    scale = jacobian.abs().amax(dim=(1, 2), keepdim=True)
    products = ((jacobian / scale).mT @ v.unsqueeze(-1)).norm(dim=(1, 2))
    assert (products <= 1e-12 * (jacobian / scale).norm(dim=(1, 2))).all(), products


def test_a_float32_jacobian_is_enough() -> None:
    """For |J^T v|, not for v: what A^-1 makes of rounding is as far along the pivots as it is small in J."""
    jacobian = JACOBIANS["full rank"]
    v = echelon_direction(jacobian.float(), uniform(3, 60))
    assert v.dtype == torch.float64
    assert ((jacobian.mT @ v.unsqueeze(-1)).norm(dim=(1, 2)) < 1e-6 * jacobian.norm(dim=(1, 2))).all()


@pytest.mark.parametrize("salt", [0, 1, 2])
def test_directions_leave_the_manifold_of_a_decoder_on_few_pixels(salt: int) -> None:
    vae = fill_state_dict(build_vae("doc"), salt, torch.float64)
    _, jacobian = decoder_jacobian(vae, random(20, 8), torch.eye(10).repeat(2, 1))
    v = echelon_direction(jacobian, uniform(20, 784))
    assert ((jacobian.mT @ v.unsqueeze(-1)).norm(dim=(1, 2)) < 1e-12 * jacobian.norm(dim=(1, 2)).clamp_min(1e-12)).all()
    largest = [
        w.square().sort(descending=True).values[:, :20].sum(dim=1) for w in (v, null_space_direction(jacobian, v))
    ]
    torch.testing.assert_close(*largest)  # P v = v
    assert largest[0].median() > 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_jacobian_that_is_not_finite_is_refused(value: float) -> None:
    jacobian = random(1, 9, 3)
    jacobian[0, 4, 1] = value
    with pytest.raises(InputError, match="not finite"):
        echelon_direction(jacobian, uniform(1, 9))
