"""Tile shuffle: each image cut into k x k tiles that are laid out anew, by a permutation of its own.

Output tile in row a, column b is the input tile number p[b k + a], tiles being counted row by row: the layout runs down
the columns, so the identity would transpose the grid (not the tiles). The original draws until the permutation is not
the identity, and so does this; an unchanged image remains possible, with a chance of about 1 / (k^2)!.
"""

import torch
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from torch import Tensor

TILES = 4  # along each side


def draw_permutations(n: int, tiles: int, generator: torch.Generator) -> Int64[Tensor, "n tiles_squared"]:
    """A permutation for each image, none of them the identity; on the CPU.

    Raises:
        InputError: fewer than 2 tiles along a side.
    """
    if tiles < 2:
        raise InputError(f"A shuffle needs at least 2 tiles along each side, got {tiles}.")
    identity = torch.arange(tiles**2)
    permutations = torch.rand(n, tiles**2, generator=generator).argsort(dim=1)
    while len(same := (permutations == identity).all(dim=1).nonzero().squeeze(1)):
        permutations[same] = torch.rand(len(same), tiles**2, generator=generator).argsort(dim=1)
    return permutations


def shuffle_tiles(
    images: Float[Tensor, "batch channels height width"], permutations: Int64[Tensor, "batch tiles_squared"]
) -> Float[Tensor, "batch channels height width"]:
    """The images with their tiles laid out by `permutations`, whose length gives the number of tiles.

    Raises:
        InputError: the sides are not divisible by the number of tiles along them.
    """
    tiles = round(permutations.shape[1] ** 0.5)
    n, channels, height, width = images.shape
    if tiles**2 != permutations.shape[1] or height % tiles or width % tiles:
        raise InputError(
            f"Images of {height} x {width} pixels cannot be cut into {permutations.shape[1]} equal tiles: "
            f"both sides must be divisible by the number of tiles along them."
        )
    cut = images.unflatten(3, (tiles, -1)).unflatten(2, (tiles, -1))  # (n, c, row, y, column, x)
    numbered = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (n, tiles squared, c, y, x)
    places = permutations.to(images.device) + tiles**2 * torch.arange(n, device=images.device).unsqueeze(1)
    laid = numbered.flatten(0, 1).index_select(0, places.flatten()).view(n, tiles, tiles, channels, *cut.shape[3::2])
    # (n, column, row, c, y, x): the first tile index runs along the columns
    return laid.permute(0, 3, 2, 4, 1, 5).reshape(images.shape)
