"""What the scripts that prepare data do with their flags, and the two that expand configurations and score predictions.

Nothing here waits for torch.
"""

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import check_name, path_of, refuse_same_folder, write_text

from mood_dpa.data.anomalies import add_anomalies_2d
from mood_dpa.data.flags import OTSU
from mood_dpa.data.folds import cases_of, folds_text, make_folds, read_folds
from mood_dpa.data.intensities import INSIDE, USUAL, WAYS, Rule, body_rescaled, range_of
from mood_dpa.data.prepare import BASE, make_synthetic, save_2d, save_array, warn_if_all_filtered
from mood_dpa.data.subjects import CUBE, HARD, DemoSet, ensure_subjects
from mood_dpa.data.volume_queue import Writer, read_ahead, report_failures, skip
from mood_dpa.data.volumes import (
    Volume,
    base_name,
    case_id,
    is_series,
    is_volume,
    list_volumes,
    read_volume,
    refuse_equal,
    volume_name,
    write_volume,
)


def save_2d_step(options: argparse.Namespace) -> None:
    """save_2D.py: the slices of every volume along one axis."""
    least = options.least_pixels if options.filter else None
    warn_if_all_filtered(options.resize, least)
    folder, output = path_of(options.input_dir), path_of(options.output_dir)
    paths = list_volumes(folder)
    refuse_same_folder(output, folder, flag="-o")
    refuse_equal(map(volume_name, paths), base_name, BASE)
    words = (least, options.resize, options.packed, options.dtype, options.resume, options.rescale)
    count = save_2d(paths, {options.axis: output}, *words)
    print(f"{count} slices of {len(paths)} volumes saved in {output}")


def folds_step(options: argparse.Namespace) -> None:
    """create_folds.py: `*.gz` as published, and whatever else the other steps take for a volume."""
    folder, output = path_of(options.input_dir), path_of(options.output_path)
    if not folder.is_dir():
        raise MissingFileError(f"Folder {folder} is missing.")
    names = []
    for path in sorted(folder.iterdir()):
        if is_volume(path.name) or is_series(path):
            names.append(volume_name(path))
        elif path.suffix == ".gz" and not path.name.startswith("."):
            names.append(path.name)
    for name in names:
        check_name(name, folder)
    if output.resolve() in {(folder / name).resolve() for name in names}:
        raise InputError(f"-o {output} is one of the volumes; it would be overwritten. Choose another name.")
    refuse_equal(names, case_id, "case id (the name up to the first `_` or dot)")
    rows = make_folds(names, options.n_folds, np.random.RandomState(options.seed))
    write_text(output, folds_text(rows))


def synthetic_step(options: argparse.Namespace) -> None:
    """create_val_dataset_with_synthetic_anomalies.py."""
    folder, images, masks = (
        path_of(text) for text in (options.input_dir, options.output_image_dir, options.output_mask_dir)
    )
    paths = _in_fold(list_volumes(folder), options)
    _refuse_folders(folder, images, masks)
    make_synthetic(paths, images, masks, options.seed, options.axis_order, options.rescale)


def synthetic_2d_step(options: argparse.Namespace) -> None:
    """The same for slices."""
    from mood_dpa.data.slice_files import SliceFolder

    folder, images, masks = (
        path_of(text) for text in (options.input_dir, options.output_image_dir, options.output_mask_dir)
    )
    slices = SliceFolder(folder)
    _refuse_folders(folder, images, masks)
    draws, failed, done = np.random.RandomState(options.seed), list[str](), 0
    wanted = _wanted(options)
    for name in slices.names:
        if wanted is not None and case_id(name) not in wanted:
            continue
        try:
            image = slices.read(name)
            low, high, place = range_of(image)
            if place != INSIDE:
                raise InputError(f"{folder / name} has values from {low:g} to {high:g}; expected [0, 1].")
        except InputError as error:
            skip(failed, name, error)
            continue
        done += 1
        save_array(images / name, image)
        save_array(masks / name, np.zeros(image.shape, np.uint8))
        changed = add_anomalies_2d(image.astype(np.float32), draws)
        if changed is not None:
            base = name.removesuffix(".npy")
            save_array(images / f"{base}_anom.npy", changed.image.astype(np.float16))
            save_array(masks / f"{base}_anom.npy", changed.mask)
    report_failures(failed, done, "run again")


