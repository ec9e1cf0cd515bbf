"""A user's object with `fit` and `score` as a detector of the bench; what it returns is checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from ood_shared.datasets import resize
from ood_shared.datasets.benchmark import as_uint8
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.errors import InputError
from ood_shared.images import Images
from torch import Tensor

SIDE, CHANNELS = 32, 3


@dataclass(frozen=True)
class UserDetector:
    """The user's object, trained.

    Attributes:
        user: has `score(images)` and perhaps `predict(images)`.
        classes: names of the ID classes.
        threshold: score above which an image is called OOD.
    """

    user: Any
    classes: tuple[str, ...] = ()
    threshold: float | None = None

    def score(self, images: Images, batch_size: int = BATCH) -> np.ndarray:
        """Scores (n,), higher = more OOD."""
        return outputs_of(self, images, _prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """Classes (n,), -1 beyond the threshold or where the object predicts none."""
        return within_threshold(*outputs_of(self, images, _prepare, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of (n, 3, 32, 32); floats are rounded to grey levels first."""
        arrays = as_arrays(images)
        scores = np.asarray(self.user.score(arrays))
        kind = type(self.user).__name__
        if scores.shape != (len(arrays),) or scores.dtype.kind not in "fiu":
            raise InputError(
                f"{kind}.score returned {scores.dtype} {scores.shape} for {len(arrays)} images; "
                f"expected ({len(arrays)},) numbers."
            )
        if not np.isfinite(scores).all():
            raise InputError(f"{kind}.score returned {(~np.isfinite(scores)).sum()} values that are no finite numbers.")
        values = torch.from_numpy(scores.astype(np.float64))
        if not hasattr(self.user, "predict"):
            return values, None
        classes = np.asarray(self.user.predict(arrays))
        if classes.shape != (len(arrays),) or classes.dtype.kind not in "iu":
            raise InputError(
                f"{kind}.predict returned {classes.dtype} {classes.shape} for {len(arrays)} images; "
                f"expected ({len(arrays)},) class numbers."
            )
        if self.classes and len(classes) and not 0 <= classes.min() <= classes.max() < len(self.classes):
            ends = f"{classes.min()} to {classes.max()}"
            raise InputError(f"{kind}.predict returned classes {ends}; expected 0 to {len(self.classes) - 1}.")
        return values, torch.from_numpy(classes.astype(np.int64))


def as_arrays(images: Tensor) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Images of the bench in the layout that the user's object gets."""
    return np.ascontiguousarray(as_uint8(images).permute(0, 2, 3, 1).numpy())


def _prepare(pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 3 32 32"]:
    return resize(pixels, (SIDE, SIDE), channels=CHANNELS)
