"""Preparation of data: slices, folds, synthetic anomalies; expansion of configs; the challenge's own scores."""

import argparse
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mood_dpa.data.anomalies import add_anomalies_2d, add_anomaly_3d
from mood_dpa.data.folds import cases_of, folds_text, make_folds, read_folds
from mood_dpa.data.volume_queue import Writer, read_ahead, report_failures
from mood_dpa.data.volumes import base_name, case_id, list_volumes, refuse_equal, rescaled, write_volume
from mood_dpa.standalone import InputError, MissingFileError, atomic_path, write_text

BASE = "name up to the first dot"


def save_2d_step(options: argparse.Namespace) -> None:
    """save_2D.py: the slices of every volume along one axis."""
    least = options.least_pixels if options.filter else None
    warn_if_all_filtered(options.resize, least)
    output = Path(options.output_dir)
    paths = list_volumes(Path(options.input_dir))
    refuse_equal([path.name for path in paths], base_name, BASE)
    output.mkdir(parents=True, exist_ok=True)
    save_2d(paths, {options.axis: output}, least, options.resize, options.packed, options.dtype, options.resume)


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


def folds_step(options: argparse.Namespace) -> None:
    """create_folds.py."""
    folder = Path(options.input_dir)
    if not folder.is_dir():
        raise MissingFileError(f"Folder {folder} is missing.")
    names = sorted(p.name for p in folder.iterdir() if p.suffix == ".gz" and not p.name.startswith("."))
    refuse_equal(names, case_id, "case id (the name up to the first `_` or dot)")
    rows = make_folds(names, options.n_folds, np.random.RandomState(options.seed))
    write_text(Path(options.output_path), folds_text(rows))


def synthetic_step(options: argparse.Namespace) -> None:
    """create_val_dataset_with_synthetic_anomalies.py."""
    paths = _in_fold(list_volumes(Path(options.input_dir)), options)
    make_synthetic(
        paths, Path(options.output_image_dir), Path(options.output_mask_dir), options.seed, options.axis_order
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
                found = add_anomaly_3d(volume.data, draws, axis_order)
            except InputError as error:
                print(f"warning: {volume.name}: {error} No anomaly is made of it.", file=sys.stderr)
                continue
            name = f"{base_name(volume.name)}_anom.nii.gz"
            write(write_volume, images / name, found.image, volume)
            write(write_volume, masks / name, found.mask, volume)
    report_failures(failed, len(paths) - len(failed))


def synthetic_2d_step(options: argparse.Namespace) -> None:
    """The same for slices."""
    from mood_dpa.data.slices import SliceFolder

    folder = SliceFolder(Path(options.input_dir))
    draws = np.random.RandomState(options.seed)
    images, masks = Path(options.output_image_dir), Path(options.output_mask_dir)
    wanted = _wanted(options)
    for name in folder.names:
        if wanted is not None and case_id(name) not in wanted:
            continue
        image = folder.read(name)
        _save_array(images / name, image)
        _save_array(masks / name, np.zeros(image.shape, np.uint8))
        found = add_anomalies_2d(image.astype(np.float32), draws)
        if found is not None:
            base = name.removesuffix(".npy")
            _save_array(images / f"{base}_anom.npy", found.image.astype(np.float16))
            _save_array(masks / f"{base}_anom.npy", found.mask)


def rescale_step(options: argparse.Namespace) -> None:
    """`mood-dpa rescale`: volumes of any intensities to [0, 1], under names that the other steps understand."""
    failed: list[str] = []
    paths, output = list_volumes(Path(options.input_dir)), Path(options.output_dir)
    names = {path.name: f"{base_name(path.name).replace('_', '-')}.nii.gz" for path in paths}
    if len(set(names.values())) < len(names):
        raise InputError(f"{options.input_dir}: two volumes have the same name up to the first dot.")
    if not 0 <= options.low < options.high <= 100:
        raise InputError(f"--low {options.low} and --high {options.high} are no two rising percentiles.")
    with Writer() as write:
        for volume in read_ahead(paths, failed):
            write(write_volume, output / names[volume.name], rescaled(volume.data, options.low, options.high), volume)
    report_failures(failed, len(paths) - len(failed))


def expand_step(options: argparse.Namespace) -> None:
    """`mood-dpa expand-cv`."""
    from mood_dpa.grid import expand

    meta, axis = Path(options.meta_train), options.axis
    if axis is None:
        name = meta.resolve().parent.name
        if name not in ("axis_0", "axis_1", "axis_2"):
            raise InputError(f"{meta} does not lie in a folder axis_0, axis_1 or axis_2; pass --axis.")
        axis = int(name[-1])
    written = expand(meta, Path(options.meta_inference), Path(options.out), axis, tuple(options.folds))
    print(f"{len(written)} configurations written to {options.out}")


def challenge_step(options: argparse.Namespace) -> None:
    """`mood-dpa challenge`."""
    from mood_dpa.challenge import evaluate_folder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = evaluate_folder(Path(options.labels), Path(options.predictions), options.mode)
    print(f"{options.mode}: AP {value:.6f}")


def _in_fold(paths: list[Path], options: argparse.Namespace) -> list[Path]:
    wanted = _wanted(options)
    found = paths if wanted is None else [path for path in paths if case_id(path.name) in wanted]
    if not found:
        raise InputError(f"No volume of {options.input_dir} belongs to fold {options.fold} of {options.folds_path}.")
    return found


def _wanted(options: argparse.Namespace) -> set[str] | None:
    """Cases of the fold; None takes all."""
    if options.folds_path is None:
        if options.fold is not None:
            print("note: -f without -p is ignored; all volumes are taken.", file=sys.stderr)
        return None
    if options.fold is None:
        raise InputError("-p needs -f: the number of the fold to take.")
    if not str(options.fold).isdecimal():
        raise InputError(f"-f `{options.fold}` is not the number of a fold.")
    return cases_of(read_folds(Path(options.folds_path)), "val", int(options.fold))


def _write_slices(
    output: Path, base: str, index: npt.NDArray[np.int64], slices: npt.NDArray[Any], packed: bool
) -> None:
    from mood_dpa.data.slices import INDEX, STACK

    if packed:
        _save_array(output / f"{base}{INDEX}", index)
        _save_array(output / f"{base}{STACK}", slices)
    else:
        for number, image in zip(index, slices, strict=True):
            np.save(output / f"{base}_{number}.npy", image)
    write_text(_done(output, Path(base)), f"{len(index)}\n")


def _done(output: Path, path: Path) -> Path:
    """A hidden file that says that a volume's slices are all there."""
    return output / f".{base_name(path.name)}.done"


def _save_array(path: Path, array: npt.NDArray[Any]) -> None:
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
