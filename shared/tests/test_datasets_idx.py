"""IDX files and the MNIST family: reading, packed or not, broken ones, and downloads that fail."""

import gzip
import struct
import urllib.error

import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ood_shared.datasets import load
from ood_shared.datasets.idx import TYPES, read_idx
from ood_shared.datasets.own import load_path
from ood_shared.errors import InputError, MissingFileError

CODES = {np.dtype(kind).newbyteorder("="): code for code, kind in TYPES.items()}


def idx_bytes(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_pair(folder, word, images, labels, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{word}-images-idx3-ubyte", images), (f"{word}-labels-idx1-ubyte", labels)):
        data = idx_bytes(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data, 1) if packed else data)


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 5, 4), dtype=np.uint8), np.array([0, 1, 2, 2, 1, 0], dtype=np.uint8)


def any_array(kind):
    numbers = {"allow_nan": False} if kind.kind == "f" else None
    return arrays.arrays(kind, arrays.array_shapes(max_dims=4, max_side=4), elements=numbers)


@settings(max_examples=30, deadline=None)
@given(array=st.sampled_from(list(CODES)).flatmap(any_array))
def test_what_is_written_is_read_for_every_number_type(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(idx_bytes(array.astype(array.dtype.newbyteorder(">")), CODES[array.dtype]))
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_packed_and_plain_files_read_alike(tmp_path, small):
    (tmp_path / "plain").write_bytes(idx_bytes(small[0]))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx_bytes(small[0])))
    assert np.array_equal(read_idx(tmp_path / "plain"), read_idx(tmp_path / "packed.gz"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "starts with nothing"),
        (lambda data: b"PK\x03\x04" + data, "not an IDX file: it starts with 50 4b 03 04"),
        (lambda data: b"\0\0\x07\x03" + data[4:], "not an IDX file"),
        (lambda data: data[:10], "ends within its header"),
        (lambda data: data[:-1], "should hold 120 bytes for 6 x 5 x 4, found 119"),
        (lambda data: data + b"x", "found more than that"),
        (lambda data: data[:4] + b"\xff" * 12, "its header is damaged"),
        (lambda data: gzip.compress(data)[:-12], "damaged or no IDX file"),
        (lambda data: gzip.compress(data)[:-8] + bytes(8), "damaged or no IDX file"),
    ],
)
def test_broken_file_is_refused_in_one_line(tmp_path, small, change, said):
    (tmp_path / "x-images-idx3-ubyte").write_bytes(change(idx_bytes(small[0])))
    with pytest.raises(InputError, match=said) as caught:
        read_idx(tmp_path / "x-images-idx3-ubyte")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_folder_of_idx_files_is_own_data_with_splits(tmp_path, small, packed):
    write_pair(tmp_path, "train", *small, packed)
    write_pair(tmp_path, "t10k", small[0][:2], small[1][:2], packed)
    train, test = load(str(tmp_path), "train"), load(str(tmp_path), "test")
    assert np.array_equal(train.images[..., 0], small[0])
    assert train.labels.tolist() == small[1].tolist()
    assert train.classes == ("0", "1", "2")
    assert len(test) == 2
    with pytest.raises(InputError, match=r"no `val` split. Present: test, train"):
        load(str(tmp_path), "val")


def test_images_file_leads_to_the_other_split_beside_it(tmp_path, small):
    write_pair(tmp_path, "emnist-letters-train", *small)
    write_pair(tmp_path, "emnist-letters-test", small[0][:3], small[1][:3])
    write_pair(tmp_path, "other-test", small[0][:1], small[1][:1])
    assert len(load(str(tmp_path / "emnist-letters-train-images-idx3-ubyte"), "test")) == 3
    with pytest.raises(InputError, match="several IDX sets"):
        load(str(tmp_path), "test")


def test_idx_name_without_a_split_is_a_test_set(tmp_path, small):
    write_pair(tmp_path, "notmnist", *small)
    assert len(load(str(tmp_path), "test")) == 6


def test_images_without_labels_name_the_missing_file(tmp_path, small):
    write_pair(tmp_path, "train", *small)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingFileError, match="train-labels-idx1-ubyte"):
        load(str(tmp_path), "train")


def test_images_and_labels_of_other_numbers_are_refused(tmp_path, small):
    write_pair(tmp_path, "train", small[0], small[1][:4])
    with pytest.raises(InputError, match="expected 6 whole numbers"):
        load(str(tmp_path), "train")


