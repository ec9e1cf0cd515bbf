"""A detector with a threshold and what it promises: what a file `model.ood` holds, and what is said of a single image.

    calibrated = calibrate(detector, scores, alarm_rate=0.05)      # scores of ID images that nothing else was done with
    verdict = calibrated.judge(calibrated.prepare(pixels))
    classes = calibrated.predict(images)                           # -1 where an image is flagged

By class (`by_class`), an image is compared with the calibration images that were taken for the same class, so that the
rate holds for every class by itself and not only on average. One that is taken for none, such as for a background, is
compared with all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ood_shared.datasets.pixels import Range
from ood_shared.detector import BATCH, Detector, Outputs, outputs_of
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.thresholds import Threshold, class_p_values, fit_threshold, least_calibration, p_values


@dataclass(frozen=True)
class Examined:
    """What a detector finds in images, before anything is decided.

    Attributes:
        scores: (n,), float64, higher = more OOD.
        classes: (n,), index of the class that an image is taken for; -1 where the detector has none.
        drivers: what drove each score; None where the score has no parts.
        nearest: name of the training image that is nearest; None where none were kept.
    """

    scores: Float[np.ndarray, " n"]
    classes: Int64[np.ndarray, " n"]
    drivers: list[str] | None = None
    nearest: list[str] | None = None


@dataclass(frozen=True)
class Verdict(Examined):
    """What is said of images.

    Attributes:
        p: (n,), conformal p-values, in [1 / (calibration images + 1), 1].
        flagged: (n,), whether an image is called OOD.
    """

    p: Float[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0))
    flagged: np.ndarray = field(default_factory=lambda: np.empty(0, bool))


class Judged(Detector, Protocol):
    """A detector that can be calibrated: one that also prepares images of any size."""

    @property
    def prepare(self) -> Any:
        """From uint8 (k, c, h, w), 1 or 3 channels, to what `outputs` takes."""


@runtime_checkable
class Examining(Protocol):
    """A detector that says more of an image than its score."""

    def examine(self, images: Tensor, batch_size: int = BATCH) -> Examined:
        """Scores, classes, drivers and nearest images of prepared ones."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A detector, calibrated; itself a `Detector`.

    Attributes:
        detector: that scores.
        scores: (n,), of the calibration images.
        taken_for: (n,), classes that the calibration images were taken for.
        limits: the threshold; by class those of all classes, in their order.
        about: what it was made from; JSON values.
    """

    detector: Judged = field(repr=False)
    scores: Float[np.ndarray, " n"] = field(repr=False)
    taken_for: Int64[np.ndarray, " n"] = field(repr=False)
    limits: tuple[Threshold, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_class(self) -> bool:
        """Whether each class has a threshold of its own."""
        return len(self.limits) > 1

    @property
    def limit(self) -> Threshold:
        """The threshold; by class the one of the fewest calibration images, which promises least."""
        return min(self.limits, key=lambda limit: limit.n)

    @property
    def alarm_rate(self) -> float:
        """Share of images like the calibration images that may be flagged."""
        return self.limit.alarm_rate

    @property
    def threshold(self) -> float | None:
        """Score above which an image is flagged; None where each class has its own."""
        return None if self.by_class else self.limit.value

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ID classes."""
        return self.detector.classes

    @property
    def span(self) -> Range | None:
        """Which values of images of more than 8 bits become 0 and 255, as in training; None for 0 and 65535."""
        found = self.about.get("value_range")
        return None if found is None else Range(*map(float, found))

    def words(self) -> str:
        """The promise, for people."""
        return ("within each class " if self.by_class else "") + self.limit.words()

    def prepare(self, pixels: Tensor) -> Tensor:
        """Images of any size as the network takes them."""
        prepared: Tensor = self.detector.prepare(pixels)
        return prepared

    def judge(self, images: Tensor, batch_size: int = BATCH) -> Verdict:
        """Everything that is said of prepared images; of each by itself.

        Raises:
            InputError: images as they are, not prepared, or a score that is no number.
        """
        if (images.dtype, images.shape[1:]) != (self._takes.dtype, self._takes.shape[1:]):
            given, taken = (
                f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape[1:])}" for x in (images, self._takes)
            )
            raise InputError(
                f"Each image is {given}; expected {taken}, as `prepare` makes them: judge(prepare(pixels))."
            )
        found = examine(self.detector, images, batch_size)
        return Verdict(**vars(found), p=self._p(found), flagged=self._flagged(found))

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image, higher = more OOD."""
        if self.span is not None:
            return outputs_of(self, images, self.prepare, batch_size)[0]
        return self.detector.score(images, batch_size)

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image; -1 where it is flagged, or where the detector has no classes."""
        found = _named(Examined(*outputs_of(self, images, self.prepare, batch_size)), self.classes)
        return np.where(self._flagged(found), -1, found.classes)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of prepared images."""
        return self.detector.outputs(images, batch_size)

    def _p(self, found: Examined) -> Float[np.ndarray, " n"]:
        p = p_values(self.scores, found.scores)
        if self.by_class:
            own = found.classes >= 0
            p[own] = class_p_values(self.scores, self.taken_for, found.scores[own], found.classes[own])
        return p

    def _flagged(self, found: Examined) -> np.ndarray:
        if not self.by_class:
            return np.asarray(found.scores > self.limit.value)
        return np.asarray(found.scores > self._values[found.classes])

    @cached_property
    def _takes(self) -> Tensor:
        """An image as `prepare` makes them all: its type and size."""
        return self.prepare(torch.zeros(1, 1, 64, 64, dtype=torch.uint8))

    @cached_property
    def _values(self) -> Float[np.ndarray, " classes+1"]:
        """Thresholds of all classes; the last one is that of class -1, for which all calibration images count."""
        of_none = fit_threshold(self.scores, self.alarm_rate).value
        return np.array([*(limit.value for limit in self.limits), of_none])


def examine(detector: Detector, images: Tensor, batch_size: int = BATCH) -> Examined:
    """What a detector finds in prepared images.

    Raises:
        InputError: a score that is no number.
    """
    if isinstance(detector, Examining):
        found = detector.examine(images, batch_size)
    else:
        scores, classes = detector.outputs(images, batch_size)
        numbers = torch.full((len(scores),), -1) if classes is None else classes
        found = Examined(scores.double().cpu().numpy(), numbers.cpu().numpy())
    if np.isnan(found.scores).any():
        raise InputError(
            f"{int(np.isnan(found.scores).sum())} of {len(images)} scores are NaN: the weights are broken."
        )
    return _named(found, detector.classes)


def calibrate(
    detector: Judged,
    scores: Float[np.ndarray, " n"],
    taken_for: Int64[np.ndarray, " n"] | None = None,
    *,
    alarm_rate: float,
    by_class: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Calibrated:
    """A detector with a conformal threshold.

    Args:
        detector: that scores.
        scores: of ID images that were used for nothing else, by `examine`.
        taken_for: classes that it took them for; needed by class.
        alarm_rate: share of images like these that may be flagged.
        by_class: a threshold for every class.
        about: what it was made from; JSON values.

    Raises:
        InputError: too few calibration images for the rate, in a class too when by class; or no classes.
    """
    scores = np.asarray(scores, dtype=np.float64)
    taken = np.full(len(scores), -1) if taken_for is None else np.asarray(taken_for, dtype=np.int64)
    limits: tuple[Threshold, ...] = (fit_threshold(scores, alarm_rate),)
    if by_class and len(detector.classes) < 2:
        raise InputError("A threshold by class needs two classes or more; leave it out.")
    if by_class:
        limits = _by_class(detector.classes, scores, taken, alarm_rate)
    return Calibrated(detector, scores, taken, limits, dict(about or {}))


def _named(found: Examined, classes: Sequence[str]) -> Examined:
    """With -1 where a class is none of the names, such as the background of some classifiers."""
    return replace(found, classes=np.where(found.classes < len(classes), found.classes, -1))


def _by_class(
    classes: Sequence[str], scores: Float[np.ndarray, " n"], taken: Int64[np.ndarray, " n"], alarm_rate: float
) -> tuple[Threshold, ...]:
    limits = []
    for number, name in enumerate(classes):
        try:
            limits.append(fit_threshold(scores[taken == number], alarm_rate))
        except InputError:
            count = int((taken == number).sum())
            raise InputError(
                f"{count} calibration images were taken for class {name}; a threshold of its own at {alarm_rate:g} "
                f"needs {least_calibration(alarm_rate)}. Give more images, a higher rate, or one threshold for all."
            ) from None
    return tuple(limits)
