"""A trained detector under the names of other libraries: scikit-learn's and pytorch-ood's.

as_sklearn(detector).fit(images)            # sets the threshold: `contamination` of the images lie beyond it
as_pytorch_ood(detector)(batch)             # scores of a batch of its evaluation loop
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ood_shared.detector import Detector
from ood_shared.errors import InputError, not_installed
from ood_shared.images import Images

LEVELS = 255
TOLERANCE = 1e-3  # of a grey level, in which floats have to lie on one


class SklearnDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's outlier detector. Its signs are the other way round: lower = more abnormal, +1 inlier, -1 outlier.

    Args:
        detector: a trained one.
        contamination: share of the images of `fit` that are to lie beyond the threshold.
    """

    def __init__(self, detector: Detector, contamination: float = 0.05) -> None:
        self.detector = detector
        self.contamination = contamination
        if detector.threshold is not None:
            self.offset_ = -detector.threshold

    def fit(self, X: Images, y: Any = None) -> "SklearnDetector":
        """Set the threshold so that `contamination` of these ID images lie beyond it. Nothing is trained."""
        if not 0 < self.contamination < 1:
            raise InputError(f"contamination is {self.contamination}; expected a share between 0 and 1.")
        self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    def score_samples(self, X: Images) -> Float[np.ndarray, " n"]:
        """Minus the score: lower = more abnormal.

        Raises:
            InputError: rows of features in place of images.
        """
        if isinstance(X, np.ndarray | Tensor) and X.ndim == 2:
            raise InputError(f"X is {tuple(X.shape)}, rows of features; expected images (n, height, width).")
        return -self.detector.score(X)

    def decision_function(self, X: Images) -> Float[np.ndarray, " n"]:
        """`score_samples` minus the offset: negative for outliers."""
        check_is_fitted(self, "offset_")
        return self.score_samples(X) - self.offset_

    def predict(self, X: Images) -> Int64[np.ndarray, " n"]:
        """+1 for inliers, -1 for outliers."""
        return np.where(self.decision_function(X) < 0, -1, 1)


def as_sklearn(detector: Detector, contamination: float = 0.05) -> SklearnDetector:
    """The detector under scikit-learn's names; with a threshold of its own it needs no `fit`."""
    return SklearnDetector(detector, contamination)


class _Predict:
    """What pytorch-ood's loops call of a detector; its base class has the rest."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def predict(self, x: Tensor) -> Float[Tensor, " batch"]:
        """Scores of a batch, higher = more OOD.

        Args:
            x: (batch, 1 or 3, height, width); uint8, or floats in [0, 1] as `ToTensor` makes them of 8-bit images.

        Raises:
            InputError: floats that are no 8-bit images, as after a normalisation.
        """
        return torch.from_numpy(self.detector.score(_as_uint8(x).permute(0, 2, 3, 1)))


def as_pytorch_ood(detector: Detector) -> Any:
    """The detector as a `pytorch_ood.api.Detector`, for `metrics.update(detector(batch), labels)` and its benchmarks.

    Raises:
        InputError: pytorch-ood is not installed.
    """
    try:
        from pytorch_ood.api import Detector as Base
    except ImportError:
        raise not_installed("as_pytorch_ood", "pytorch-ood", "pytorch-ood") from None
    return type("PytorchOodDetector", (_Predict, Base), {})(detector)


def _as_uint8(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor) or not x.numel():
        raise InputError("The batch is no tensor, or has no images; expected (batch, 1 or 3, height, width).")
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise InputError(f"The batch is {tuple(x.shape)}; expected (batch, 1 or 3, height, width).")
    if x.dtype == torch.uint8:
        return x
    levels = LEVELS * x.float()
    nearest = levels.round()
    if not x.is_floating_point() or not bool(
        ((levels - nearest).abs() <= TOLERANCE).all() and x.min() >= 0 and x.max() <= 1
    ):
        raise InputError(
            f"The batch is {x.dtype} from {float(x.min()):.3g} to {float(x.max()):.3g}; expected uint8, or floats "
            "k/255 as ToTensor makes them. Leave normalisation to the detector."
        )
    return nearest.to(torch.uint8)
