"""Public sets of photographs: DTD, Places365, LSUN."""

import sys
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from ood_shared.datasets import load
from ood_shared.errors import InputError, MissingFileError
from PIL import Image


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
    with pytest.raises(InputError, match="needs lmdb, which is not installed: pip install lmdb"):
        load("lsun", "test", tmp_path, size=8)
