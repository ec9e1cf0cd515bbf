"""Reading CIFAR, SCOOD, ImageNet lists, random images, and own data."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from imood.data import cifar, imagenet, registry, scood
from imood.data.images import class_folders
from imood.data.published import read_tiny_images
from imood.data.registry import open_task
from imood.data.tasks import Source, parse_outliers
from imood.data.user_data import UserDataset, default_aux, default_tests, is_own, make_blobs
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import write_text
from PIL import Image

from ..conftest import colours, write_cifar

CPU = torch.device("cpu")


def place(dataset, root, **fields):
    return Source(dataset, Path(root), fields.pop("ratio", 0.1), fields.pop("model", "ResNet18"), CPU, **fields)


def test_cifar_is_read_in_file_order(tmp_path):
    labels = np.arange(20) % 10
    images = colours(labels, 10, 0)
    write_cifar(tmp_path, "cifar10", (images, labels), (images[:7], labels[:7]))
    pixels, found = cifar.read_cifar("cifar10", "train", tmp_path)
    assert found.tolist() == labels.tolist()
    assert torch.equal(pixels, torch.from_numpy(images).permute(0, 3, 1, 2))


def test_the_archive_is_used_when_the_folder_is_absent(tmp_path):
    labels = np.arange(100)
    images = colours(labels, 100, 0)
    source = tmp_path / "source"
    write_cifar(source, "cifar100", (images, labels), (images, labels))
    root = tmp_path / "data"
    root.mkdir()
    with tarfile.open(root / "cifar-100-python.tar.gz", "w:gz") as tar:
        tar.add(source / "cifar-100-python", "cifar-100-python")
    assert cifar.read_cifar("cifar100", "test", root)[1].tolist() == labels.tolist()
    assert (root / "cifar-100-python.tar.gz").is_file()


def test_an_archive_that_leaves_the_folder_is_refused(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("../evil")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(InputError, match="leads out of its folder"):
        cifar.read_cifar("cifar10", "train", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]
    assert not (tmp_path.parent / "evil").exists()


class Hostile:
    def __reduce__(self):
        return (print, ("this must not be printed",))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (pickle.dumps(Hostile()), "arrays only"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}), "0 `labels`"),
        (pickle.dumps({"data": np.zeros((2, 10), np.uint8), "labels": [0, 1]}), r"\(2, 10\)"),
        (pickle.dumps([1]), "a list"),
        (b"\x80\x04", "is damaged or no CIFAR file"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [2**80]}), "is damaged or no CIFAR file"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [[0], [1, 2]]}), "is damaged or no CIFAR file"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}), "no list of whole numbers"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [float("nan")]}), "no list of whole numbers"),
    ],
)
def test_pickles_of_other_content_are_refused(tmp_path, capsys, content, word):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*cifar.BATCHES["cifar10"]["train"], "test_batch"):
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=word):
        cifar.read_cifar("cifar10", "train", tmp_path)
    assert capsys.readouterr().out == ""


def test_a_missing_batch_and_wrong_labels_are_named(tmp_path):
    labels = np.array([0, 1, 2, 3, 12])
    write_cifar(tmp_path, "cifar10", (colours(labels, 10, 0), labels), (colours(labels, 10, 0), labels))
    with pytest.raises(InputError, match="0 to 12"):
        cifar.read_cifar("cifar10", "test", tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(InputError, match="data_batch_3 is missing"):
        cifar.read_cifar("cifar10", "train", tmp_path)


def test_absent_cifar_without_network_says_where_to_get_it(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10.__init__", offline)
    with pytest.raises(MissingFileError, match=r"cifar-10-python.tar.gz.*Toronto"):
        cifar.read_cifar("cifar10", "train", tmp_path)


def test_scood_lists_give_files_and_semantic_labels(data):
    paths, labels = scood.read_list(data, "cifar10", "tin")
    assert all(path.is_file() for path in paths)
    assert labels.tolist()[:4] == [0, 1, 2, -1]
    assert scood.set_names("cifar100")[2] == "cifar10"


def test_scood_accepts_the_short_name_of_the_other_cifar(tmp_path):
    write_text(tmp_path / "SCOOD/data/imglist/benchmark_cifar10/test_cifar.txt", "a.png {'sc_label': -1}\n")
    assert scood.read_list(tmp_path, "cifar10", "cifar100")[1].tolist() == [-1]


@pytest.mark.parametrize(
    "line",
    ["a.png", "a.png {'label': 1}", "a.png {'sc_label': 'x'}", "a.png __import__('os')", "../a.png {'sc_label': 1}"],
)
def test_other_lines_in_a_scood_list_are_refused(tmp_path, line):
    write_text(tmp_path / "SCOOD/data/imglist/benchmark_cifar10/test_svhn.txt", line + "\n")
    with pytest.raises(InputError, match="line 1"):
        scood.read_list(tmp_path, "cifar10", "svhn")


def test_missing_scood_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingFileError, match=r"drive.google.com.*SCOOD/data"):
        scood.read_list(tmp_path, "cifar10", "svhn")


@pytest.mark.parametrize("folder", ["tinyimages80m", "tinyimages80M"])
def test_random_images_are_found_under_both_spellings_and_only_the_first_are_read(tmp_path, folder):
    stored = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    (tmp_path / folder).mkdir()
    np.save(tmp_path / folder / "300K_random_images.npy", stored)
    images, labels = read_tiny_images(tmp_path, 5)
    assert torch.equal(images, torch.from_numpy(stored[:5]).permute(0, 3, 1, 2))
    assert labels.tolist() == [-1] * 5


@pytest.mark.parametrize("content", [b"no array", None, "pickle"])
def test_random_images_of_another_form_are_refused(tmp_path, content):
    path = tmp_path / "tinyimages80m/300K_random_images.npy"
    path.parent.mkdir()
    if content == "pickle":
        np.save(path, np.array([Hostile()], dtype=object), allow_pickle=True)
    elif content is None:
        np.save(path, np.zeros((3, 28, 28), np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="300K_random_images"):
        read_tiny_images(tmp_path, 5)


def test_missing_random_images_say_where_to_get_them(tmp_path):
    with pytest.raises(MissingFileError, match="hendrycks"):
        read_tiny_images(tmp_path, 5)


def test_the_cifar_task_is_the_long_tailed_part_in_class_order(data):
    task = open_task(place("cifar10", data), training=True)
    train = task.train()
    assert task.counts == [30, 23, 17, 13, 10, 8, 6, 5, 3, 3]
    assert train.labels.tolist() == sorted(train.labels.tolist())
    assert len(task.aux()) == 64
    assert open_task(place("cifar10", data), training=False).outliers[3].load().labels.tolist()[:4] == [0, 1, 2, -1]


def test_the_other_cifar_can_be_trained_with(data):
    task = open_task(place("cifar10", data, aux_kind="CIFAR"), training=True)
    with pytest.raises(MissingFileError, match="cifar100"):
        task.aux()


def test_own_outliers_replace_the_six_sets(data):
    task = open_task(place("cifar10", data, ood_test="letters,mine=textures"), training=False)
    assert [listed.name for listed in task.outliers] == ["letters", "mine"]
    assert task.outliers[1].load().images.shape[1:] == (3, 32, 32)


def imagenet_tree(root):
    lines = {"train": [], "val": []}
    for label, wnid in enumerate(("n01", "n02", "n03")):
        for split in ("train", "val"):
            for number in range(3 - label if split == "train" else 2):
                path = root / "imagenet" / split / wnid / f"{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (300, 260), (80 * label, 0, 0)).save(path)
                lines[split].append(f"{split}/{wnid}/{number}.JPEG {label}")
    write_text(root / "imagenet/ImageNet_LT_train.txt", "\n".join(lines["train"]))
    write_text(root / "imagenet/ImageNet_LT_val.txt", "\n".join(lines["train"]))
    for name in ("extra_1k", "ood_test_1k"):
        (root / "imagenet" / name / "n09").mkdir(parents=True)
        Image.new("RGB", (256, 256)).save(root / "imagenet" / name / "n09/0.JPEG")


def test_imagenet_is_read_from_its_lists_and_cut_to_the_first_classes(tmp_path):
    imagenet_tree(tmp_path)
    training = open_task(place("imagenet", tmp_path, model="ResNet50", id_class_number=2), training=True)
    assert training.counts == [3, 2]
    assert len(training.train()) == 5
    assert len(training.aux()) == 1
    testing = open_task(place("imagenet", tmp_path, model="ResNet50", id_class_number=2), training=False)
    assert testing.test().labels.tolist() == [0, 0, 1, 1]
    assert [listed.name for listed in testing.outliers] == ["imagenet10k"]


def test_a_missing_imagenet_list_says_where_it_comes_from(tmp_path):
    with pytest.raises(MissingFileError, match=r"ImageNet_LT_train.txt.*CVPR 2019.*not shipped"):
        open_task(place("imagenet", tmp_path), training=True)


def test_missing_imagenet_outliers_name_the_script_that_makes_them(tmp_path):
    with pytest.raises(MissingFileError, match=r"get_imagenet10k\.sh"):
        imagenet.outlier_folder(tmp_path, "extra_1k")
    assert (imagenet.package_lists() / "get_imagenet10k.sh").is_file()


@pytest.mark.parametrize("line", ["train/a.JPEG", "train/a.JPEG x", "/abs.JPEG 1", "../a.JPEG 1"])
def test_other_lines_in_an_imagenet_list_are_refused(tmp_path, line):
    write_text(tmp_path / "imagenet/ImageNet_LT_train.txt", line + "\n")
    with pytest.raises(InputError, match="line 1"):
        imagenet.read_list(tmp_path, "ImageNet_LT_train.txt")


def test_waterbird_counts_its_folder_and_warns_when_it_is_another(tmp_path):
    for split in ("train", "val", "test"):
        for name, count in (("a_land", 2), ("b_water", 3)):
            for number in range(count):
                path = tmp_path / "waterbird_LT" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (230, 230)).save(path)
    for folder in ("waterbird_LT/spuriuos_ood", "texture"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (230, 230)).save(tmp_path / folder / "0.png")
    with pytest.warns(UserWarning, match=r"\[2, 3\] images; the published set has \[363, 3699\]"):
        task = open_task(place("waterbird", tmp_path, model="ResNet50"), training=True)
    assert task.counts == [2, 3]
    assert len(task.aux()) == 1


def test_a_class_without_images_is_warned_of(tmp_path):
    labels = np.arange(50) % 10
    write_cifar(tmp_path, "cifar10", (colours(labels, 10, 0), labels), (colours(labels, 10, 1), labels))
    with pytest.warns(UserWarning, match=r"classes have no training image.*1e-12"):
        open_task(place("cifar10", tmp_path, ratio=0.01), training=True)


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


@pytest.mark.parametrize("text", ["", "a=x,a=y", "letters,letters"])
def test_no_outlier_set_or_one_twice_is_refused(text):
    with pytest.raises(InputError, match="no set, or one more than once"):
        parse_outliers(text)


def test_names_of_outlier_sets_are_short():
    assert parse_outliers("folder:/a/b/near.tar.gz,letters,x=/c") == [
        ("near", "folder:/a/b/near.tar.gz"),
        ("letters", "letters"),
        ("x", "/c"),
    ]


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


@pytest.mark.parametrize("rest", ["{'sc_label': 1" + "0" * 30 + "}", "{'sc_label': 0.5}", "{'sc_label': [}"])
def test_a_wrong_line_of_a_scood_list_is_named(data, rest):
    path = data / "SCOOD/data/imglist/benchmark_cifar10/test_tin.txt"
    before = path.read_text()
    path.write_text(f"tin/test/x.png {rest}\n")
    try:
        with pytest.raises(InputError, match="line 1"):
            scood.read_list(data, "cifar10", "tin")
        path.write_bytes(b"tin/\xff.png {'sc_label': 0}\n")
        with pytest.raises(InputError, match="not text in UTF-8"):
            scood.read_list(data, "cifar10", "tin")
    finally:
        path.write_text(before)
