"""Figures of a run: ROC curves, score histograms, training curves, image grids.

Every function returns a `Figure` that belongs to the caller; no state of pyplot is involved. Curves differ in colour,
dash and marker (`looks`). ID is always blue.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int

from ood_shared import files, metrics
from ood_shared.errors import InputError
from ood_shared.looks import DARK, ID_COLOUR, MARKERS, OOD_COLOUR, PALETTE, WIDTH, line, marker, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2000  # of a drawn curve; more than the pixels it covers
LEAST_FPR = 1e-4  # where the axis begins at the latest
BINS = 20  # of histograms: 5 % of the ID scores each
GAP = 0.05  # between images of a grid, of their width


def roc(curves: Mapping[str, tuple[metrics.Scores, metrics.Scores]], title: str | None = None) -> "Figure":
    """ROC curves, OOD positive, with the AUROC of each in the legend.

    False alarms matter where they are few: their axis is logarithmic. It begins at half of the smallest share that the
    ID scores can tell, where the curves show what is caught without any false alarm.

    Args:
        curves: for each name the ID and the OOD scores, (n_id,) and (n_ood,); higher means more OOD.
        title: printed above.
    """
    _need("ROC", curves)
    figure, (axes,) = panels(1, 1, height=4.4)
    begin = max(LEAST_FPR, 0.5 / max(len(id_scores) for id_scores, _ in curves.values()))
    shares = np.geomspace(begin, 1, 200)
    axes.plot(shares, shares, color="#999999", linewidth=0.8, label="chance")
    for position, (name, (id_scores, ood_scores)) in enumerate(curves.items()):
        fpr, tpr = metrics.roc_curve(id_scores, ood_scores)
        area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
        kept = _drawn_points(fpr, tpr, begin)
        axes.plot(
            np.maximum(fpr[kept], begin),
            tpr[kept],
            label=f"{_plain(name)} (AUROC {area:.3f})",
            marker=marker(position),
            markevery=(0.02 + 0.011 * position, 0.16),  # of the diagonal, so that curves carry them at other places
            **line(position),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.set(xlim=(begin, 1.05), ylim=(-0.01, 1.01))
    axes.set(xlabel="share of ID flagged (FPR); left edge: none", ylabel="share of OOD caught (TPR)")
    axes.set_title(_plain(title))
    figure.legend(loc="outside right center", frameon=False, handlelength=3.6)
    return figure


def histograms(
    id_scores: metrics.Scores, ood_scores: Mapping[str, metrics.Scores], bins: int = BINS, title: str | None = None
) -> "Figure":
    """Score histograms of ID against each OOD set, one panel a set, on the quantiles of the ID scores.

    A score stands at the share of ID scores below it (ties count half). ID is flat by construction, no set however far
    squeezes the others, and the last of 20 bars is the share caught at about 5 % false alarms.

    Args:
        id_scores: (n_id,) scores; higher means more OOD.
        ood_scores: the (n_ood,) scores of each OOD set.
        bins: number of bins.
        title: printed above.
    """
    _need("histograms", ood_scores)
    reference = np.sort(metrics.as_scores(id_scores, "id_scores").astype(np.float64))
    edges = np.linspace(0, 1, bins + 1)
    columns = min(2, len(ood_scores))
    figure, found = panels(math.ceil(len(ood_scores) / columns), columns, height=2.4)
    for axes, (name, scores) in zip(found, ood_scores.items(), strict=False):
        values = metrics.as_scores(scores, name).astype(np.float64)
        for label, group, colour in (("ID", reference, ID_COLOUR), (name, values, OOD_COLOUR)):
            share = 100 * np.histogram(_quantiles(reference, group), edges)[0] / len(group)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=_plain(label))
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2, frameon=False)
        axes.set(xlim=(0, 1), ylim=(0, None))
    for axes in found[::columns]:
        axes.set_ylabel("% of the set")
    for axes in found[max(0, len(ood_scores) - columns) : len(ood_scores)]:
        axes.set_xlabel("quantile of the ID scores")
    for axes in found[len(ood_scores) :]:
        axes.set_axis_off()
    if title:
        figure.suptitle(_plain(title))
    return figure


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

    _need("training", series)
    figure, (axes,) = panels(1, 1, height=3.6)
    for position, (name, values) in enumerate(series.items()):
        marker = "o" if len(values) <= 20 else None
        axes.plot(np.arange(first, first + len(values)), values, label=_plain(name), marker=marker, **line(position))
    if logarithmic:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=xlabel, ylabel=ylabel, title=_plain(title))
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
    _need("scatter", groups)
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
            label=_plain(name),
            zorder=2 if marked else 3,
        )
    axes.set(xlabel=xlabel, ylabel=ylabel, title=_plain(title))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def image_grid(
    images: npt.NDArray[Any] | torch.Tensor,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    title: str | None = None,
) -> "Figure":
    """Images side by side, pixels as they are, without interpolation. All lie in one plane: axes for each cost more
    time than all else.

    Args:
        images: array (n, height, width) or (n, height, width, channels), or tensor (n, channels, height, width); 1 or 3
            channels; uint8, or floats with 0 for black and 1 for white. Floats beyond are drawn as the nearer end.
        titles: n short texts, one above each image.
        columns: images in a row.
        title: printed above.
    """
    pixels = _to_pixels(images)
    if titles is not None and len(titles) != len(pixels):
        raise InputError(f"An image grid of {len(pixels)} images has {len(titles)} titles; expected one for each.")
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    height, width = pixels.shape[1:3]
    inch = (width + GAP * width) * columns / WIDTH  # pixels of the images in an inch of the figure
    above = 0.22 * inch if titles is not None else 0.05 * inch
    figure, (axes,) = panels(1, 1, height=rows * (height + above) / inch)
    for position, image in enumerate(pixels):
        left, top = position % columns * (1 + GAP) * width, position // columns * (height + above)
        place = (left, left + width, top + height, top)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=place)
        if titles is not None:
            text = _plain(titles[position])
            axes.text(left + width / 2, top - 0.03 * inch, text, fontsize=7, ha="center", va="bottom")
    axes.set(xlim=(0, (columns * (1 + GAP) - GAP) * width), ylim=(rows * (height + above) - above, -above))
    axes.set_axis_off()
    if title:
        figure.suptitle(_plain(title))
    return figure


def save(figure: "Figure", path: Path | str, dpi: int = 150) -> None:
    """Write a figure whole or not at all, in the format of the suffix (`.png`, `.pdf`, `.svg`), and release it."""
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise InputError(f"{path} has no suffix of a figure. Known: {', '.join(sorted(known))}.")
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    figure.clear()


def to_png(figure: "Figure", dpi: int = 130) -> bytes:
    """The figure as the bytes of a PNG file; the figure is released."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    figure.clear()
    return buffer.getvalue()


