"""Figures of a run: ROC curves, score histograms, training curves, image grids.

Every function returns a `Figure` that belongs to the caller; no state of pyplot is involved. Colours are those of Okabe
and Ito, which people with any colour vision tell apart, and curves differ in dash as well. ID is always blue.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from ood_shared import files, metrics
from ood_shared.errors import InputError, not_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION = "#0072B2", "#D55E00"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "^", "D")
ID_COLOUR, OOD_COLOUR = BLUE, VERMILLION

STYLE: dict[Any, Any] = {
    **{"font.size": 9, "axes.titlesize": 10},
    **{"axes.spines.top": False, "axes.spines.right": False},
    **{"axes.grid": True, "grid.color": "#e4e4e4", "axes.axisbelow": True},
}
WIDTH = 7.0  # inches; the text stays legible when a phone shows it at half the size
MOST_INSIDE = 6  # curves that a legend names without covering them
MOST_POINTS = 2000  # of a drawn curve; more than the pixels it covers


def roc(curves: Mapping[str, tuple[metrics.Scores, metrics.Scores]], title: str | None = None) -> "Figure":
    """ROC curves, OOD positive, with the AUROC of each in the legend.

    Args:
        curves: for each name the ID and the OOD scores, (n_id,) and (n_ood,); higher means more OOD.
        title: printed above.
    """
    _need("ROC", curves)
    beside = len(curves) > MOST_INSIDE
    figure, (axes,) = _panels(1, 1, height=4.4 if beside else 5.2)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, label="chance")
    for position, (name, (id_scores, ood_scores)) in enumerate(curves.items()):
        fpr, tpr = metrics.roc_curve(id_scores, ood_scores)
        area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
        kept = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), MOST_POINTS)).round().astype(int))
        axes.plot(fpr[kept], tpr[kept], label=f"{_plain(name)} (AUROC {area:.3f})", **_line(position))
    # Beside a legend of unknown width the layout cuts the label of a square; what is left is nearly one.
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="auto" if beside else "equal")
    axes.set(xlabel="share of ID flagged (FPR)", ylabel="share of OOD caught (TPR)", title=_plain(title))
    if beside:
        figure.legend(loc="outside right center", frameon=False)
    else:
        axes.legend(loc="lower right")
    return figure


def histograms(
    id_scores: metrics.Scores, ood_scores: Mapping[str, metrics.Scores], bins: int = 40, title: str | None = None
) -> "Figure":
    """Score histograms of ID against each OOD set, one panel a set, all on the same axis.

    The axis spans the middle 99 % of every set; scores beyond it, infinities too, are counted in the outermost bins.

    Args:
        id_scores: (n_id,) scores; higher means more OOD.
        ood_scores: the (n_ood,) scores of each OOD set.
        bins: number of bins.
        title: printed above.
    """
    _need("histograms", ood_scores)
    wide = {name: metrics.as_scores(scores, name).astype(np.float64) for name, scores in ood_scores.items()}
    reference = metrics.as_scores(id_scores, "id_scores").astype(np.float64)
    edges, clipped = _bin_edges([reference, *wide.values()], bins)
    columns = min(2, len(wide))
    figure, panels = _panels(math.ceil(len(wide) / columns), columns, height=2.4)
    for axes, (name, scores) in zip(panels, wide.items(), strict=False):
        for label, values, colour in (("ID", reference, ID_COLOUR), (name, scores, OOD_COLOUR)):
            share = 100 * np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=_plain(label))
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2, frameon=False)
        axes.set_ylim(bottom=0)
    for axes in panels[::columns]:
        axes.set_ylabel("% of the set")
    for axes in panels[max(0, len(wide) - columns) : len(wide)]:
        axes.set_xlabel("score; the outermost bins hold all beyond" if clipped else "score")
    for axes in panels[len(wide) :]:
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
    figure, (axes,) = _panels(1, 1, height=3.6)
    for position, (name, values) in enumerate(series.items()):
        marker = "o" if len(values) <= 20 else None
        axes.plot(np.arange(first, first + len(values)), values, label=_plain(name), marker=marker, **_line(position))
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
    figure, (axes,) = _panels(1, 1, height=4.6)
    colours, dark = PALETTE[:-1], PALETTE[-1]
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
            color=dark if marked else colours[position % len(colours)],
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
    """Images side by side, pixels as they are, without interpolation.

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
    cell = WIDTH / columns * pixels.shape[1] / pixels.shape[2] + (0.22 if titles is not None else 0.05)
    figure, panels = _panels(rows, columns, height=cell)
    for axes in panels:
        axes.set_axis_off()
    for position, (axes, image) in enumerate(zip(panels, pixels, strict=False)):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if titles is not None:
            axes.set_title(_plain(titles[position]), fontsize=7, pad=2)
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


def _panels(rows: int, columns: int, height: float) -> tuple["Figure", list["Axes"]]:
    """A white figure of `WIDTH` with panels of `height` inches in a plain style, without asking the user's settings."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise not_installed("A figure", "matplotlib", "report") from None

    with style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, rows * height), layout="constrained", facecolor="white")
        panels = figure.subplots(rows, columns, squeeze=False)
    return figure, list(panels.flat)


def _line(position: int) -> dict[str, Any]:
    return {
        "color": PALETTE[position % len(PALETTE)],
        "linestyle": DASHES[position % len(DASHES)],
        "linewidth": 1.8,
        "markersize": 3.5,
    }


def _plain(text: str | None) -> str:
    """The text as it stands: a dollar sign in a name does not begin a formula."""
    return (text or "").replace("$", r"\$")


def _bin_edges(groups: Sequence[npt.NDArray[np.float64]], bins: int) -> tuple[Float[np.ndarray, " edges"], bool]:
    finite = [group[np.isfinite(group)] for group in groups]
    spans = [np.quantile(group, (0.005, 0.995)) for group in finite if group.size]
    low, high = (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else (0.0, 1.0)
    if not low < high:
        low, high = low - 0.5, high + 0.5
    clipped = any(bool(((group < low) | (group > high)).any()) for group in groups)
    return np.linspace(low, high, bins + 1), clipped


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
