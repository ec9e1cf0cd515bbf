"""Figures as files and as bytes; both release the figure."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ood_shared import files
from ood_shared.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
