"""Images as a user has them in Python: arrays, tensors, PIL images, paths, or a list of them.

for batch in image_batches(images, prepare): …     # (k, channels, side, side), in order
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ood_shared.datasets.decode import Encoded, decode, to_pixels
from ood_shared.datasets.pixels import Range
from ood_shared.errors import InputError

CHUNK = 256  # images in memory at their own size
OneImage: TypeAlias = np.ndarray | Tensor | Image.Image | str | Path
Images: TypeAlias = OneImage | Sequence[OneImage]
LAYOUT = "expected uint8 (n, h, w) or (n, h, w, channels) with 1 or 3 channels"


def image_batches(
    images: Images,
    prepare: Callable[[UInt8[Tensor, "k c h w"]], Tensor],
    chunk: int = CHUNK,
    span: Range | None = None,
) -> Iterator[Tensor]:
    """The images as a network takes them, some hundred at a time, in order.

    Args:
        images: a uint8 array or tensor (n, h, w) or (n, h, w, c) of any size, one of (h, w), a PIL image, a path, or a
            sequence of single ones, whose sizes may differ.
        prepare: from uint8 (k, c, h, w) of one size, 1 or 3 channels, to what the network takes.
        chunk: most images that are held at their own size.
        span: of values of more than 8 bits in files and PIL images; None: 0 to 65535 of 16 bits.

    Raises:
        InputError: another dtype or shape, a file that is no image, or no image at all.
    """
    rest, some = one_by_one(images, span), False
    while found := list(islice(rest, chunk)):
        some = True
        empty = next((pixels.shape for pixels in found if not pixels.size), None)
        if empty is not None:
            raise InputError(f"An image has {empty[1]} x {empty[0]} pixels; expected at least 1 x 1.")
        runs = [list(run) for _, run in groupby(found, key=lambda pixels: pixels.shape)]
        stacked = (torch.from_numpy(np.stack(run)).permute(0, 3, 1, 2).contiguous() for run in runs)
        yield torch.cat([prepare(pixels) for pixels in stacked])
    if not some:
        raise InputError("There are no images; pass at least one.")


def one_by_one(images: Images, span: Range | None = None) -> Iterator[UInt8[np.ndarray, "h w c"]]:
    """Each image as uint8 (height, width, 1 or 3); see `image_batches`."""
    if isinstance(images, np.ndarray | Tensor):
        array = as_array(images)
        if array.ndim == 2:
            yield array[:, :, None]
            return
        if array.ndim == 3 and array.shape[2] in (1, 3, 4):
            raise InputError(
                f"An array of {array.shape} could be one colour image or {array.shape[0]} narrow grey ones. "
                "Pass images[None] for one image."
            )
        if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
            hint = " Channels come last: images.transpose(0, 2, 3, 1)." if array.ndim == 4 else ""
            raise InputError(f"The images are {array.dtype} {array.shape}; {LAYOUT}.{hint}")
        yield from array if array.ndim == 4 else array[..., None]
    elif isinstance(images, Image.Image | str | Path):
        yield _single(images, span)
    elif isinstance(images, Iterable):
        yield from (_single(image, span) for image in images)
    else:
        raise InputError(f"The images are a {type(images).__name__}; {LAYOUT}, a PIL image, a path, or a list of them.")


def as_array(images: np.ndarray | Tensor) -> np.ndarray:
    """The array, on the CPU.

    Raises:
        InputError: not uint8. Floats are not rounded here: whether 1.0 is white or almost black is not to be guessed.
    """
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    if array.dtype != np.uint8:
        raise InputError(
            f"The images are {array.dtype} {array.shape}; expected uint8, 0 to 255. "
            "Convert them, choosing which values become 0 and 255."
        )
    return array


def _single(image: OneImage, span: Range | None) -> UInt8[np.ndarray, "h w c"]:
    if isinstance(image, str | Path):
        path = Path(image)
        if path.is_dir():
            raise InputError(f"{path} is a folder. Pass its images: sorted(Path({str(path)!r}).rglob('*.png')).")
        return decode(Encoded(0, str(path), path), span=span)
    if isinstance(image, Image.Image):
        return to_pixels(image, "The PIL image", span)
    if not isinstance(image, np.ndarray | Tensor):
        raise InputError(f"An image is a {type(image).__name__}; expected an array, a tensor, a PIL image or a path.")
    array = as_array(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise InputError(f"An image of the list is {array.shape}; expected (h, w) or (h, w, channels) with 1 or 3.")
    return array
