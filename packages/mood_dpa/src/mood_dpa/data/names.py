"""Which entries of a folder are volumes, and what their names say."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mood_dpa.data.dicom import is_series
from mood_dpa.standalone import InputError, MissingFileError, check_name

SUFFIXES = (".nii", ".nii.gz")


def is_volume(name: str) -> bool:
    """Whether a file name ends as NIfTI does, in small or capital letters; hidden files are none."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def list_volumes(folder: Path) -> list[Path]:
    """The volumes of a folder, sorted by name: NIfTI files, and folders with the slices of a DICOM series.

    A folder that holds slices itself is one volume, unless it holds others besides: then its own are left out, and
    said. Other files are left out.

    Raises:
        MissingFileError: no such folder.
        InputError: it holds no volume, a name that is no UTF-8, or a file and a series of one name.
    """
    if not folder.is_dir():
        raise MissingFileError(f"Folder {folder} is missing; it should hold volumes (*.nii.gz).")
    entries = sorted(folder.iterdir())
    paths = [path for path in entries if is_volume(path.name) or is_series(path)]
    if is_series(folder):
        if paths:
            print(
                f"note: {folder} holds DICOM slices beside other volumes; they are left out. A series has a folder of "
                "its own.",
                file=sys.stderr,
                flush=True,
            )
        paths = paths or [folder]
    if not paths:
        raise InputError(f"{folder} holds no volume (*.nii, *.nii.gz, or folders of DICOM slices).")
    for path in paths:
        check_name(path.name, folder)
    refuse_equal(map(volume_name, paths), str, "name")
    return paths


def volume_name(path: Path) -> str:
    """The name of what is written about a volume: the file's own; that of a DICOM series ends in `.nii.gz`."""
    return path.name if is_volume(path.name) else f"{path.resolve().name}.nii.gz"


def base_name(name: str) -> str:
    """The name up to the first dot."""
    return name.split(".")[0]


def case_id(name: str) -> str:
    """The part of a file name that tells the case: up to the first `_`, without extension."""
    return base_name(name).split("_")[0]


def refuse_equal(names: Iterable[str], part_of: Callable[[str], str], what: str) -> None:
    """Refuse files that a later step could not tell from each other.

    Args:
        names: file names.
        part_of: `base_name` or `case_id`, what must differ.
        what: that part is, for the message.

    Raises:
        InputError: names two files with the same part.
    """
    seen: dict[str, str] = {}
    for name in names:
        part = part_of(name)
        if part in seen:
            raise InputError(
                f"{seen[part]} and {name} have the same {what}, `{part}`, so one would be taken for the other; "
                "rename them."
            )
        seen[part] = name
