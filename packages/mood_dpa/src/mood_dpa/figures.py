"""Three-plane overlays of anomaly maps, and a page with all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from ood_shared import plots
from ood_shared.report import Figure, Section, Table, write_report

from mood_dpa.data.volumes import Volume, base_name

PLANES = ("sagittal", "coronal", "axial")
UPPER = 99.9  # percentile of the map that gets the strongest colour


def write_overlay(
    path: Path, volume: Volume, anomaly_map: npt.NDArray[np.floating], mask: npt.NDArray[Any] | None = None
) -> Path:
    """Draw the planes through the map's largest value, turned to the viewer's usual orientation.

    Args:
        path: PNG.
        volume: in its own axes; its affine says which of them is left, front and up.
        anomaly_map: of the volume's shape.
        mask: true anomalies, drawn as an outline.
    """
    from matplotlib.figure import Figure as Canvas

    upright = [_upright(array, volume.affine) for array in (volume.data, anomaly_map)]
    outline = None if mask is None else _upright(mask, volume.affine)
    spacing = np.sqrt((volume.affine[:3, :3] ** 2).sum(0))
    order = nibabel.orientations.io_orientation(volume.affine)[:, 0].astype(int)  # type: ignore[no-untyped-call]
    size = np.empty(3)
    size[order] = spacing
    image, heat = upright
    centre = np.unravel_index(int(heat.argmax()), heat.shape)
    limit = float(np.percentile(heat, UPPER)) or float(heat.max()) or 1.0
    low, high = np.percentile(image, (1, 99.5))
    canvas = Canvas(figsize=(10.5, 3.9), layout="constrained", facecolor="black")
    for axis, (axes, plane) in enumerate(zip(canvas.subplots(1, 3), PLANES, strict=True)):
        others = [a for a in range(3) if a != axis]
        aspect = size[others[1]] / size[others[0]]
        cut = [np.take(array, centre[axis], axis).T for array in (image, heat)]
        axes.imshow(cut[0], cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
        strength = np.clip(cut[1] / limit, 0, 1)
        shown = axes.imshow(
            cut[1], cmap="inferno", origin="lower", vmin=0, vmax=limit, alpha=0.75 * strength, aspect=aspect
        )
        if outline is not None:
            part = np.take(outline, centre[axis], axis).T > 0.5
            if part.any():
                axes.contour(part, levels=[0.5], colors="#56B4E9", linewidths=1)
        axes.set_axis_off()
        axes.set_title(f"{plane}, slice {centre[axis]}", color="white", fontsize=9)
    bar = canvas.colorbar(shown, ax=canvas.axes, shrink=0.8)
    bar.ax.tick_params(colors="white", labelsize=8)
    plots.save(canvas, path, dpi=110)
    return path


def write_page(
    path: Path, title: str, drawn: Sequence[Path], scores: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """One self-contained HTML page with the overlays, and a table of scores when there is one."""
    sections: list[Section] = []
    if scores:
        header = ["", *next(iter(scores.values()))]
        rows = [[name, *(f"{value:.4f}" for value in row.values())] for name, row in scores.items()]
        sections.append(Table("Scores", header, rows))
    caption = "Planes through the map's largest value, up is up; blue outlines are true anomalies."
    for picture in drawn:
        sections.append(Figure(base_name(picture.name), picture.read_bytes(), caption))
    write_report(path, title, sections)


def _upright(array: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """The array with axes left-right, back-front, down-up."""
    codes = nibabel.orientations.io_orientation(affine)  # type: ignore[no-untyped-call]
    upright: npt.NDArray[Any] = nibabel.orientations.apply_orientation(array, codes)  # type: ignore[no-untyped-call]
    return upright
