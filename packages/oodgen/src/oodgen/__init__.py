"""Out-of-Distribution Detection in Classifiers via Generation (Vernekar et al., arXiv 1910.04241).

    detector = oodgen.load("result")        # what train_classi.py wrote; or a released model_200.pth
    scores = detector.score(images)         # (n,), higher = more OOD
    classes = detector.predict(images)      # (n,), -1 beyond detector.threshold, if given

`oodgen.fit(images, labels)` trains one. `images`: uint8 array or tensor (n, h, w) or (n, h, w, c), a PIL image, a path,
or a list of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oodgen.detector import OodgenDetector

__all__ = ["fit", "load"]


def load(path: Any, **named: Any) -> "OodgenDetector":
    """A trained detector; see `oodgen.loading.load`."""
    from oodgen import loading

    return loading.load(path, **named)


def fit(images: Any, labels: Any, **named: Any) -> "OodgenDetector":
    """Train a detector on images; see `oodgen.fitting.fit`."""
    from oodgen import fitting

    return fitting.fit(images, labels, **named)