@pytest.fixture
def mnist(tmp_path):
    images = np.zeros((10_000, 28, 28), dtype=np.uint8)
    images[:, 3, 4] = np.arange(10_000) % 256
    labels = (np.arange(10_000) % 10).astype(np.uint8)
    write_pair(tmp_path / "MNIST" / "raw", "t10k", images, labels, packed=True)
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """torchvision as it is without a network; how often it was asked."""
    asked = []

    def fail(root, **options):
        asked.append(options)
        raise urllib.error.URLError("no network")

    for name in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST"):
        monkeypatch.setattr(torchvision.datasets, name, fail)
    return asked


def test_mnist_is_read_from_torchvisions_folder_without_download(mnist, offline):
    images = load("mnist", "test", mnist)
    assert images.images.shape == (10_000, 28, 28, 1)
    assert images.images[300, 3, 4, 0] == 300 % 256
    assert images.labels[:11].tolist() == [*range(10), 0]
    assert not offline


def test_content_that_differs_from_the_original_is_noted_and_not_refused(mnist, offline, caplog):
    load("mnist", "test", mnist)
    assert "differ from the original" in caplog.text


def test_unpacked_file_wins_over_the_packed_one(mnist, offline):
    plain = np.full((10_000, 28, 28), 9, dtype=np.uint8)
    (mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(plain))
    assert load("mnist", "test", mnist).images.min() == 9


def test_wrong_number_of_images_is_refused(tmp_path, small, offline):
    write_pair(tmp_path / "MNIST" / "raw", "t10k", *small)
    with pytest.raises(InputError, match="has 10000 of 28 x 28"):
        load("mnist", "test", tmp_path)


def test_emnist_letters_are_numbered_from_zero(tmp_path, offline):
    images = np.zeros((14_800, 28, 28), dtype=np.uint8)
    labels = (np.arange(14_800) % 26 + 1).astype(np.uint8)
    write_pair(tmp_path / "EMNIST" / "raw", "emnist-letters-test", images, labels)
    letters = load("emnist", "test", tmp_path)
    assert (letters.labels.min(), letters.labels.max()) == (0, 25)
    assert letters.classes[:3] == ("a", "b", "c")


def test_qmnist_takes_the_first_column_of_its_labels(tmp_path, offline):
    folder = tmp_path / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "qmnist-test-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((60_000, 28, 28), dtype=np.uint8)))
    labels = np.tile(np.arange(8), (60_000, 1)).astype(">i4")
    labels[:, 0] = np.arange(60_000) % 10
    (folder / "qmnist-test-labels-idx2-int").write_bytes(idx_bytes(labels, 0x0C))
    assert load("qmnist", "test", tmp_path).labels[:12].tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("mnist", "t10k-images-idx3-ubyte", "MNIST"),
        ("fashionmnist", "t10k-images-idx3-ubyte", "FashionMNIST"),
        ("kmnist", "t10k-labels-idx1-ubyte", "KMNIST"),
        ("emnist", "emnist-letters-test-images-idx3-ubyte", "EMNIST"),
        ("qmnist", "qmnist-test-labels-idx2-int", "QMNIST"),
    ],
)
def test_offline_says_in_one_line_what_is_missing_and_where_it_goes(tmp_path, offline, name, file, folder):
    with pytest.raises(MissingFileError, match=file) as caught:
        load(name, "test", tmp_path)
    said = str(caught.value)
    assert str(tmp_path / folder / "raw") in said
    assert "Get it from the" in said
    assert "\n" not in said
    assert "://" not in said
    assert not list(tmp_path.iterdir()), "a failed download left something"


def test_download_moves_whole_files_into_place(tmp_path, monkeypatch):
    def fetch(root, train, download):
        images = np.zeros((10_000, 28, 28), dtype=np.uint8)
        write_pair(root / "MNIST" / "raw", "t10k", images, images[:, 0, 0])

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert len(load("mnist", "test", tmp_path)) == 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MNIST"]


def test_missing_split_lists_those_present(tmp_path):
    with pytest.raises(InputError, match=r"`mnist` has no `val` split. Present: train, test"):
        load("mnist", "val", tmp_path)


def test_one_hot_labels_are_the_column_of_the_1(tmp_path, small):
    images, labels = small
    hot = np.eye(int(labels.max()) + 1, dtype=np.uint8)[labels]
    write_pair(tmp_path, "train", images, hot)
    found = load_path(tmp_path, "train")
    assert found.labels.tolist() == labels.tolist()
    assert "one-hot" in found.notes[0]
