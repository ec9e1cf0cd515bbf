"""Six-array npz files, own and MedMNIST: what is read, and what is refused before or while reading."""

import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
from ood_shared.datasets import load
from ood_shared.datasets.medical import MEDICAL
from ood_shared.errors import InputError, MissingFileError


def six(counts=(6, 3, 4), side=28, channels=(), classes=2, label_shape=(1,)):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in zip(("train", "val", "test"), counts, strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, side, side, *channels), dtype=np.uint8)
        labels = np.arange(n) % classes
        arrays[f"{split}_labels"] = np.broadcast_to(labels.reshape(n, *[1] * len(label_shape)), (n, *label_shape))
    return arrays


@pytest.fixture
def write(tmp_path):
    def write(name="own.npz", **changes):
        arrays = {key: value for key, value in (six() | changes).items() if value is not None}
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **arrays)
        return path

    return write


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_is_read_as_it_was_written(write, split):
    images = load(str(write()), split)
    assert np.array_equal(images.images[..., 0], six()[f"{split}_images"])
    assert images.labels.tolist() == six()[f"{split}_labels"].ravel().tolist()
    assert (images.name, images.classes) == ("own", ("0", "1"))


def test_classes_count_over_all_splits(write):
    path = write(train_labels=np.array([[0], [1], [2], [3], [0], [1]]))
    assert load(str(path), "test").classes == ("0", "1", "2", "3")


def test_rgb_images_keep_their_channels(write):
    arrays = six(channels=(3,))
    assert np.array_equal(load(str(write(**arrays)), "val").images, arrays["val_images"])


def test_flat_labels_are_read_like_a_column(write):
    assert load(str(write(test_labels=np.array([1, 0, 1, 1]))), "test").labels.tolist() == [1, 0, 1, 1]


def test_npz_with_one_split_serves_that_split(write):
    path = write(train_images=None, train_labels=None, val_images=None, val_labels=None)
    assert len(load(str(path), "test")) == 4
    with pytest.raises(InputError, match=r"no `train` split. Present: test"):
        load(str(path), "train")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_labels": None}, "no `test_labels`"),
        ({"train_images": None}, "no `train_images`"),
        ({"test_images": np.zeros((4, 28, 28))}, r"`test_images` is float64 .* expected uint8"),
        ({"test_images": np.zeros((4, 28, 28, 2), dtype=np.uint8)}, "expected uint8"),
        ({"test_images": np.zeros((4, 0, 28), dtype=np.uint8)}, "is empty"),
        ({"test_labels": np.zeros(5, dtype=np.int64)}, r"whole numbers \(4,\)"),
        ({"test_labels": np.full(4, 0.5)}, r"`test_labels` holds 0\.5; expected whole numbers"),
        ({"test_labels": np.full(4, np.nan)}, "holds nan; expected whole numbers"),
        ({"test_labels": np.zeros(4, complex)}, "whole numbers"),
        ({"val_labels": np.array([[0], [-1], [0]])}, "labels from -1"),
        ({"test_labels": np.array([0, 1, 2, 10**9])}, "labels from 0 to 1000000000"),
        ({"test_labels": np.array([[0, 1], [0, 1], [1, 0], [0, 1]])}, "different numbers of columns"),
    ],
)
def test_arrays_that_do_not_fit_are_named(write, changes, said):
    path = write(**changes)
    with pytest.raises(InputError, match=said) as caught:
        load(str(path), "test")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class Payload:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_objects_are_refused_and_not_run(write, tmp_path):
    trap = tmp_path / "trap"
    path = write(test_labels=np.array([Payload(trap)] * 4, dtype=object))
    with pytest.raises(InputError, match="holds pickled Python objects in `test_labels`"):
        load(str(path), "test")
    assert not trap.exists()


def test_bare_pickle_under_the_name_of_an_npz_is_refused_and_not_run(tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "own.npz"
    path.write_bytes(pickle.dumps(Payload(trap)))
    with pytest.raises(InputError, match=r"damaged or no \.npz"):
        load(str(path), "test")
    assert not trap.exists()


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_refused(write, kept):
    path = write()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"damaged or no \.npz"):
        load(str(path), "test")


