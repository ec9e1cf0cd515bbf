"""Own data: folders, archives and arrays as ID sets, with their outliers."""

import os
import tarfile

import numpy as np
import pytest
import torch
from imood.data import registry
from imood.data.images import class_folders
from imood.data.registry import open_task
from imood.data.user_data import UserDataset, default_aux, default_tests, is_own, make_blobs
from ood_shared.errors import InputError
from PIL import Image

from .sources import CPU, place


def folder_tree(root, sizes, test=3):
    for split in ("train", "test"):
        for name, count in sizes.items():
            for number in range(count if split == "train" else test):
                path = root / split / name / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 32), (number, 0, 0)).save(path)
    return root


def test_own_folders_come_as_they_are_or_cut(tmp_path):
    folder_tree(tmp_path / "mine", {"a": 4, "b": 9, "c": 6})
    dataset = f"folder:{tmp_path}/mine"
    assert open_task(place(dataset, tmp_path, ratio=None), training=True).counts == [4, 9, 6]
    assert open_task(place(dataset, tmp_path, ratio=0.2), training=True).counts == [4, 2, 1]


def test_own_images_are_resized_for_the_network(tmp_path):
    folder_tree(tmp_path / "mine", {"a": 2, "b": 2})
    small = open_task(place(f"folder:{tmp_path}/mine", tmp_path), training=True).test()
    large = open_task(place(f"folder:{tmp_path}/mine", tmp_path, model="ResNet50"), training=True).test()
    assert small.images.shape[1:] == (3, 32, 32)
    assert large.images.shape[1:] == (3, 224, 224)


def test_archives_and_six_arrays_are_own_data(tmp_path):
    folder_tree(tmp_path / "mine", {"a": 3, "b": 2})
    with tarfile.open(tmp_path / "mine.tar", "w") as tar:
        tar.add(tmp_path / "mine", "mine")
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((5, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [0], [0], [1], [1]])
    np.savez(tmp_path / "mine.npz", **arrays)
    for dataset in (f"tar:{tmp_path}/mine.tar", f"npz:{tmp_path}/mine.npz"):
        task = open_task(place(dataset, tmp_path, ratio=None), training=True)
        assert task.counts == [3, 2]
        assert task.name == "mine"


def test_one_class_is_refused(tmp_path):
    folder_tree(tmp_path / "mine", {"a": 3})
    with pytest.raises(InputError, match="1 class; expected at least 2"):
        open_task(place(f"folder:{tmp_path}/mine", tmp_path), training=True)


def test_a_prefix_without_a_path_and_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="names no path"):
        open_task(place("folder:", tmp_path), training=True)
    with pytest.raises(InputError, match="`cifar11` is not known"):
        open_task(place("cifar11", tmp_path), training=True)


def test_outliers_are_brought_to_the_size_of_small_id_images_first(tmp_path):
    """Digits are 8 x 8: outliers must not be sharper."""
    own = UserDataset("digits", tmp_path, 32)
    sharp = own.outliers("photos", CPU).images.float()
    assert (sharp - torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)).abs()[..., 4:-4, 4:-4].mean() < 6


def test_training_outliers_are_none_of_the_test_sets():
    assert default_aux(["photos", "textures"]) == "letters"
    assert default_aux(["photos", "textures", "letters", "uniform"]) == "blobs"
    assert "textures" not in default_tests("textures")
    assert make_blobs(10, 32, torch.Generator().manual_seed(0)).shape == (10, 3, 32, 32)


def test_names_and_paths_are_told_apart(tmp_path):
    assert is_own("digits")
    assert is_own("folder:x")
    assert is_own(str(tmp_path))
    assert not is_own("nothing")
    assert registry.default_model("imagenet") == "ResNet50"
    assert registry.default_dataset(tmp_path) == "digits"


def test_folders_of_images_are_walked_as_everywhere(tmp_path, capsys):
    for name in ("a/1.png", "a/b/2.JPG", "a/._1.png", "a/.thumbs/3.png", "a/4.heic", ".cache/5.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a/b/up").symlink_to("..")
    paths, labels, classes = class_folders(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["a/1.png", "a/b/2.JPG"]
    assert (labels.tolist(), classes) == ([0, 0], ("a",))
    assert "1 of 3 files left out (.heic)" in capsys.readouterr().out
    os.mkfifo(tmp_path / "a/pipe.png")
    with pytest.raises(InputError, match="is a pipe"):
        class_folders(tmp_path)
