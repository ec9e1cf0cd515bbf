"""What the scripts that prepare data do with their flags, and the two that expand configurations and score predictions.

Nothing here waits for torch.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text

from mood_dpa.data.anomalies import add_anomalies_2d
from mood_dpa.data.folds import cases_of, folds_text, make_folds, read_folds
from mood_dpa.data.prepare import BASE, make_synthetic, save_2d, save_array, warn_if_all_filtered
from mood_dpa.data.subjects import CUBE, DemoSet, ensure_subjects
from mood_dpa.data.volume_queue import Writer, read_ahead, report_failures
from mood_dpa.data.volumes import base_name, case_id, list_volumes, refuse_equal, rescaled, write_volume


def save_2d_step(options: argparse.Namespace) -> None:
    """save_2D.py: the slices of every volume along one axis."""
    least = options.least_pixels if options.filter else None
    warn_if_all_filtered(options.resize, least)
    output = Path(options.output_dir)
    paths = list_volumes(Path(options.input_dir))
    refuse_equal([path.name for path in paths], base_name, BASE)
    output.mkdir(parents=True, exist_ok=True)
    save_2d(paths, {options.axis: output}, least, options.resize, options.packed, options.dtype, options.resume)


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
        save_array(images / name, image)
        save_array(masks / name, np.zeros(image.shape, np.uint8))
        changed = add_anomalies_2d(image.astype(np.float32), draws)
        if changed is not None:
            base = name.removesuffix(".npy")
            save_array(images / f"{base}_anom.npy", changed.image.astype(np.float16))
            save_array(masks / f"{base}_anom.npy", changed.mask)


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


def subjects_step(options: argparse.Namespace) -> None:
    """`mood-dpa subjects`."""
    if options.count < 2:
        raise InputError("--count needs at least 2 subjects: one to train on, one to test.")
    if not 16 <= options.side <= CUBE:
        raise InputError(f"--side {options.side} is outside 16 to {CUBE}.")
    demo = DemoSet(options.count, max(1, options.count // 5), options.side, options.seed)
    ensure_subjects(Path(options.output_dir), demo)
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
    chosen = paths if wanted is None else [path for path in paths if case_id(path.name) in wanted]
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
    if not str(options.fold).isdecimal():
        raise InputError(f"-f `{options.fold}` is not the number of a fold.")
    return cases_of(read_folds(Path(options.folds_path)), "val", int(options.fold))
