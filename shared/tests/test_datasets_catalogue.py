"""Names and public sets: what `load` knows, torchvision's layouts, sets of photographs, failed downloads."""

import socket
import subprocess
import sys
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from ood_shared.datasets import EMBEDDED_OOD, NOISE, known_names, load
from ood_shared.datasets.catalogue import ARRAY_SETS
from ood_shared.datasets.fetch import data_root, download_into
from ood_shared.errors import InputError, MissingFileError
from PIL import Image


def test_known_names_are_all_names_once():
    names = known_names()
    assert len(names) == len(set(names))
    assert {"digits", "mnist", "fmnist", "emnist", "kmnist", "qmnist", "usps", "cifar10", "cifar100", "svhn"} <= set(
        names
    )
    assert {"dtd", "places365", "lsun", "stl10", "pathmnist", "organsmnist", *NOISE, *EMBEDDED_OOD} <= set(names)


def test_name_is_known_in_any_case():
    assert load("Digits", "test").name == "digits"


def test_unknown_name_names_the_near_one_and_that_a_path_would_do():
    with pytest.raises(InputError, match=r"Did you mean `bloodmnist`\?.* path of own data would also do: a folder"):
        load("bloodmnits")


def test_unknown_split_names_the_splits():
    with pytest.raises(InputError, match=r"Split `tset` is not known. Did you mean `test`\?"):
        load("digits", "tset")


