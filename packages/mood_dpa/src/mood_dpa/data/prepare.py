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
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import Rule
from mood_dpa.data.record import Origin, refuse_mixing, write_origin
from mood_dpa.data.volume_queue import Writer, read_ahead, report_failures, skip
from mood_dpa.data.volumes import base_name, refuse_equal, volume_name, write_volume
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
    rule: Rule | None = None,
) -> int:
    """Cut volumes into slices, along several axes in one reading; leaves beside them what they were made from.

    Args:
        paths: volumes.
        outputs: folder of each axis; nothing is written before a volume was read.
        least_pixels: leave out slices with fewer positive pixels; None keeps all.
        size: pixels per side to resize to.
        packed: one file per volume instead of one per slice.
        dtype: `float16` (published) or `float32`; resized slices are float32 in any case.
        resume: leave out volumes that are finished.
        rule: how intensities get to [0, 1]; None wants them there.

    Returns:
        Number of slices.

    Raises:
        InputError: some volumes could not be used; the others are finished.
    """
    from mood_dpa.data.slices import cut_slices

    rule = rule or Rule()
    before = [refuse_mixing(output, rule) for output in outputs.values()]
    todo = [p for p in paths if not (resume and all(_done(out, p).is_file() for out in outputs.values()))]
    failed: list[str] = []
    directions, bare, count, seen = Directions(), list[str](), 0, 0
    with Writer() as write:
        for volume in read_ahead(todo, failed, np.float64, rule, directions, overshoot=True):
            try:
                cuts = [cut_slices(volume.data, axis, least_pixels, size, dtype) for axis in outputs]
            except InputError as error:
                skip(failed, volume.name, InputError(f"{volume.name} {error}"))
                continue
            for (axis, output), (index, slices) in zip(outputs.items(), cuts, strict=True):
                count, seen = count + len(index), seen + volume.data.shape[axis]
                if not len(index):
                    bare.append(
                        f"{volume.name}: none of its {volume.data.shape[axis]} slices along axis {axis} has "
                        f"{least_pixels} pixels above 0; no slice of it is saved."
                    )
                write(_write_slices, output, base_name(volume.name), index, slices, packed)
    if directions.codes:
        codes = {*directions.codes, *(code for origin in before for code in origin.axes)}
        for axis, output in outputs.items():
            write_origin(output, Origin(str(rule), tuple(sorted(codes)), axis))
    directions.say()
    if seen and not count:
        bare = [
            f"0 slices were saved: of {seen} slices of {len(todo) - len(failed)} volumes none has {least_pixels} "
            "pixels above 0. Lower --least_pixels, enlarge --resize, or leave --filter out."
        ]
    for line in bare:
        print(f"warning: {line}", file=sys.stderr)
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


def make_synthetic(
    paths: list[Path],
    images: Path,
    masks: Path,
    seed: int | None,
    axis_order: str = "array",
    rule: Rule | None = None,
) -> None:
    """Each volume under its own name with an empty mask, and `<base>_anom.nii.gz` with the mask of its anomalies.

    Args:
        paths: healthy volumes.
        images: folder for the volumes; healthy ones are linked where the file system allows, else copied.
        masks: folder for the masks.
        seed: of all draws.
        axis_order: see `anomalies.ellipsoid_box`.
        rule: `none`, which wants intensities in [0, 1], or `any-range`.

    Raises:
        InputError: some volumes could not be used; the others are finished. Or two results would have one name.
    """
    draws = np.random.RandomState(seed)
    failed: list[str] = []
    by_name = {volume_name(path): path for path in paths}
    refuse_equal([*by_name, *(f"{base_name(name)}_anom.nii.gz" for name in by_name)], str, "name in the results")
    directions = Directions()
    with Writer() as write:
        for volume in read_ahead(paths, failed, rule=rule or Rule(), directions=directions):
            write(_copy_of, by_name[volume.name], images / volume.name, volume)
            write(write_volume, masks / volume.name, np.zeros(volume.data.shape, np.uint8), volume)
            try:
                anomaly = add_anomaly_3d(volume.data, draws, axis_order)
            except InputError as error:
                print(f"warning: {volume.name}: {error} No anomaly is made of it.", file=sys.stderr)
                continue
            name = f"{base_name(volume.name)}_anom.nii.gz"
            write(write_volume, images / name, anomaly.image, volume)
            write(write_volume, masks / name, anomaly.mask, volume)
    directions.say()
    report_failures(failed, len(paths) - len(failed), "run again")


def _write_slices(
    output: Path, base: str, index: npt.NDArray[np.int64], slices: npt.NDArray[Any], packed: bool
) -> None:
    from mood_dpa.data.slices import INDEX, STACK

    if packed:
        save_array(output / f"{base}{INDEX}", index)
        save_array(output / f"{base}{STACK}", slices)
    else:
        for number, image in zip(index, slices, strict=True):
            save_array(output / f"{base}_{number}.npy", image)
    write_text(_done(output, Path(f"{base}.nii.gz")), f"{len(index)}\n")


def _done(output: Path, path: Path) -> Path:
    """A hidden file that says that a volume's slices are all there."""
    return output / f".{base_name(volume_name(path))}.done"


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _copy_of(source: Path, target: Path, volume: Any) -> None:
    """The volume of a file under another name; of a DICOM series as NIfTI."""
    if source.is_dir():
        write_volume(target, volume.data, volume)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(source, target)


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
