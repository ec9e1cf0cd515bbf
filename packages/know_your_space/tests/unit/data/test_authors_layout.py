"""Parts in the authors' layout: CSV files of classes beside the images."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from know_your_space.data.options import DataOptions
from know_your_space.data.parts import load_part
from ood_shared.errors import InputError, MissingFileError


def test_the_authors_files_win_over_an_npz(tmp_path: Path, builders: ModuleType, at: DataOptions, blood: Path) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [0, 1, 4], [4, 0], [5])
    assert load_part("bloodmnist", "train", at).classes == (0, 1, 4)


def test_a_set_of_any_name_is_read_in_the_authors_layout(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "Scans", [3, 9], [9], [5], colour=False)
    part = load_part("Scans", "val", at)
    assert (part.classes, part.labels.tolist()) == ((3, 9), [1])
    assert torch.equal(part.images[:, 0], part.images[:, 2])  # grey, copied


def test_a_layout_that_lacks_a_file_is_not_half_read(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    folder = builders.write_authors_files(tmp_path, "bloodmnist", [0, 1], [0], [5])
    (folder / "bloodmnist_in_val.csv").unlink()
    with pytest.raises(MissingFileError, match=r"bloodmnist_in_val\.csv missing; the authors' layout"):
        load_part("bloodmnist", "train", at)


def test_codes_come_from_the_training_part(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0, 3], [6, 3], [5])  # the validation part lacks class 0
    assert load_part("bloodmnist", "val", at).labels.tolist() == [2, 1]


def test_a_label_that_the_training_part_lacks_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6, 3], [5])
    with pytest.raises(
        InputError, match=r"in_val\.csv.*Class id 3 at row 1 is not one of the training part's \(0, 6\)"
    ):
        load_part("bloodmnist", "val", at)


def test_a_class_that_is_known_and_novel_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [6])
    with pytest.raises(InputError, match="class 6 as novel, the training file as known"):
        load_part("bloodmnist", "novel", at)


@pytest.mark.parametrize("flag", ["novel_classes", "split_file"])
def test_another_split_than_that_of_the_csv_files_is_refused(tmp_path: Path, builders: ModuleType, flag: str) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [5])
    (tmp_path / "split.yaml").write_text("bloodmnist: {novel: [0]}")
    value = {"novel_classes": "0", "split_file": str(tmp_path / "split.yaml")}[flag]
    with pytest.raises(InputError, match=f"--{flag}: the CSV files in"):
        load_part("bloodmnist", "train", DataOptions(data_dir=str(tmp_path), **{flag: value}))


def test_the_layout_has_no_test_part(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [5])
    with pytest.raises(InputError, match="has no test part"):
        load_part("bloodmnist", "test", at)
