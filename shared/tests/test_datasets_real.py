"""The real files, where there are some: `OOD_TEST_DATA` names a folder with MNIST, FashionMNIST, MedMNIST, CIFAR-10."""

import os
from pathlib import Path

import numpy as np
import pytest
from ood_shared.datasets import load

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def root() -> Path:
    folder = os.environ.get("OOD_TEST_DATA")
    if not folder:
        pytest.skip("OOD_TEST_DATA does not name a folder with real data")
    return Path(folder)


def there(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    ("name", "folder", "test_counts"),
    [
        ("mnist", "MNIST", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fmnist", "FashionMNIST", [1000] * 10),
    ],
)
def test_mnist_family_is_read_and_is_the_original(root, caplog, name, folder, test_counts):
    there(root / folder)
    train, test = load(name, "train", root), load(name, "test", root)
    assert train.images.shape == (60_000, 28, 28, 1)
    assert np.bincount(test.labels).tolist() == test_counts
    assert "differ from the original" not in caplog.text


def test_mnist_folder_is_own_data_too(root):
    folder = there(root / "MNIST" / "raw")
    assert np.array_equal(load(str(folder), "test").images, load("mnist", "test", root).images)


def test_pneumoniamnist_has_its_official_counts(root):
    there(root / "medmnist" / "pneumoniamnist.npz")
    counts = {
        split: np.bincount(load("pneumoniamnist", split, root).labels).tolist() for split in ("train", "val", "test")
    }
    assert counts == {"train": [1214, 3494], "val": [135, 389], "test": [234, 390]}


def test_pneumoniamnist_as_own_data_is_the_same(root):
    path = there(root / "medmnist" / "pneumoniamnist.npz")
    assert np.array_equal(load(str(path), "test").images, load("pneumoniamnist", "test", root).images)


def test_cifar10_archive_is_read_without_unpacking(root):
    test = load(str(there(root / "cifar10_imagefolder.tar.gz")), "test")
    assert test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes[0] == "airplane"
