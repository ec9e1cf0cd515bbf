"""Sets of volumes for the bench: the embedded subjects, folders of NIfTI files, synthetic anomalies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ood_shared.errors import InputError
from torch import Tensor

from mood_dpa.data.anomalies import add_anomaly_3d
from mood_dpa.data.dicom import is_series
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import Rule
from mood_dpa.data.preprocessing import prepare_slices
from mood_dpa.data.slice_files import cut_slices
from mood_dpa.data.subjects import make_subject, mni152
from mood_dpa.data.volume_queue import first_names, read_ahead
from mood_dpa.data.volumes import Volume, is_volume, list_volumes, read_volume

EMBEDDED, SYNTHETIC = "mni152", "synthetic"
SUBJECT_SIDE = 64
LEAST_SHARE = 1 / 16  # of a slice that is positive, for training on it
Voxels = npt.NDArray[np.float32]


def is_volume_set(name: str) -> bool:
    """Whether a name means volumes: the embedded subjects, or a folder with NIfTI files or DICOM series."""
    path = Path(name)
    if name == EMBEDDED or not path.is_dir():
        return name == EMBEDDED
    return any(is_volume(entry.name) or is_series(entry) for entry in (path, *path.iterdir()))


def read_volumes(name: str, subjects: int, seed: int, rule: Rule | None = None) -> tuple[list[Voxels], Directions]:
    """Embedded subjects or the volumes of a folder, in [0, 1], and where their axes point.

    Args:
        name: `mni152` or a folder.
        subjects: how many embedded ones.
        seed: of the embedded ones.
        rule: how intensities of files get to [0, 1]; None wants them there.

    Raises:
        InputError: names all volumes that cannot be used.
    """
    directions = Directions()
    if name == EMBEDDED:
        template, affine = mni152(SUBJECT_SIDE)
        directions.add(name, affine)
        return [make_subject(template, np.random.default_rng((seed, number))) for number in range(subjects)], directions
    failed, outside = list[str](), list[str]()

    def read(path: Path, dtype: Any) -> Volume:
        volume = read_volume(path, dtype)
        try:
            return replace(volume, data=(rule or Rule()).apply(volume.data, str(path)))
        except InputError:
            outside.append(name)
            raise

    paths = list_volumes(Path(name))
    volumes = [volume.data for volume in read_ahead(paths, failed, np.float32, None, directions, read)]
    directions.say()
    if failed:
        advice = f" From ood-bench, which has no --rescale: run `mood-dpa rescale -i {name} -o FOLDER` and pass FOLDER."
        raise InputError(
            f"{name}: {len(failed)} of {len(paths)} volumes could not be used: {first_names(failed)}. Nothing was "
            f"trained; correct or remove them.{advice if outside and rule is None else ''}"
        )
    return volumes, directions


def read_outliers(name: str, test: list[Voxels], seed: int, rule: Rule | None = None) -> list[Voxels]:
    """Copies of the test volumes with synthetic anomalies, or the volumes of a folder.

    Raises:
        InputError: another set.
    """
    if name == SYNTHETIC:
        draws = np.random.RandomState(seed)
        return [add_anomaly_3d(volume, draws).image for volume in test]
    if not is_volume_set(name) or name == EMBEDDED:
        raise InputError(f"--ood `{name}`: against volumes only `{SYNTHETIC}` and folders of NIfTI volumes can stand.")
    return read_volumes(name, 0, seed, rule)[0]


def axis_slices(volume: Voxels, axis: int, side: int) -> Tensor:
    """Slices (n, 1, side, side) with enough in them, in [0, 1]."""
    least = int(LEAST_SHARE * np.prod([n for a, n in enumerate(volume.shape) if a != axis]))
    index, slices = cut_slices(volume, axis, least, None, "float32")
    if not len(index):
        return torch.zeros(0, 1, side, side)
    return prepare_slices(torch.from_numpy(np.ascontiguousarray(slices)), side, normalised=False)