def _plain(text: str | None) -> str:
    """The text as it stands: a dollar sign in a name does not begin a formula."""
    return (text or "").replace("$", r"\$")


def _quantiles(reference: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> Float[np.ndarray, " n"]:
    """The share of the sorted reference below each score; what equals it counts half."""
    below, not_above = (np.searchsorted(reference, scores, side=side) for side in ("left", "right"))
    shares: npt.NDArray[np.float64] = (below + not_above) / (2 * len(reference))
    return shares


def _drawn_points(
    fpr: npt.NDArray[np.float64], tpr: npt.NDArray[np.float64], begin: float
) -> Int[np.ndarray, " points"]:
    """The points of a curve from the left edge on, which is `begin`: of many, those next to even steps of both axes."""
    first, last = int(np.searchsorted(fpr, begin, side="right")) - 1, len(fpr) - 1
    if last - first < MOST_POINTS:
        return np.arange(first, last + 1)
    steps = MOST_POINTS // 2 - 1
    across = np.searchsorted(fpr, np.geomspace(begin, 1, steps), side="right") - 1
    upwards = np.searchsorted(tpr, np.linspace(tpr[first], 1, steps))
    return np.unique(np.clip(np.concatenate(([first], across, upwards, [last])), first, last))


def _to_pixels(images: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[Any]:
    if isinstance(images, torch.Tensor):
        whole = images.dtype == torch.uint8
        array = images.detach().cpu().double().numpy()
        array = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
    else:
        whole = images.dtype == np.uint8
        array = images.astype(np.float64)
    array = array / 255 if whole else array
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or len(array) == 0:
        raise InputError(
            f"An image grid was given images of shape {tuple(images.shape)}; expected (n, height, width), "
            "(n, height, width, 1 or 3) or a tensor (n, 1 or 3, height, width), with n >= 1."
        )
    array = np.clip(array, 0, 1)
    return array[..., 0] if array.shape[-1] == 1 else array


def _need(kind: str, named: Mapping[str, Any]) -> None:
    if not named:
        raise InputError(f"There is nothing to draw: the {kind} figure was given no named scores or values.")
