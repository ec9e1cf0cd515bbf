"""Deep perceptual autoencoders on the slices of 3D medical images (MOOD 2020, third place of the pixel task).

    detector = mood_dpa.load("runs/brain/checkpoints", axes=0)   # of a training; or a folder of the bench, or a config
    scores = detector.score(volumes)                             # (n,), higher = more OOD
    voxels = detector.map(volume)                                # (d, h, w), on the volume's own grid

`mood_dpa.fit(images)` trains one. `volumes`: an array (d, h, w) in [0, 1], a nibabel image, a path of NIfTI, or a list.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mood_dpa.detector import ImageDetector, VolumeDetector

__all__ = ["fit", "load"]


def load(path: Any, **named: Any) -> "ImageDetector | VolumeDetector":
    """A trained detector; see `mood_dpa.loading.load`."""
    from mood_dpa import loading

    return loading.load(path, **named)


def fit(images: Any, labels: Any = None, **named: Any) -> "ImageDetector | VolumeDetector":
    """Train a detector on images or volumes; see `mood_dpa.fitting.fit`."""
    from mood_dpa import fitting

    return fitting.fit(images, labels, **named)
