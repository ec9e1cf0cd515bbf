"""Images side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ood_shared.errors import InputError
from ood_shared.looks import WIDTH, panels, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 0.05  # between images of a grid, of their width


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
            text = plain(titles[position])
            axes.text(left + width / 2, top - 0.03 * inch, text, fontsize=7, ha="center", va="bottom")
    axes.set(xlim=(0, (columns * (1 + GAP) - GAP) * width), ylim=(rows * (height + above) - above, -above))
    axes.set_axis_off()
    if title:
        figure.suptitle(plain(title))
    return figure


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
