"""The authors' files are read as they are, and as we write them."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from know_your_space.data import layout
from know_your_space.data.layout import Rows

PARTS = ("train", "val", "novel")


def test_the_authors_files_are_read(tmp_path: Path, builders: ModuleType) -> None:
    folder = builders.write_authors_files(tmp_path, "dermamnist", [0, 3, 1], [4, 0], [5])
    assert layout.read_images(folder).shape == (6, 28, 28, 3)
    assert layout.read_rows(folder, "val").rows.tolist() == [3, 4]
    assert [layout.read_rows(folder, part).labels.tolist() for part in PARTS] == [[0, 3, 1], [4, 0], [5]]


@pytest.mark.parametrize(
    "text",
    ["index,labels\n3,5\n", "\ufeffindex, labels\n3, 5\n", ",labels,index\n0,5.0,3.0\n", "index,labels\r\n3,5\r\n\r\n"],
)
def test_csv_files_of_other_tools_are_read(tmp_path: Path, builders: ModuleType, text: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    builders.write_csv(folder, "train", text)
    assert [array.tolist() for array in layout.read_rows(folder, "train")] == [[3], [5]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=9), st.booleans())
def test_writing_and_reading_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], grey: bool
) -> None:
    folder = tmp_path_factory.mktemp("layout") / "some_set"
    images = np.arange(7 * 4 * (1 if grey else 3), dtype=np.uint8).reshape(7, 2, 2, *([] if grey else [3]))
    rows = Rows(*np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    layout.write_layout(folder, images, dict.fromkeys(PARTS, rows))
    assert np.array_equal(layout.read_images(folder), images)
    assert layout.is_layout(folder)
    assert layout.missing_files(folder, PARTS) == []
    for part in PARTS:
        assert layout.has_rows(folder, part) == bool(pairs)
        if pairs:
            found = layout.read_rows(folder, part, 7)
            assert list(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == pairs


def test_a_folder_with_other_files_is_not_in_the_layout(tmp_path: Path) -> None:
    (tmp_path / "bloodmnist").mkdir()
    (tmp_path / "bloodmnist" / "bloodmnist.npz").touch()
    assert not layout.is_layout(tmp_path / "bloodmnist")
