"""Images after the fixed part of their preprocessing, the same in every epoch, decoded into memory."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from ood_shared.datasets import resize
from ood_shared.loaders import to_float
from torch import Tensor

from ascood.data.preprocessing import Chain, fixed_part
from ascood.data.samples import Samples

MEMORY_LIMIT = 2 << 30  # bytes of uint8 images that are kept


def fits_memory(samples: Samples, chain: Chain) -> bool:
    """Whether the decoded set is kept whole."""
    return chain.fixed and 3 * len(samples) * chain.image_size**2 <= MEMORY_LIMIT


def decode(samples: Samples, chain: Chain) -> Tensor:
    """All images after the fixed part, uint8 (n, 3, image_size, image_size), decoded in threads."""
    images = torch.empty(len(samples), 3, chain.image_size, chain.image_size, dtype=torch.uint8)

    def one(index: int) -> None:
        images[index] = fixed_part(samples.open(index), chain)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(one, range(len(samples))):
            pass
    return images


def normalised(samples: Samples, chain: Chain) -> Tensor:
    """A few images as the network sees them, all on this process: float (n, 3, image_size, image_size)."""
    return to_float(decode(samples, chain), chain.mean, chain.std)


def prepared(pixels: Tensor, chain: Chain, resized_first: bool = False) -> Tensor:
    """Images of any size as the network's, uint8 (n, 3, image_size, image_size).

    Args:
        pixels: uint8 (n, 1 or 3, height, width).
        chain: of the evaluation.
        resized_first: the centre square is resized by `ood_shared.datasets` before, as it does with sets of its own.
    """
    if resized_first:
        side = min(pixels.shape[2:])
        top, left = ((length - side) // 2 for length in pixels.shape[2:])
        pixels = resize(pixels[:, :, top : top + side, left : left + side], (chain.pre_size,) * 2, 3)
    array = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
    return decode(Samples("images", np.zeros(len(array), dtype=np.int64), "the images", (), array), chain)