def rescale_step(options: argparse.Namespace) -> None:
    """`mood-dpa rescale`: volumes of any intensities to [0, 1], under names that the other steps understand."""
    failed: list[str] = []
    folder, output = path_of(options.input_dir), path_of(options.output_dir)
    paths = list_volumes(folder)
    refuse_same_folder(output, folder, flag="-o")
    names = {volume_name(path): f"{base_name(volume_name(path)).replace('_', '-')}.nii.gz" for path in paths}
    if len(set(names.values())) < len(names):
        raise InputError(f"{options.input_dir}: two volumes have the same name up to the first dot.")
    low = USUAL[0] if options.low is None else options.low
    high = USUAL[1] if options.high is None else options.high
    if not 0 <= low < high <= 100:
        raise InputError(f"--low {low} and --high {high} are no two rising percentiles.")
    if options.rescale is not None and (options.low, options.high) != (None, None):
        raise InputError(f"--low and --high are percentiles, the rule is `{options.rescale}`. Pass one of them.")
    rule = options.rescale or Rule("percentile", (low, high))
    if not rule.changes:
        raise InputError(f"`{rule}` changes nothing; expected {WAYS}.")
    body = None if options.body in (None, OTSU) else _threshold(options.body)

    def read(path: Path, dtype: Any) -> Volume:
        volume = read_volume(path, dtype, finite=options.nan is None)
        if options.nan is None:
            return volume
        data = np.where(np.isfinite(volume.data), volume.data, dtype(options.nan))
        return replace(volume, data=data)

    with Writer() as write:
        for volume in read_ahead(paths, failed, np.float32, read=read):
            try:
                if options.body is None:
                    data = rule.apply(volume.data, volume.name)
                else:
                    data = body_rescaled(volume.data, rule, body, volume.name)
            except InputError as error:
                skip(failed, volume.name, error)
                continue
            write(write_volume, output / names[volume.name], data, volume)
    report_failures(failed, len(paths) - len(failed), "run again")


def subjects_step(options: argparse.Namespace) -> None:
    """`mood-dpa subjects`."""
    if options.count < 2:
        raise InputError("--count needs at least 2 subjects: one to train on, one to test.")
    if not 16 <= options.side <= CUBE:
        raise InputError(f"--side {options.side} is outside 16 to {CUBE}.")
    test = options.test or max(1, options.count // 5)
    healthy = 2 if options.difficulty == HARD else 1  # hard ones validate on one of them
    if options.count - test < healthy:
        raise InputError(
            f"--test {test} leaves {options.count - test} of {options.count} subjects; {options.difficulty} sets need "
            f"{healthy} or more that are not for testing."
        )
    demo = DemoSet(options.count, test, options.side, options.seed, options.difficulty)
    ensure_subjects(path_of(options.output_dir), demo)
    print(f"{demo.count} subjects of {demo.side}^3 voxels in {options.output_dir}")


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
    chosen = paths if wanted is None else [path for path in paths if case_id(volume_name(path)) in wanted]
    if not chosen:
        raise InputError(f"No volume of {options.input_dir} belongs to fold {options.fold} of {options.folds_path}.")
    return chosen


def _wanted(options: argparse.Namespace) -> set[str] | None:
    """Cases of the fold; None takes all."""
    if options.folds_path is None:
        if options.fold is not None:
            print("note: -f without -p is ignored; all volumes are taken.", file=sys.stderr)
        return None
    if options.fold is None:
        raise InputError("-p needs -f: the number of the fold to take.")
    if not str(options.fold).isdecimal() or len(str(options.fold)) > 9:
        raise InputError(f"-f `{str(options.fold)[:40]}` is not the number of a fold.")
    return cases_of(read_folds(path_of(options.folds_path)), "val", int(options.fold))


def _refuse_folders(folder: Path, images: Path, masks: Path) -> None:
    """Refuse results where the input or other results lie."""
    refuse_same_folder(images, folder, flag="-o")
    refuse_same_folder(masks, folder, flag="-m")
    if images.resolve() == masks.resolve():
        raise InputError(f"-o and -m are the same folder {images}; masks have the names of their volumes. Choose two.")


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"--body `{text[:40]}` is no number; leave it out for Otsu's threshold.")
    return value
