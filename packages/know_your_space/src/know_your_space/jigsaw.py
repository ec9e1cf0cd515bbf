"""Tile shuffle: each image cut into k x k tiles that are laid out anew, by a permutation of its own.

Output tile in row a, column b is the input tile number p[b k + a], tiles being counted row by row: the layout runs down
the columns, so the identity would transpose the grid (not the tiles). The original draws until the permutation is not
the identity, and so does this; an unchanged image remains possible, with a chance of about 1 / (k^2)!.
"""

import torch
from jaxtyping import Float, Int64
from ood_shared.devices import send
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
    high, wide, device = height // tiles, width // tiles, images.device
    corner = torch.arange(tiles, device=device)
    corners = (corner[:, None] * high * width + corner * wide).flatten()  # first pixel of each tile, row by row
    inside = torch.arange(high, device=device)[:, None] * width + torch.arange(wide, device=device)
    # (n, row, y, column, x): the first tile index of `permutations` runs along the columns
    starts = corners[send(permutations, device)].view(n, tiles, tiles).transpose(1, 2)
    source = (starts[:, :, None, :, None] + inside[:, None, :]).reshape(n, 1, height * width)
    return images.flatten(2).gather(2, source.expand(-1, channels, -1)).view_as(images)
