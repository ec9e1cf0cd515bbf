"""Own data as a set: its classes, splits, folders, and the sizes of its images."""

import shutil
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from know_your_space.data.options import DataOptions
from know_your_space.data.parts import load_part, load_parts
from ood_shared.errors import InputError, MissingFileError


def test_own_classes_may_count_from_one(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 3, first=1)
    part = load_part(str(file), "train")
    assert part.classes == (1, 2, 3)
    assert sorted(part.labels.unique().tolist()) == [0, 1, 2]


def test_an_own_label_that_training_lacks_is_refused(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 3)
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["val_labels"] = np.where(changed["val_labels"] == 2, 7, changed["val_labels"])
    np.savez(file, **changed)
    with pytest.raises(InputError, match=r"own\.npz, split val.*Class id 7"):
        load_part(str(file), "val")


def test_without_a_validation_split_the_test_split_serves(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, per_class={"train": 3, "test": 4})
    part = load_part(str(file), "val")
    assert len(part) == 8
    assert "split test (it has no val split)" in part.source


def test_data_without_a_training_split_is_refused(tmp_path: Path, builders: ModuleType) -> None:
    folder = builders.write_folder(tmp_path / "own", {"test": 2})
    with pytest.raises(InputError, match=r"has no `train` split\. Present: test"):
        load_part(str(folder), "train")


def test_an_npz_of_other_arrays_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros(3), y=np.zeros(3))
    with pytest.raises(InputError, match=r"Present: none\. It holds x, y; expected train_images, train_labels"):
        load_part(str(tmp_path / "own.npz"), "train")


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_folder_is_read(tmp_path: Path, builders: ModuleType, packed: bool) -> None:
    folder = builders.write_folder(tmp_path / "own", {"train": 3, "val": 2}, ("ill", "normal", "odd"), side=32)
    if packed:
        with tarfile.open(tmp_path / "own.tar.gz", "w:gz") as archive:
            archive.add(folder, "own")
        folder = tmp_path / "own.tar.gz"
    parts = load_parts(str(folder), ("train", "val", "novel"), DataOptions(novel_classes="odd"))
    assert parts["train"].names == ("ill", "normal")
    assert [len(parts[name]) for name in ("train", "val", "novel")] == [6, 4, 5]
    assert parts["train"].images.shape[2:] == (32, 32)


def test_files_of_other_sizes_and_colours_become_one_array(
    tmp_path: Path, builders: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = builders.write_folder(tmp_path / "own", {"train": 2, "val": 1}, side=40)
    small = builders.write_folder(tmp_path / "small", {"train": 1}, side=20)
    shutil.copy(small / "train" / "a" / "0.png", folder / "train" / "a" / "small.png")
    assert load_part(str(folder), "train").images.shape == (5, 3, 32, 32)
    assert "images of different sizes" in capsys.readouterr().out


@pytest.mark.parametrize(("side", "kept"), [(8, 32), (27, 32), (28, 28), (30, 30), (32, 32), (64, 32)])
def test_images_are_kept_between_the_size_of_medmnist_and_of_the_network(
    tmp_path: Path, builders: ModuleType, side: int, kept: int
) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, side=side)
    part = load_part(str(file), "val")
    assert part.images.shape[2:] == (kept, kept)
    assert part.native == (side, side)


def test_larger_images_are_reduced_to_the_size_of_the_id_set_first(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, side=64)
    images = load_parts(str(file), ("val",), native=(8, 8))["val"].images.float()
    sharp = load_parts(str(file), ("val",))["val"].images.float()
    assert images.shape == sharp.shape
    assert images.diff(dim=-1).abs().mean() < 0.5 * sharp.diff(dim=-1).abs().mean()


def test_nan_pixels_are_refused(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2)
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["train_images"] = np.full((6, 28, 28), np.nan, dtype=np.float32)
    np.savez(file, **changed)
    with pytest.raises(InputError, match=r"`train_images` is float32 .*expected uint8"):
        load_part(str(file), "train")


def test_a_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.npz is missing"):
        load_part(str(tmp_path / "none.npz"), "train")
