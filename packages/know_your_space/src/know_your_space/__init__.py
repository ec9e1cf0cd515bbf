"""Know Your Space: inliers and outliers that calibrate medical OOD detectors (Narayanaswamy et al., MIDL 2023).

    detector = know_your_space.load("ckpts/wrn/bloodmnist/in_latent_out_pix")     # a run, or a released .pth.tar
    scores = detector.score(images)         # (n,), energy: higher = more OOD
    classes = detector.predict(images)      # (n,), -1 beyond detector.threshold, if given

`know_your_space.fit(images, labels)` trains one. `images`: uint8 array or tensor (n, h, w) or (n, h, w, c), a PIL
image, a path, or a list of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from know_your_space.detector import KnowYourSpaceDetector

__all__ = ["fit", "load"]


def load(path: Any, **named: Any) -> "KnowYourSpaceDetector":
    """A trained detector; see `know_your_space.loading.load`."""
    from know_your_space import loading

    return loading.load(path, **named)


def fit(images: Any, labels: Any, **named: Any) -> "KnowYourSpaceDetector":
    """Train a detector on images; see `know_your_space.fitting.fit`."""
    from know_your_space import fitting

    return fitting.fit(images, labels, **named)
