"""Sets of volumes for the bench: the embedded subjects, folders of NIfTI files, synthetic anomalies."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ood_shared.errors import InputError
from torch import Tensor

from mood_dpa.data.anomalies import add_anomaly_3d
from mood_dpa.data.preprocessing import prepare_slices
from mood_dpa.data.slices import cut_slices
from mood_dpa.data.subjects import make_subject, mni152
from mood_dpa.data.volumes import is_volume, list_volumes, read_volume, rescaled

EMBEDDED, SYNTHETIC = "mni152", "synthetic"
SUBJECT_SIDE = 64
LEAST_SHARE = 1 / 16  # of a slice that is positive, for training on it
Voxels = npt.NDArray[np.float32]


def is_volume_set(name: str) -> bool:
    """Whether a name means volumes: the embedded subjects, or a folder with NIfTI files."""
    path = Path(name)
    return name == EMBEDDED or (path.is_dir() and any(is_volume(entry.name) for entry in path.iterdir()))


def read_volumes(name: str, subjects: int, seed: int) -> list[Voxels]:
    """Embedded subjects or the volumes of a folder, in [0, 1].

    Folders may hold any intensities: those outside [0, 1] are brought to it by percentiles.

    Args:
        name: `mni152` or a folder.
        subjects: how many embedded ones.
        seed: of the embedded ones.
    """
    if name == EMBEDDED:
        template, _ = mni152(SUBJECT_SIDE)
        return [make_subject(template, np.random.default_rng((seed, number))) for number in range(subjects)]
    volumes = []
    for path in list_volumes(Path(name)):
        data = read_volume(path).data
        volumes.append(rescaled(data) if data.min() < 0 or data.max() > 1 else data)
    return volumes


def read_outliers(name: str, test: list[Voxels], seed: int) -> list[Voxels]:
    """Copies of the test volumes with synthetic anomalies, or the volumes of a folder.

    Raises:
        InputError: another set.
    """
    if name == SYNTHETIC:
        draws = np.random.RandomState(seed)
        return [add_anomaly_3d(volume, draws).image for volume in test]
    if not is_volume_set(name) or name == EMBEDDED:
        raise InputError(f"--ood `{name}`: against volumes only `{SYNTHETIC}` and folders of NIfTI volumes can stand.")
    return read_volumes(name, 0, seed)


def axis_slices(volume: Voxels, axis: int, side: int) -> Tensor:
    """Slices (n, 1, side, side) with enough in them, in [0, 1]."""
    least = int(LEAST_SHARE * np.prod([n for a, n in enumerate(volume.shape) if a != axis]))
    index, slices = cut_slices(volume, axis, least, None, "float32")
    if not len(index):
        return torch.zeros(0, 1, side, side)
    return prepare_slices(torch.from_numpy(np.ascontiguousarray(slices)), side, normalised=False)
