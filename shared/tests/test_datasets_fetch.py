"""`fetch_set`: what is there is not read, what is absent is downloaded or said."""

from pathlib import Path

import pytest
from ood_shared.datasets import NOISE, medical
from ood_shared.datasets.embedded import EMBEDDED
from ood_shared.datasets.registry import fetch_set
from ood_shared.errors import InputError, MissingFileError

FILES = {
    ("Fashion-MNIST", "train"): "FashionMNIST/raw/train-images-idx3-ubyte train-labels-idx1-ubyte.gz",
    ("BloodMNIST_64", "test"): "medmnist/bloodmnist_64.npz",
    ("dtd", "val"): "dtd/dtd/labels/val1.txt",
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers


@pytest.mark.parametrize(("name", "split"), FILES)
def test_files_that_are_there_are_not_read(tmp_path: Path, offline: None, name: str, split: str) -> None:
    first, *others = FILES[name, split].split()
    folder = (tmp_path / first).parent
    folder.mkdir(parents=True)
    for file in (Path(first).name, *others):
        (folder / file).write_bytes(b"no images")
    fetch_set(name, split, tmp_path)
    (folder / (others[0] if others else Path(first).name)).unlink()
    with pytest.raises(MissingFileError, match="lacks"):
        fetch_set(name, split, tmp_path)


@pytest.mark.parametrize("name", [*EMBEDDED, *NOISE])
def test_of_sets_without_files_there_is_nothing_to_fetch(tmp_path: Path, offline: None, name: str) -> None:
    fetch_set(name, "train", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_brings_the_file_to_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medical, "_download", lambda base, size, place: (place / f"{base}_{size}.npz").touch())
    fetch_set("pathmnist_128", "train", tmp_path)
    assert (tmp_path / "medmnist" / "pathmnist_128.npz").is_file()


@pytest.mark.parametrize(("name", "split"), [("places365", "train"), ("lsun", "train"), ("svhn", "val")])
def test_a_split_that_the_set_lacks_is_refused_before_a_download(tmp_path: Path, name: str, split: str) -> None:
    with pytest.raises(InputError, match=f"`{name}` has no `{split}` split"):
        fetch_set(name, split, tmp_path)
    assert not list(tmp_path.iterdir())
