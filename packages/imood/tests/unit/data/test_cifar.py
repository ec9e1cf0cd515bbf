"""The files of CIFAR, and the random images that its trainings take as outliers."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from imood.data import cifar
from imood.data.published import read_tiny_images
from ood_shared.errors import InputError, MissingFileError

from ...conftest import colours, write_cifar


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
