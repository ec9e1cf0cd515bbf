"""Figures of a run: ROC curves, score histograms, training curves, image grids.

Every function returns a `Figure` that belongs to the caller; no state of pyplot is involved. Curves differ in colour,
dash and marker (`looks`). ID is always blue.
"""

from ood_shared.plots.grids import image_grid
from ood_shared.plots.scores import histograms, roc
from ood_shared.plots.series import curves, scatter
from ood_shared.plots.written import save, to_png

__all__ = ["curves", "histograms", "image_grid", "roc", "save", "scatter", "to_png"]
