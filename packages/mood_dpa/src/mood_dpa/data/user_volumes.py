"""Volumes as a user has them in Python: arrays, tensors, nibabel images, paths, or a list of them.

for volume in volumes_of(volumes): …     # `data.volumes.Volume`, one in memory at a time
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from ood_shared.errors import InputError
from ood_shared.files import reading
from torch import Tensor

from mood_dpa.data.intensities import Rule
from mood_dpa.data.nifti import refuse_flat
from mood_dpa.data.volumes import Volume, check_voxels, is_series, is_volume, read_volume

OneVolume: TypeAlias = Any  # Volume, array, (array, affine), tensor, path or nibabel image
Volumes: TypeAlias = OneVolume | Sequence[OneVolume]
KINDS = "an array (d, h, w), (array, affine), a nibabel image, a path of NIfTI or of a DICOM series, or a list of them"


def volumes_of(volumes: Volumes, rule: Rule | None = None) -> Iterator[Volume]:
    """Each volume, in order.

    Args:
        volumes: an array or tensor (d, h, w) of any numbers, or (n, d, h, w), which is said: an image of several times
            or channels has four dimensions, too; (array, affine); a nibabel image; a path; or a sequence of single
            ones, whose shapes may differ.
        rule: how their intensities get to [0, 1]; None wants them there.

    Raises:
        InputError: another kind or shape, voxels that are not finite or outside [0, 1], or no volume at all.
    """
    if is_one(volumes):
        listed: Iterable[OneVolume] = [volumes]
    elif isinstance(volumes, np.ndarray | Tensor):
        if volumes.ndim != 4:
            raise InputError(
                f"The volumes are {volumes.dtype} {tuple(volumes.shape)}; expected (d, h, w) or (n, d, h, w)."
            )
        print(
            f"note: an array of four dimensions is taken for {len(volumes)} volumes of {tuple(volumes.shape[1:])}; "
            "a list of volumes says so by itself.",
            file=sys.stderr,
            flush=True,
        )
        listed = volumes
    elif isinstance(volumes, Iterable):
        listed = volumes
    else:
        raise InputError(f"The volumes are a {type(volumes).__name__}; expected {KINDS}.")
    some = False
    for number, volume in enumerate(listed):
        some = True
        yield as_volume(volume, number, rule)
    if not some:
        raise InputError("There are no volumes; pass at least one.")


def is_one(volumes: Volumes) -> bool:
    """Whether this is a single volume."""
    single = isinstance(volumes, Volume | str | Path) or _is_nibabel(volumes) or _is_pair(volumes)
    return single or (isinstance(volumes, np.ndarray | Tensor) and volumes.ndim == 3)


def are_volumes(images: Any) -> bool:
    """Whether these can be nothing but volumes: nibabel images, paths of NIfTI or DICOM, or a list of such."""
    first = images[0] if isinstance(images, Sequence) and not isinstance(images, str) and images else images
    of_name = isinstance(first, str | Path) and (is_volume(Path(first).name) or is_series(Path(first)))
    return of_name or isinstance(first, Volume) or _is_nibabel(first) or _is_pair(images) or _is_pair(first)


def as_volume(volume: OneVolume, number: int = 0, rule: Rule | None = None) -> Volume:
    """One volume, checked; its values are float32.

    Args:
        volume: see `volumes_of`.
        number: names it in messages where it has no name.
        rule: as of `volumes_of`.
    """
    found = _found(volume, number)
    return replace(found, data=(rule or Rule()).apply(found.data, found.name))


def _found(volume: OneVolume, number: int) -> Volume:
    """The volume with the intensities that it has."""
    if isinstance(volume, str | Path):
        return read_volume(Path(volume))
    if isinstance(volume, Volume):
        return volume
    name, header = f"volume {number}", None
    if _is_nibabel(volume):
        import nibabel

        affine = volume.affine
        header = volume.header if isinstance(volume.header, nibabel.Nifti1Header) else None
        name = Path(volume.get_filename() or name).name
        with reading(name, "nibabel image", "Read or make it again."):
            data = np.asanyarray(volume.dataobj)
        if data.ndim > 3 and set(data.shape[3:]) == {1}:
            data = data.reshape(data.shape[:3])
        if data.ndim != 3:
            raise InputError(f"{name} has {data.ndim} dimensions {tuple(data.shape)}; expected 3.")
    else:
        data, affine = volume if _is_pair(volume) else (volume, np.eye(4))
        data = data.detach().cpu().numpy() if isinstance(data, Tensor) else data
    if not isinstance(data, np.ndarray) or data.ndim != 3 or data.dtype.kind not in "fiub":
        shown = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InputError(f"{name} is {shown}; expected {KINDS}, of real numbers.")
    if data.dtype.kind == "b":
        print(f"note: {name} has bool voxels; they are read as 0 and 1.", file=sys.stderr)
    with np.errstate(over="ignore"):
        voxels: npt.NDArray[np.float32] = np.asarray(data, dtype=np.float32)
    check_voxels(name, voxels)
    place = np.asarray(affine, dtype=np.float64)
    refuse_flat(name, place)
    return Volume(name, voxels, place, header)


def _is_nibabel(volume: Any) -> bool:
    return all(hasattr(volume, name) for name in ("dataobj", "affine", "header"))


def _is_pair(volume: Any) -> bool:
    return isinstance(volume, tuple) and len(volume) == 2 and np.shape(volume[1]) == (4, 4)
