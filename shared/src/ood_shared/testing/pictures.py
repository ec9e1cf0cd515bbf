"""Pictures that cost nothing, for the tests of commands that draw some on their way.

A page with two figures takes longer than to train and test a tiny network. A package's `conftest.py` imports both
fixtures. Processes of their own draw as ever.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from ood_shared import plots
from ood_shared.files import atomic_path

REAL = {name: getattr(plots, name) for name in ("roc", "histograms", "curves", "scatter", "image_grid", "save")}


@pytest.fixture(autouse=True, scope="session")
def blank_pictures() -> Iterator[None]:
    """Every figure of `ood_shared.plots` is a white pixel: a file as before, and nothing is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for name in REAL:
            patch.setattr(plots, name, _save_blank if name == "save" else lambda *_, **__: None)
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
        Image.new("RGB", (1, 1), "white").save(temporary, "png")