def test_name_wins_over_a_folder_of_that_name_and_a_path_reaches_the_folder(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    Image.new("L", (5, 5)).save(tmp_path / "digits" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert len(load("digits", "test")) == 454
    assert len(load("./digits", "test")) == 1


def test_folder_without_a_slash_is_found(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    Image.new("L", (5, 5)).save(tmp_path / "birds" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert load("birds", "test").name == "birds"


@pytest.mark.parametrize("options", [{"size": 0}, {"channels": 2}, {"size": -3}])
def test_impossible_size_and_channels_are_refused(options):
    with pytest.raises(InputError, match="1 or 3 channels and a size from 1 on"):
        load("digits", "test", **options)


def test_data_root_is_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA_DIR", str(tmp_path / "env"))
    assert data_root(tmp_path) == tmp_path
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("OOD_DATA_DIR")
    assert data_root().name == "ood-papers"
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert data_root().name == "ood-papers"


def test_package_works_without_the_optional_libraries():
    absent = ("medmnist", "pooch", "skimage", "sklearn", "matplotlib", "torchvision", "scipy")
    lines = (
        "import sys",
        f"sys.modules.update(dict.fromkeys({absent!r}))",
        "from ood_shared.datasets import load",
        "assert len(load('uniform')) == 1000",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Array sets, through torchvision


@pytest.fixture
def fake(monkeypatch):
    """Stand-ins for torchvision's classes that find their files in the folders given, and cannot download."""

    def install(name, *, folders=(), data=None, labels=(), error=None):
        def kind(root, download=False, **options):
            if download:
                raise error or urllib.error.URLError("no network")
            if root not in folders:
                raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
            key = "labels" if name in ("svhn", "stl10") else "targets"
            return SimpleNamespace(data=data, classes=["apple", "baby"], options=options, **{key: labels})

        monkeypatch.setattr(torchvision.datasets, ARRAY_SETS[name].kind, kind)

    return install


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cifar10", (2, 32, 32, 3)),
        ("cifar100", (2, 32, 32, 3)),
        ("svhn", (2, 3, 32, 32)),
        ("stl10", (2, 3, 96, 96)),
        ("usps", (2, 16, 16)),
    ],
)
@pytest.mark.parametrize("below", [False, True])
def test_array_set_is_taken_from_torchvision_with_channels_last(tmp_path, fake, name, shape, below):
    data = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    fake(name, folders=(tmp_path / name if below else tmp_path,), data=data, labels=[1, 0])
    images = load(name, "test", tmp_path)
    expected = data.transpose(0, 2, 3, 1) if shape[1] == 3 else data.reshape(2, *ARRAY_SETS[name].shape)
    assert np.array_equal(images.images, expected)
    assert images.labels.tolist() == [1, 0]
    if name == "cifar100":
        assert images.classes == ("apple", "baby")


@pytest.mark.parametrize("name", ARRAY_SETS)
def test_offline_says_in_one_line_what_is_missing_and_where_it_goes(tmp_path, fake, name):
    fake(name)
    with pytest.raises(MissingFileError, match=ARRAY_SETS[name].files["test"]) as caught:
        load(name, "test", tmp_path)
    said = str(caught.value)
    assert str(tmp_path) in said
    assert ARRAY_SETS[name].source in said
    assert "\n" not in said
    assert "://" not in said
    assert not list(tmp_path.iterdir()), "a failed download left something"


def test_file_with_a_wrong_checksum_is_not_loaded(tmp_path, monkeypatch):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10, "download", lambda self: (_ for _ in ()).throw(OSError("offline"))
    )
    with pytest.raises(MissingFileError, match="or its checksum is wrong"):
        load("cifar10", "test", tmp_path)


def test_absent_library_of_a_file_format_is_named(tmp_path, monkeypatch):
    def kind(root, **options):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(torchvision.datasets, "SVHN", kind)
    with pytest.raises(InputError, match=r"`svhn` needs scipy .* Install scipy"):
        load("svhn", "test", tmp_path)


def test_missing_split_of_a_public_set_lists_those_present(tmp_path):
    with pytest.raises(InputError, match=r"`cifar10` has no `val` split. Present: train, test"):
        load("cifar10", "val", tmp_path)


# Photographs


def photo(path, value, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path, quality=100)


@pytest.mark.parametrize("name", ["dtd", "places365", "lsun"])
def test_sets_of_many_sizes_ask_for_a_size(tmp_path, name):
    with pytest.raises(InputError, match="Give `size`"):
        load(name, "test", tmp_path)


@pytest.mark.parametrize("below", ["dtd/dtd", "dtd"])
def test_dtd_is_read_from_its_list(tmp_path, below):
    base = tmp_path / below
    for number, name in enumerate(("zigzagged/a.jpg", "banded/b.jpg", "banded/c.jpg")):
        photo(base / "images" / name, 50 * number, size=(40 + number, 30))
    (base / "labels").mkdir()
    (base / "labels" / "test1.txt").write_text("zigzagged/a.jpg\nbanded/c.jpg\n")
    images = load("dtd", "test", tmp_path, size=8)
    assert images.images.shape == (2, 8, 8, 3)
    assert images.labels.tolist() == [1, 0]
    assert images.classes == ("banded", "zigzagged")


def test_places_validation_images_are_the_test_split(tmp_path):
    for number in range(3):
        photo(tmp_path / "val_256" / f"Places365_val_{number}.jpg", 80 * number)
    lines = "Places365_val_0.jpg 1\nPlaces365_val_1.jpg 0\nPlaces365_val_2.jpg 1\n"
    (tmp_path / "places365_val.txt").write_text(lines)
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/b/bakery/shop 1\n")
    images = load("places365", "test", tmp_path, size=4, channels=1)
    assert images.images.shape == (3, 4, 4, 1)
    assert images.labels.tolist() == [1, 0, 1]
    assert images.classes == ("airfield", "bakery/shop")
    with pytest.raises(InputError, match=r"no `train` split. Present: test"):
        load("places365", "train", tmp_path, size=4)


def test_image_that_a_list_names_and_that_is_absent_is_named(tmp_path):
    (tmp_path / "dtd" / "labels").mkdir(parents=True)
    (tmp_path / "dtd" / "labels" / "test1.txt").write_text("banded/c.jpg\n")
    with pytest.raises(MissingFileError, match=r"banded/c\.jpg is missing"):
        load("dtd", "test", tmp_path, size=8)


@pytest.mark.parametrize(("name", "kind"), [("dtd", "DTD"), ("places365", "Places365")])
def test_photographs_offline_say_where_to_put_them(tmp_path, monkeypatch, name, kind):
    def fail(root, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torchvision.datasets, kind, fail)
    with pytest.raises(MissingFileError, match=str(tmp_path)) as caught:
        load(name, "test", tmp_path, size=8)
    assert "\n" not in str(caught.value)


class FakeStore:
    """What `lmdb.open` gives, over a dict."""

    def __init__(self, entries):
        self.entries = entries

    def stat(self):
        return {"entries": len(self.entries)}

    def begin(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def cursor(self):
        return iter(self.entries.items())

    def close(self):
        self.entries = {}


def test_lsun_is_read_from_its_stores(tmp_path, monkeypatch):
    photo(tmp_path / "photo.png", 90)
    data = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "lsun" / "test_lmdb").mkdir(parents=True)
    lmdb = SimpleNamespace(open=lambda path, **options: FakeStore({b"a": data, b"b": data}))
    monkeypatch.setitem(sys.modules, "lmdb", lmdb)
    images = load("lsun", "test", tmp_path, size=8)
    assert images.images.tolist() == np.full((2, 8, 8, 3), 90).tolist()
    with pytest.raises(MissingFileError, match="bedroom_val_lmdb"):
        load("lsun", "val", tmp_path, size=8)


def test_lsun_without_its_library_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match="needs lmdb: pip install"):
        load("lsun", "test", tmp_path, size=8)


# Downloads


def test_download_that_dies_leaves_nothing(tmp_path):
    def half(place):
        (place / "part.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_into(tmp_path / "root", half, "x is missing.")
    assert not list((tmp_path / "root").iterdir())


def test_download_merges_into_folders_that_are_there(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "kept").write_text("old")
    (tmp_path / "set" / "broken").write_text("half")

    def fetch(place):
        (place / "set").mkdir()
        (place / "set" / "broken").write_text("whole")

    download_into(tmp_path, fetch, "x is missing.")
    found = {path.name: path.read_text() for path in (tmp_path / "set").iterdir()}
    assert found == {"kept": "old", "broken": "whole"}


def test_download_does_not_wait_for_ever_and_puts_the_patience_back(tmp_path):
    seen = []
    download_into(tmp_path, lambda place: seen.append(socket.getdefaulttimeout()), "x is missing.")
    assert seen == [30.0]
    assert socket.getdefaulttimeout() is None


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        download_into(tmp_path / "file" / "root", lambda place: None, "x is missing.")
