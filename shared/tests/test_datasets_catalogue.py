"""Names: what `load` knows and offers, and the sets that are arrays, in torchvision's layouts."""

import subprocess
import sys
import urllib.error
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from ood_shared.datasets import EMBEDDED_OOD, NOISE, known_names, load
from ood_shared.datasets.catalogue import ARRAY_SETS
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
