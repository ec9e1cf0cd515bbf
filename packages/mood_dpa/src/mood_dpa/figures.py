"""Three-plane overlays of anomaly maps, all on one scale of colours, and a page with all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ood_shared import plots
from ood_shared.report import write_report
from ood_shared.sections import Figure, Section, Table

from mood_dpa.data.volumes import base_name
from mood_dpa.planes import SIDES, Planes, planes_of

__all__ = ["Planes", "draw", "planes_of", "scale_of", "write_overlays"]
STRONGEST = 0.55  # opacity of the strongest colour: the anatomy below stays visible
FAINTEST = 0.1  # share of the scale below which nothing is coloured
CONVENTION = (
    "Neurological convention: the patient's left (L) is on the left; A front, P back, S up, I down. Planes through the "
    "map's largest value outside of air; indices are those of the file, millimetres those of its affine. "
)


def scale_of(planes: Sequence[Planes]) -> float:
    """The map's value that has the strongest colour in all pictures of a call."""
    upper = max((part.upper for part in planes), default=0.0)
    return upper or max((part.greatest[0] for part in planes), default=0.0) or 1.0


def write_overlays(
    folder: Path,
    page: Path,
    title: str,
    planes: Sequence[Planes],
    table: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Path]:
    """Draw all volumes of a call on one scale, and a self-contained HTML page with them.

    Args:
        folder: gets `<name>.png`.
        page: of the HTML file.
        title: of the page.
        planes: of the volumes.
        table: measures of the whole set, by kind.
    """
    limit = scale_of(planes)
    paths = [draw(folder / f"{part.name}.png", part, limit) for part in planes]
    sections: list[Section] = []
    if table:
        header = ["", *next(iter(table.values()))]
        rows = [[name, *(f"{value:.4f}" for value in row.values())] for name, row in table.items()]
        sections.append(Table("Measures", header, rows))
    sections.append(Table("Volumes", ["volume", "score", "largest value", "voxel in the file", "mm"], _rows(planes)))
    caption = CONVENTION + f"One scale for all volumes of this page, up to {limit:.4g}."
    for part, path in zip(planes, paths, strict=True):
        outlined = " Blue outlines are true anomalies." if part.mask is not None else ""
        sections.append(Figure(base_name(part.name), path.read_bytes(), caption + outlined))
    write_report(page, title, sections)
    return paths


def draw(path: Path, planes: Planes, limit: float) -> Path:
    """One picture.

    Args:
        path: PNG.
        planes: of a volume.
        limit: the map's value that has the strongest colour.
    """
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(11.5, 4.2), layout="constrained", facecolor="black")
    for number, axes in enumerate(canvas.subplots(1, 3)):
        aspect, heat = planes.aspects[number], planes.heat[number]
        low, high = planes.window
        axes.imshow(planes.image[number], cmap="gray", origin="lower", vmin=low, vmax=high, aspect=aspect)
        strength = np.clip(heat / limit, 0, 1)
        opacity = np.where(planes.body[number] & (strength >= FAINTEST), STRONGEST * strength, 0)
        shown = axes.imshow(heat, cmap="inferno", origin="lower", vmin=0, vmax=limit, alpha=opacity, aspect=aspect)
        if planes.mask is not None and planes.mask[number].any():
            axes.contour(planes.mask[number], levels=[0.5], colors="#56B4E9", linewidths=1)
        _letters(axes, SIDES[number])
        axes.set_axis_off()
        axes.set_title(planes.titles[number], color="white", fontsize=8)
    bar = canvas.colorbar(shown, ax=canvas.axes, shrink=0.8)
    bar.ax.tick_params(colors="white", labelsize=8)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    head = planes.name if planes.score is None else f"{planes.name}, score {planes.score:.4g}"
    canvas.suptitle(head, color="white", fontsize=9)
    plots.save(canvas, path, dpi=110)
    return path


def _letters(axes: object, sides: tuple[str, str, str, str]) -> None:
    """Left, right, bottom and top of the patient at the borders of a plane."""
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98))
    for letter, (x, y) in zip(sides, places, strict=True):
        axes.text(  # type: ignore[attr-defined]
            *(x, y, letter),
            transform=axes.transAxes,  # type: ignore[attr-defined]
            color="#F0E442",
            fontsize=10,
            ha="center",
            va="center",
        )


def _rows(planes: Sequence[Planes]) -> list[list[str]]:
    rows = []
    for part in planes:
        value, voxel, place = part.greatest
        millimetres = ", ".join(f"{number:.1f}" for number in place)
        score = "–" if part.score is None else f"{part.score:.4g}"
        rows.append([part.name, score, f"{value:.4g}", ", ".join(map(str, voxel)), millimetres])
    return rows
