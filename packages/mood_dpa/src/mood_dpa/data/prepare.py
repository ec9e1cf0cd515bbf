"""Preparation of data: slices on disk, and sets with synthetic anomalies."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mood_dpa.data.anomalies import add_anomaly_3d
from mood_dpa.data.volume_queue import Writer, read_ahead, report_failures
from mood_dpa.data.volumes import base_name, write_volume
from mood_dpa.standalone import InputError, atomic_path, write_text

BASE = "name up to the first dot"


def save_2d(
    paths: list[Path],
    outputs: dict[int, Path],
    least_pixels: int | None = None,
    size: int | None = None,
    packed: bool = False,
    dtype: str = "float16",
    resume: bool = False,
) -> int:
    """Cut volumes into slices, along several axes in one reading.

    Args:
        paths: volumes.
        outputs: folder of each axis.
        least_pixels: leave out slices with fewer positive pixels; None keeps all.
        size: pixels per side to resize to.
        packed: one file per volume instead of one per slice.
        dtype: `float16` (published) or `float32`; resized slices are float32 in any case.
        resume: leave out volumes that are finished.

    Returns:
        Number of slices.

    Raises:
        InputError: some volumes could not be read; the others are finished.
    """
    from mood_dpa.data.slices import cut_slices

    todo = [p for p in paths if not (resume and all(_done(out, p).is_file() for out in outputs.values()))]
    failed: list[str] = []
    count = 0
    with Writer() as write:
        for volume in read_ahead(todo, failed, np.float64):
            for axis, output in outputs.items():
                index, slices = cut_slices(volume.data, axis, least_pixels, size, dtype)
                count += len(index)
                write(_write_slices, output, base_name(volume.name), index, slices, packed)
    report_failures(failed, len(paths) - len(failed))
    return count


def warn_if_all_filtered(size: int | None, least_pixels: int | None) -> None:
    """Say that the filter leaves nothing of slices that small."""
    if least_pixels is not None and size is not None and size * size < least_pixels:
        print(
            f"warning: --resize {size} leaves {size * size} pixels a slice and --filter wants {least_pixels} above 0: "
            "no slice will be saved.",
            file=sys.stderr,
        )


def make_synthetic(paths: list[Path], images: Path, masks: Path, seed: int | None, axis_order: str = "array") -> None:
    """Each volume under its own name with an empty mask, and `<base>_anom.nii.gz` with the mask of its anomalies.

    Args:
        paths: healthy volumes.
        images: folder for the volumes; healthy ones are linked where the file system allows, else copied.
        masks: folder for the masks.
        seed: of all draws.
        axis_order: see `anomalies.ellipsoid_box`.
    """
    draws = np.random.RandomState(seed)
    failed: list[str] = []
    by_name = {path.name: path for path in paths}
    images.mkdir(parents=True, exist_ok=True)
    with Writer() as write:
        for volume in read_ahead(paths, failed):
            _link(by_name[volume.name], images / volume.name)
            write(write_volume, masks / volume.name, np.zeros(volume.data.shape, np.uint8), volume)
            try:
                anomaly = add_anomaly_3d(volume.data, draws, axis_order)
            except InputError as error:
                print(f"warning: {volume.name}: {error} No anomaly is made of it.", file=sys.stderr)
                continue
            name = f"{base_name(volume.name)}_anom.nii.gz"
            write(write_volume, images / name, anomaly.image, volume)
            write(write_volume, masks / name, anomaly.mask, volume)
    report_failures(failed, len(paths) - len(failed))


def _write_slices(
    output: Path, base: str, index: npt.NDArray[np.int64], slices: npt.NDArray[Any], packed: bool
) -> None:
    from mood_dpa.data.slices import INDEX, STACK

    if packed:
        save_array(output / f"{base}{INDEX}", index)
        save_array(output / f"{base}{STACK}", slices)
    else:
        for number, image in zip(index, slices, strict=True):
            np.save(output / f"{base}_{number}.npy", image)
    write_text(_done(output, Path(base)), f"{len(index)}\n")


def _done(output: Path, path: Path) -> Path:
    """A hidden file that says that a volume's slices are all there."""
    return output / f".{base_name(path.name)}.done"


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _link(source: Path, target: Path, link: Callable[..., None] = os.link) -> None:
    """A second name for a file; a copy where the file system cannot. A file of that name is replaced."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        link(source.resolve(), target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
