"""Detectors of anomalous voxels without a network, on the subjects and under the rules of `compare_features`.

A template bent by a few voxels is the ideal case of an atlas, the mean of the healthy volumes voxel by voxel. A method
that does not beat it there has shown nothing about anomalies; the rows stand beside the networks for that reason.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mood_dpa.data.folds import cases_of, read_folds
from mood_dpa.data.volumes import case_id, list_volumes, read_volume
from mood_dpa.ranking import Ranking, rank_metrics
from scipy.ndimage import gaussian_filter

Array = npt.NDArray[np.float32]
LEAST_SD = 0.1  # added to the standard deviation, in units of intensity
SIGMAS = (1.5, 2.0)  # voxels
Z = "z = |x - mean| / (sd + 0.1)"


def plain_detectors(data: Path) -> dict[str, Any]:
    """Pixel AP and AUROC, sample AUROC of each detector, and the share of anomalous voxels.

    Args:
        data: folder of `ensure_subjects`; the mean and standard deviation are those of the fold's training volumes.
    """
    wanted = cases_of(read_folds(data / "folds.csv"), "train", 0)
    healthy = [read_volume(path).data for path in list_volumes(data / "volumes") if case_id(path.name) in wanted]
    detectors = detectors_of(np.mean(healthy, 0), np.std(healthy, 0))
    volumes = [
        (read_volume(path).data, read_volume(data / "test_masks" / path.name).data > 0.5)
        for path in list_volumes(data / "test_images")
    ]
    total, positive, head = (sum(int(a.sum()) for a in part) for part in _counts(volumes))
    rows = {name: _measure(detector, volumes) for name, detector in detectors.items()}
    return {
        "prevalence": positive / total,
        "prevalence_in_head": positive / head,
        "healthy": len(healthy),
        "rows": rows,
    }


def detectors_of(mean: Array, sd: Array) -> dict[str, Callable[[Array], Array]]:
    """Detectors by name, from the mean and standard deviation of healthy volumes, voxel by voxel."""
    detectors: dict[str, Callable[[Array], Array]] = {
        "|x - 0.5|": lambda x: np.abs(x - 0.5),
        "x": lambda x: x,
        "|x - mean|": lambda x: np.abs(x - mean),
        Z: lambda x: np.abs(x - mean) / (sd + LEAST_SD),
    }
    for sigma in SIGMAS:
        detectors[f"z smoothed by {sigma:g} voxels"] = _smoothed(detectors[Z], sigma)
    return detectors


def _smoothed(detector: Callable[[Array], Array], sigma: float) -> Callable[[Array], Array]:
    return lambda x: gaussian_filter(detector(x), sigma)


def _counts(volumes: list[tuple[Array, npt.NDArray[np.bool_]]]) -> tuple[list[Any], list[Any], list[Any]]:
    """All voxels, the anomalous ones, and those of the head."""
    return [np.ones_like(m) for _, m in volumes], [m for _, m in volumes], [x > 0 for x, _ in volumes]


def _measure(
    detector: Callable[[Array], Array], volumes: list[tuple[Array, npt.NDArray[np.bool_]]]
) -> dict[str, float]:
    pixels, labels, scores = Ranking(), [], []
    for volume, mask in volumes:
        found = detector(volume) * (volume > 0)
        pixels.add(mask, found)
        labels.append(bool(mask.any()))
        scores.append(float(found.max()))
    of_pixels, of_samples = pixels.metrics(), rank_metrics(labels, scores)
    return {"pixel_ap": of_pixels.ap, "pixel_auroc": of_pixels.auroc, "sample_auroc": of_samples.auroc}


if __name__ == "__main__":
    import sys

    print(plain_detectors(Path(sys.argv[1])))
