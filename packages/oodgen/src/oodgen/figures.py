"""The pictures that the steps leave: curves of the training, and a look at the generated outliers."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from ood_shared import plots
from torch import Tensor

from oodgen.outliers import Outliers
from oodgen.state import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = 8  # images along each side of a grid


def loss_curve(history: History) -> "Figure":
    """Training and test loss over the epochs."""
    return _curve(history, "loss", "Loss")


def accuracy_curve(history: History) -> "Figure":
    """Training and test accuracy, in percent, over the epochs; the outlier class counts like the others."""
    return _curve(history, "accuracy", "Accuracy")


def sample_grids(images: Tensor, outliers: Outliers, generator: torch.Generator) -> "Figure":
    """Three grids of 8 x 8 side by side: in-distribution, type 1, type 2.

    Args:
        images: uint8 (n, 1, 28, 28).
        outliers: what was generated.
        generator: picks the images.
    """
    grids = [_mosaic(pixels, generator) for pixels in (images, outliers.of_type(1), outliers.of_type(2))]
    titles = ["in-distribution", "type 1: off the manifold", "type 2: on the manifold"]
    return plots.image_grid(torch.stack(grids).unsqueeze(1), titles=titles, columns=3)


def _curve(history: History, key: str, name: str) -> "Figure":
    series = {
        f"Train {name}": [record[f"train_{key}"] for record in history],
        f"Test {name}": [record[f"vali_{key}"] for record in history],
    }
    return plots.curves(series, xlabel="Epoch", ylabel=name, title=f"{name} Curve")


def _mosaic(images: Tensor, generator: torch.Generator) -> Tensor:
    """64 images picked at random (all, when there are fewer) as one picture, uint8 (height, width)."""
    picked = images[torch.randperm(len(images), generator=generator)[: GRID * GRID]]
    padded = F.pad(picked.squeeze(1), (1, 1, 1, 1), value=96)
    blank = torch.full((GRID * GRID - len(padded), *padded.shape[1:]), 96, dtype=torch.uint8)
    cells = torch.cat([padded, blank]).unflatten(0, (GRID, GRID))  # (row, column, height, width)
    return cells.permute(0, 2, 1, 3).flatten(2, 3).flatten(0, 1)
