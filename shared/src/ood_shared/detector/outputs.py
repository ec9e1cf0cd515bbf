"""What a trained detector is: scores and classes of images."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ood_shared.errors import InputError
from ood_shared.images import Images, image_batches

BATCH = 250  # images of a pass on a GPU
Outputs = tuple[Float[Tensor, " n"], Int64[Tensor, " n"] | None]  # scores and classes; None where none is predicted


class Detector(Protocol):
    """A trained detector."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ID classes; empty where none is predicted."""

    @property
    def threshold(self) -> float | None:
        """Score above which an image is called OOD; None where none was set."""

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image; higher = more OOD. On a CPU in fp32 it depends on nothing but the image.

        Args:
            images: uint8 array or tensor (n, h, w) or (n, h, w, c) of any size, a PIL image, a path, or a list of them.
            batch_size: images of a pass on a GPU.

        Raises:
            InputError: images of another form, or a file that is no image.
        """

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold."""

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of images at the network's size, uint8 or floats in the scale of [0, 1]; on the CPU."""


def outputs_of(
    detector: Detector, images: Images, prepare: Callable[[Tensor], Tensor], batch_size: int
) -> tuple[Float[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Scores and classes of a user's images, some hundred in memory at a time; class -1 where none is predicted."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"The batch size is {batch_size!r}; expected a whole number from 1 on.")
    span = getattr(detector, "span", None)
    parts = [detector.outputs(batch, batch_size) for batch in image_batches(images, prepare, span=span)]
    scores = torch.cat([scores for scores, _ in parts])
    if scores.isnan().any():
        first = int(scores.isnan().int().argmax())
        raise InputError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN, the first at image {first}: the weights of "
            "the detector are broken. Train it again."
        )
    classes = [torch.full((len(s),), -1) if found is None else found for s, found in parts]
    return scores.numpy(), torch.cat(classes).numpy()


def within_threshold(
    scores: Float[np.ndarray, " n"], classes: Int64[np.ndarray, " n"], threshold: float | None
) -> Int64[np.ndarray, " n"]:
    """The classes, -1 where the score lies above the threshold.

    Raises:
        InputError: a threshold that is no number.
    """
    if threshold is not None and not (isinstance(threshold, int | float | np.number) and threshold == threshold):
        raise InputError(f"The threshold is {threshold!r}; expected a number, or None for none.")
    return classes if threshold is None else np.where(scores > threshold, -1, classes)
