"""Broken files of the authors' layout: one line that says what is wrong and where."""

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from know_your_space.data import layout
from ood_shared.errors import InputError, MissingFileError


@pytest.fixture
def folder(tmp_path: Path, builders: ModuleType) -> Path:
    return builders.write_authors_files(tmp_path, "bloodmnist", [0, 1, 4], [4, 0], [5, 7])


@pytest.mark.parametrize("part", ["train", "val", "novel"])
def test_a_missing_file_is_named(folder: Path, part: str) -> None:
    layout.csv_path(folder, part).unlink()
    with pytest.raises(MissingFileError, match=rf"bloodmnist_{layout.CSV_PARTS[part]}\.csv is missing"):
        layout.read_rows(folder, part)


@pytest.mark.parametrize("column", layout.COLUMNS)
def test_a_missing_column_is_named(folder: Path, builders: ModuleType, column: str) -> None:
    builders.write_csv(folder, "train", "index,labels\n0,1\n".replace(column, "other"))
    with pytest.raises(InputError, match=f"has no column `{column}`; found .*other"):
        layout.read_rows(folder, "train")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no column `index`; found nothing"),
        ("index,labels\n", "lists no images"),
        ("index,labels\n0,1\n1,x\n", "line 3: `labels` is `x`; expected a whole number from 0 on"),
        ("index,labels\n0\n", "line 2: `labels` is `None`"),
        ("index,labels\n-1,0\n", "line 2: `index` is `-1`"),
        ("index,labels\n1.5,0\n", "line 2: `index` is `1.5`"),
        ("index,labels\nnan,0\n", "line 2: `index` is `nan`"),
        ("index,labels\n1e999,0\n", "line 2: `index` is `1e999`"),
        ("index,labels\n0,0\n7,0\n", "line 3: index 7 is out of range; .* has 7 images, 0 to 6"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder: Path, builders: ModuleType, text: str, says: str) -> None:
    builders.write_csv(folder, "train", text)
    with pytest.raises(InputError, match=says):
        layout.read_rows(folder, "train", 7)


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    layout.csv_path(folder, "val").write_bytes(b"\xff\xfe\x00index")
    with pytest.raises(InputError, match="is not a CSV file"):
        layout.read_rows(folder, "val")


NAN = np.ones((2, 3, 3), dtype=np.float32)
NAN[1, 0, 2] = np.nan


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds a list; expected a dictionary with `images`"),
        ({"image": 1}, "holds a dict with image; expected"),
        ({"images": [[0]]}, "`images` is a list; expected a uint8 array"),
        ({"images": NAN}, r"`images` holds NaN at \(1, 0, 2\); expected uint8 pixels"),
        ({"images": np.ones((2, 3, 3))}, r"is float64 \(2, 3, 3\); expected uint8"),
        ({"images": np.ones((2, 3, 3, 4), np.uint8)}, r"is uint8 \(2, 3, 3, 4\)"),
        ({"images": np.ones((2, 3), np.uint8)}, r"is uint8 \(2, 3\)"),
        ({"images": np.ones((0, 3, 3), np.uint8)}, r"is uint8 \(0, 3, 3\)"),
    ],
)
def test_a_pickle_without_pixels_is_refused(folder: Path, content: Any, says: str) -> None:
    layout.pickle_path(folder).write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=says):
        layout.read_images(folder)