def test_flipped_bytes_are_noticed_by_the_checksum(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **six())  # stored, so that a flipped pixel breaks no decompression
    data = bytearray(path.read_bytes())
    start = data.find(six()["test_images"].tobytes())
    data[start + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"Bad CRC-32 for file .test_images"):
        load(str(path), "test")


def test_header_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "own.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", header.getvalue() + bytes(28 * 28))
    with pytest.raises(InputError, match=r"`test_images` should be uint8 \(1000000000, 28, 28\), found 784 bytes"):
        load(str(path), "test")


def test_missing_npz_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"own\.npz is missing"):
        load(str(tmp_path / "own.npz"), "test")


@pytest.mark.parametrize("place", ["medmnist/pneumoniamnist.npz", "pneumoniamnist.npz"])
def test_medmnist_is_found_in_the_root_and_below(write, tmp_path, place):
    write(place)
    images = load("pneumoniamnist", "val", tmp_path)
    assert (len(images), images.classes) == (3, ("normal", "pneumonia"))
    assert "CC BY 4.0" in images.licence


def test_larger_medmnist_has_its_size_in_the_name(write, tmp_path):
    write("bloodmnist_64.npz", **six(side=64, channels=(3,), classes=8))
    assert load("BloodMNIST_64", "test", tmp_path).images.shape == (4, 64, 64, 3)


def test_medmnist_file_of_another_size_is_refused(write, tmp_path):
    write("bloodmnist_64.npz", **six(side=28, channels=(3,)))
    with pytest.raises(InputError, match="28 x 28 pixels; `bloodmnist_64` has 64 x 64"):
        load("bloodmnist_64", "test", tmp_path)


def test_medmnist_file_with_labels_of_another_set_is_refused(write, tmp_path):
    write("pneumoniamnist.npz", **six(classes=3))
    with pytest.raises(InputError, match="labels from 0 to 2; expected 0 to 1"):
        load("pneumoniamnist", "test", tmp_path)


def test_chestmnist_findings_become_none_or_any(write, tmp_path):
    findings = np.zeros((4, 14), dtype=np.uint8)
    findings[1, 3] = findings[2, 0] = findings[2, 13] = 1
    write("chestmnist.npz", **(six(label_shape=(14,)) | {"test_labels": findings}))
    images = load("chestmnist", "test", tmp_path)
    assert images.labels.tolist() == [0, 1, 1, 0]
    assert images.classes == ("none", "any")


def test_unknown_size_names_the_sizes_there_are(tmp_path):
    with pytest.raises(InputError, match=r"Did you mean `bloodmnist_64`\? Known: bloodmnist, bloodmnist_64"):
        load("bloodmnist_65", "test", tmp_path)


def fake_medmnist(monkeypatch, fetch):
    module = types.ModuleType("medmnist")
    for entry in MEDICAL.values():
        setattr(module, entry.kind, fetch)
    monkeypatch.setitem(sys.modules, "medmnist", module)


def test_offline_says_in_one_line_what_is_missing_and_where_it_goes(tmp_path, monkeypatch):
    def fail(**options):
        raise RuntimeError("Automatic download failed!\n several\n lines")

    fake_medmnist(monkeypatch, fail)
    with pytest.raises(MissingFileError, match=r"`dermamnist_128` lacks dermamnist_128\.npz") as caught:
        load("dermamnist_128", "test", tmp_path)
    assert str(tmp_path / "medmnist") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()), "a failed download left something"


def test_download_is_moved_into_place(tmp_path, monkeypatch):
    def fetch(split, root, size, download):
        np.savez(f"{root}/octmnist.npz", **six(classes=4))

    fake_medmnist(monkeypatch, fetch)
    assert len(load("octmnist", "test", tmp_path)) == 4
    assert [path.name for path in (tmp_path / "medmnist").iterdir()] == ["octmnist.npz"]


def test_absent_medmnist_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(InputError, match="needs medmnist, which is not installed"):
        load("octmnist", "test", tmp_path)


def test_class_names_are_those_of_medmnist():
    info = pytest.importorskip("medmnist.info")
    for name, entry in MEDICAL.items():
        assert info.INFO[name]["python_class"] == entry.kind
        if name != "chestmnist":
            assert tuple(info.INFO[name]["label"].values()) == entry.classes
