"""The authors' files of a set, in a folder of its name:

<name>_combined.pkl     pickle of {"images": uint8 (n, height, width[, 3])}, all splits in one array
<name>_in_train.csv     columns `index`, the row in `images`, and `labels`, the class id: known classes, training
<name>_in_val.csv       the same: known classes, validation
<name>_out.csv          the same: images of novel classes
"""

import csv
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ood_shared import files
from ood_shared.errors import InputError, MissingFileError

from know_your_space.data.safe_pickle import load_arrays

CSV_PARTS = {"train": "in_train", "val": "in_val", "novel": "out"}
COLUMNS = ("index", "labels")


class Rows(NamedTuple):
    """A CSV file: rows of the images, and class ids."""

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


def pickle_path(folder: Path) -> Path:
    """The file with the images."""
    return folder / f"{folder.name}_combined.pkl"


def csv_path(folder: Path, part: str) -> Path:
    """The file that lists a part: train, val or novel."""
    return folder / f"{folder.name}_{CSV_PARTS[part]}.csv"


def is_layout(folder: Path) -> bool:
    """Whether the folder holds the images or a list of a set in this layout."""
    return folder.is_dir() and len(missing_files(folder, tuple(CSV_PARTS))) <= len(CSV_PARTS)


def missing_files(folder: Path, parts: tuple[str, ...]) -> list[Path]:
    """The files that these parts need and that are not there."""
    return [path for path in (pickle_path(folder), *(csv_path(folder, part) for part in parts)) if not path.is_file()]


def read_images(folder: Path) -> npt.NDArray[np.uint8]:
    """All images of the set, (n, height, width) or (n, height, width, 1 or 3).

    Raises:
        MissingFileError: no such file.
        InputError: the pickle is damaged or hostile, or holds no such array.
    """
    path = pickle_path(folder)
    content = load_arrays(path)
    if not isinstance(content, dict) or "images" not in content:
        keys = ", ".join(str(key)[:20] for key in list(content)[:8]) if isinstance(content, dict) else ""
        content_words = f"a {type(content).__name__}" + (f" with {keys}" if keys else "")
        raise InputError(f"{path} holds {content_words}; expected a dictionary with `images`.")
    images = content["images"]
    if not isinstance(images, np.ndarray):
        raise InputError(f"{path}: `images` is a {type(images).__name__}; expected a uint8 array.")
    if images.dtype.kind == "f" and np.isnan(images).any():
        where = tuple(int(number) for number in np.argwhere(np.isnan(images))[0])
        raise InputError(f"{path}: `images` holds NaN at {where}; expected uint8 pixels from 0 to 255.")
    fits = images.dtype == np.uint8 and (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3)))
    if not fits or 0 in images.shape:
        raise InputError(
            f"{path}: `images` is {images.dtype} {images.shape}; expected uint8 (n, height, width[, 1 or 3])."
        )
    return images


def read_rows(folder: Path, part: str, n_images: int | None = None) -> Rows:
    """The rows of a part.

    Args:
        folder: that of the set.
        part: train, val or novel.
        n_images: images of the set; None leaves the upper end of `index` unchecked.

    Raises:
        MissingFileError: no such file.
        InputError: a missing column, no rows, or a value that is no whole number or out of range; with its line.
    """
    path = csv_path(folder, part)
    index, labels = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = [word.strip() for word in reader.fieldnames or []]
            reader.fieldnames = header
            for column in COLUMNS:
                if column not in header:
                    raise InputError(
                        f"{path} has no column `{column}`; found {', '.join(header) or 'nothing'}. Expected `index`, "
                        "the row in the pickle's images, and `labels`, the class id."
                    )
            for row in reader:
                line = f"{path}, line {reader.line_num}"
                number, label = (_whole(row[column], f"{line}: `{column}`") for column in COLUMNS)
                if n_images is not None and number >= n_images:
                    raise InputError(
                        f"{line}: index {number} is out of range; {pickle_path(folder).name} has {n_images} images, 0 "
                        f"to {n_images - 1}. The CSV files belong to another pickle."
                    )
                index.append(number)
                labels.append(label)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing; `know_your_space prepare` writes it.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file ({error}).") from None
    if not index:
        raise InputError(f"{path} lists no images.")
    return Rows(np.array(index, dtype=np.int64), np.array(labels, dtype=np.int64))


def write_layout(folder: Path, images: npt.NDArray[np.uint8], parts: dict[str, Rows]) -> None:
    """Write the four files; a part without rows gets a CSV file with only its header.

    Old CSV files go first: a kill leaves a layout that lacks files, not one whose files belong to different sets.
    """
    for part in CSV_PARTS:
        csv_path(folder, part).unlink(missing_ok=True)
    with files.atomic_path(pickle_path(folder)) as temporary, temporary.open("wb") as file:
        pickle.dump({"images": images}, file, protocol=4)
    for part in CSV_PARTS:
        rows = parts[part]
        pairs = zip(rows.rows.tolist(), rows.labels.tolist(), strict=True)
        lines = [",".join(COLUMNS), *(f"{index},{label}" for index, label in pairs)]
        files.write_text(csv_path(folder, part), "\n".join(lines) + "\n")


def has_rows(folder: Path, part: str) -> bool:
    """Whether the CSV file of a part is there and lists any image."""
    path = csv_path(folder, part)
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return sum(1 for line in file if line.strip()) > 1


def _whole(text: str | None, where: str) -> int:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value < 2**53 or value != int(value):
        raise InputError(f"{where} is `{text}`; expected a whole number from 0 on.")
    return int(value)
