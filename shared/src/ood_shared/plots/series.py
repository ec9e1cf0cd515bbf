"""Figures of values over steps and of points of a plane."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ood_shared.errors import InputError
from ood_shared.looks import DARK, MARKERS, PALETTE, line, need, panels, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(
    series: Mapping[str, Sequence[float]],
    xlabel: str = "epoch",
    ylabel: str = "loss",
    first: int = 1,
    logarithmic: bool = False,
    title: str | None = None,
) -> "Figure":
    """Training curves.

    Args:
        series: for each name its values, one per step of the horizontal axis; NaN leaves a gap.
        xlabel: what the horizontal axis counts.
        ylabel: what the values are.
        first: number of the first step.
        logarithmic: logarithmic vertical axis.
        title: printed above.
    """
    from matplotlib.ticker import MaxNLocator

    need("training", series)
    figure, (axes,) = panels(1, 1, height=3.6)
    for position, (name, values) in enumerate(series.items()):
        marker = "o" if len(values) <= 20 else None
        axes.plot(np.arange(first, first + len(values)), values, label=plain(name), marker=marker, **line(position))
    if logarithmic:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=xlabel, ylabel=ylabel, title=plain(title))
    axes.legend(loc="best")
    return figure


def scatter(
    groups: Mapping[str, npt.NDArray[Any] | torch.Tensor],
    crosses: Sequence[str] = (),
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
) -> "Figure":
    """Points of a plane: a colour and, where colours repeat, another marker for each group; crosses are dark.

    Args:
        groups: for each name its points, (n, 2).
        crosses: names of groups that are drawn as crosses, behind the dots.
        xlabel: what the horizontal axis is.
        ylabel: what the vertical axis is.
        title: printed above.
    """
    need("scatter", groups)
    figure, (axes,) = panels(1, 1, height=4.6)
    colours = [colour for colour in PALETTE if colour != DARK]
    for position, (name, points) in enumerate(groups.items()):
        xy = points.detach().cpu().double().numpy() if isinstance(points, torch.Tensor) else points
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise InputError(f"A scatter was given points of shape {xy.shape} for `{name}`; expected (n, 2).")
        marked = name in crosses
        axes.scatter(
            xy[:, 0],
            xy[:, 1],
            s=18 if marked else 14,
            marker="x" if marked else MARKERS[position // len(colours) % len(MARKERS)],
            linewidths=0.7 if marked else 0.0,
            color=DARK if marked else colours[position % len(colours)],
            label=plain(name),
            zorder=2 if marked else 3,
        )
    axes.set(xlabel=xlabel, ylabel=ylabel, title=plain(title))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
