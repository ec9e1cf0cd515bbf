"""Pictures that cost nothing, for the tests of commands that draw some on their way.

A page with two figures takes longer than to train and test a tiny network. A package's `conftest.py` imports both
fixtures. Processes of their own draw as ever.
"""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from ood_shared import plots
from ood_shared.files import atomic_path

REAL = {name: getattr(plots, name) for name in ("roc", "histograms", "curves", "scatter", "image_grid")}
REAL |= {"save": plots.save, "to_png": plots.to_png}


@pytest.fixture(autouse=True, scope="session")
def blank_pictures() -> Iterator[None]:
    """Every figure of `ood_shared.plots` is a white pixel: a file as before, and nothing is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for name in REAL:
            patch.setattr(plots, name, BLANK.get(name, lambda *_, **__: None))
        yield


@pytest.fixture
def drawn() -> Iterator[None]:
    """For a test that looks at pictures: they are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for name, function in REAL.items():
            patch.setattr(plots, name, function)
        yield


def _save_blank(figure: Any, path: Any, dpi: int = 150) -> None:
    if figure is not None:  # made by other means
        REAL["save"](figure, path, dpi)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(_blank_png(None))


def _blank_png(figure: Any, dpi: int = 130) -> bytes:
    if figure is not None:
        return REAL["to_png"](figure, dpi)  # type: ignore[no-any-return]
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(buffer, "png")
    return buffer.getvalue()


BLANK = {"save": _save_blank, "to_png": _blank_png}
