"""How figures look: a plain style, colours, dashes and markers that tell many curves apart, in greyscale too.

The first seven colours are those of Okabe and Ito, which people with any colour vision tell apart. Those after them
were chosen one by one, each as far as possible from all before it in CIELAB, seen with full and with red-green colour
vision. No two of the first sixteen curves share a colour, nor both dash and marker.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ood_shared.errors import InputError, not_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, DARK = "#0072B2", "#D55E00", "#333333"
PALETTE = (
    *(BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", DARK, "#0000FF"),
    *("#445500", "#EE9977", "#BB33FF", "#661166", "#BB2299", "#1122AA", "#113388", "#5544FF"),
)
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("o", "s", "^", "D")
ID_COLOUR, OOD_COLOUR = BLUE, VERMILLION

STYLE: dict[Any, Any] = {
    **{"font.size": 9, "axes.titlesize": 10},
    **{"axes.spines.top": False, "axes.spines.right": False},
    **{"axes.grid": True, "grid.color": "#e4e4e4", "axes.axisbelow": True},
}
WIDTH = 7.0  # inches; the text stays legible when a phone shows it at half the size


def panels(rows: int, columns: int, height: float) -> tuple["Figure", list["Axes"]]:
    """A white figure of `WIDTH` with panels of `height` inches in a plain style, without asking the user's settings."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise not_installed("A figure", "matplotlib", "report") from None

    with style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, rows * height), layout="constrained", facecolor="white")
        found = figure.subplots(rows, columns, squeeze=False)
    return figure, list(found.flat)


def line(position: int) -> dict[str, Any]:
    """Colour and dash of the curve at a position among others."""
    return {
        "color": PALETTE[position % len(PALETTE)],
        "linestyle": DASHES[position % len(DASHES)],
        "linewidth": 1.8,
        "markersize": 3.5,
    }


def marker(position: int) -> str:
    """Its marker, another one after each round of the dashes."""
    return MARKERS[position // len(DASHES) % len(MARKERS)]


def plain(text: str | None) -> str:
    """The text as it stands: a dollar sign in a name does not begin a formula."""
    return (text or "").replace("$", r"\$")


def need(kind: str, named: Mapping[str, Any]) -> None:
    """Refuse to draw nothing.

    Raises:
        InputError: `named` is empty; `kind` names the figure.
    """
    if not named:
        raise InputError(f"There is nothing to draw: the {kind} figure was given no named scores or values.")
