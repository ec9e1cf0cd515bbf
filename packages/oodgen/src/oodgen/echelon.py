"""The authors' directions off the manifold: their basis of null(J^T), drawn from evenly (their notebooks).

They take the null space of J^T (d x 784) from its reduced row echelon form, in floating point. The pivots are the first
linearly independent columns, as a rule the first d pixels, in the upper left corner. With A = J^T on the pivots and b_j
the column of another pixel j, that pixel's basis vector has

    1 at j,   -A^-1 b_j at the pivots,   0 elsewhere,   then scaled to unit length: n_j

and v = sum_j c_j n_j / |sum_j c_j n_j| with c_j ~ U(-1, 1). The n_j are not orthogonal. A decoder hardly moves the
corner, so A is tiny and A^-1 b_j large: most of |v|^2 lies on a few pixels there, where a uniform direction
(`manifold.null_space_direction`) spreads over the image.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from oodgen.manifold import in_float64, unit


def echelon_direction(
    jacobian: Float[Tensor, "batch pixels latent"], coefficients: Float[Tensor, "batch pixels"]
) -> Float[Tensor, "batch pixels"]:
    """Unit vectors of null(J^T), combined from the authors' basis, in float64.

    Args:
        jacobian: float32 is enough, the elimination itself runs in float64.
        coefficients: c, U(-1, 1) in the notebooks; those of the pivots do not count, so that as many are drawn whatever
            the rank.

    Raises:
        InputError: J holds NaN or infinity.
    """
    reduced, pivots = reduced_row_echelon(in_float64(jacobian).mT)
    free = F.pad(torch.ones_like(reduced[:, 0]), (0, 1)).scatter(1, pivots, 0.0)[:, :-1]
    lengths = (1 + reduced.square().sum(dim=1)).sqrt()  # of the vectors with 1 at their own pixel
    weights = coefficients.to(reduced) * free / lengths  # (batch, pixels)
    on_pivots = -(reduced @ weights.unsqueeze(-1)).squeeze(-1)  # (batch, latent)
    direction = unit(F.pad(weights, (0, 1)).scatter_add(1, pivots, on_pivots)[:, :-1])
    return direction.to(coefficients.device) if coefficients.device.type != "mps" else direction


def reduced_row_echelon(
    matrix: Float[Tensor, "batch rows columns"],
) -> tuple[Float[Tensor, "batch rows columns"], Int[Tensor, "batch rows"]]:
    """The reduced row echelon form of each matrix and its pivot columns, as floating point arithmetic has them.

    A column is a pivot unless all its entries in the rows that are left are exactly zero; there is no tolerance.
    Rounding therefore leaves pivots beyond the rank of a matrix that is singular only in exact arithmetic, as it does
    in the authors' notebooks. Rows are exchanged for the largest entry of the column, and the pivots are solved for
    together at the end, so that what comes out fits the matrix to rounding however ill-conditioned it is.

    Args:
        matrix: finite, more columns than rows.

    Returns:
        The form, its rows below the rank zero, and the pivots in ascending order; `columns` stands where there are no
        more.
    """
    rest = matrix.clone()
    n, rows, columns = rest.shape
    every = torch.arange(n, device=rest.device)
    pivots = torch.full((n, rows), columns, device=rest.device)
    for k in range(rows):
        used = (rest[:, k:] != 0).any(dim=1)  # (batch, columns); columns left of the last pivot are zero by now
        found, column = used.any(dim=1), used.byte().argmax(dim=1)  # the first that is used
        row = k + rest[every, k:, column].abs().argmax(dim=1)
        top = rest[every, row]
        rest[every, row] = rest[:, k].clone()
        rest[:, k] = top
        pivot = torch.where(found, top[every, column], 1.0)
        factors = rest[every, k + 1 :, column] / pivot.unsqueeze(1)  # at most 1
        rest[:, k + 1 :] -= factors.unsqueeze(2) * top.unsqueeze(1)
        rest[every, k + 1 :, column] = 0
        pivots[:, k] = torch.where(found, column, columns)
    square = F.pad(rest, (0, 1)).gather(2, pivots.unsqueeze(1).expand(n, rows, rows))  # upper triangular
    square = square + torch.diag_embed((pivots == columns).to(square))
    return torch.linalg.solve_triangular(square, rest, upper=True), pivots
