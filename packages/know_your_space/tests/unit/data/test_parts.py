"""The parts of a named set: its classes, its colours, and the places where its files are found."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from know_your_space.cli import prepare_main
from know_your_space.data import parts as data
from know_your_space.data import source as datasource
from know_your_space.data.options import DataOptions
from know_your_space.data.parts import load_part, load_parts
from ood_shared.datasets import medical
from ood_shared.errors import InputError, MissingFileError


def test_known_and_novel_classes_make_up_a_medmnist_set(blood: Path, at: DataOptions) -> None:
    parts = load_parts("bloodmnist", ("train", "val", "test", "novel"), at)
    assert {name: part.labels.bincount().tolist() for name, part in parts.items()} == {
        "train": [3] * 6,
        "val": [2] * 6,
        "test": [1] * 6,
        "novel": [6, 6],
    }
    assert parts["train"].classes == (0, 1, 2, 3, 4, 6)
    assert parts["novel"].classes == (5, 7)
    assert parts["novel"].names == ("monocyte", "platelet")
    assert "documented by the authors" in parts["val"].source


def test_images_keep_their_pixels_and_order(blood: Path, at: DataOptions) -> None:
    with np.load(blood) as arrays:
        known = ~np.isin(arrays["val_labels"][:, 0], (5, 7))
        expected = arrays["val_images"][known]
    assert np.array_equal(load_part("bloodmnist", "val", at).images.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("place", ["{name}/{name}.npz", "medmnist/{name}.npz", "{name}.npz"])
def test_an_npz_is_found_in_each_of_its_places(
    tmp_path: Path, builders: ModuleType, at: DataOptions, place: str
) -> None:
    target = tmp_path / place.format(name="octmnist")
    target.parent.mkdir(exist_ok=True)
    builders.write_medmnist(tmp_path / "made", "octmnist").rename(target)
    assert len(load_part("OCTMNIST", "train", at)) == 9


def test_a_set_is_the_same_from_every_kind_of_file(
    tmp_path: Path, builders: ModuleType, at: DataOptions, blood: Path
) -> None:
    assert prepare_main(["bloodmnist", "--data_dir", str(tmp_path), "--to", str(tmp_path / "made")]) == 0
    wanted = load_parts("bloodmnist", ("train", "val", "novel"), at)
    by_layout = load_parts("bloodmnist", ("train", "val", "novel"), DataOptions(data_dir=str(tmp_path / "made")))
    own = DataOptions(novel_classes="5,7")
    by_path = load_parts(str(blood), ("train", "val", "novel"), own)
    folder = load_parts(str(tmp_path / "made" / "bloodmnist"), ("train", "val", "novel"))
    for found in (by_layout, by_path, folder):
        for name, part in wanted.items():
            assert torch.equal(found[name].images, part.images)
            assert torch.equal(found[name].labels, part.labels)
            assert found[name].classes == part.classes


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(("channels", "swapped"), [("bgr", True), ("rgb", False)])
def test_pathmnist_is_read_in_the_order_of_the_flag(
    tmp_path: Path, builders: ModuleType, prepared: bool, channels: str, swapped: bool
) -> None:
    file = builders.write_medmnist(tmp_path, "pathmnist")
    stored = load_part(str(file), "val", DataOptions(novel_classes="6,7,8")).images
    if prepared:
        assert prepare_main(["pathmnist", "--data_dir", str(tmp_path)]) == 0
    for as_id in (True, False):
        found = load_part("pathmnist", "val", DataOptions(data_dir=str(tmp_path), path_channels=channels), as_id=as_id)
        assert torch.equal(found.images, stored.flip(1) if swapped else stored)
        assert found.reversed == swapped


def test_a_split_file_can_turn_colours_into_grey(tmp_path: Path, builders: ModuleType) -> None:
    builders.write_medmnist(tmp_path, "retinamnist")
    (tmp_path / "split.yaml").write_text("retinamnist: {novel: [4], colour: grey}")
    options = DataOptions(data_dir=str(tmp_path), split_file=str(tmp_path / "split.yaml"))
    images = load_part("retinamnist", "train", options).images
    assert torch.equal(images[:, 0], images[:, 1])
    assert images.shape[0] == 12


def test_digits_are_offered_with_eight_and_nine_as_novel() -> None:
    parts = load_parts("digits", ("train", "val", "novel"))
    assert parts["train"].classes == tuple(range(8))
    assert parts["novel"].classes == (8, 9)
    assert sum(map(len, parts.values())) == 1797 - len(load_part("digits", "test"))
    assert parts["train"].images.shape[1:] == (3, 32, 32)
    assert parts["train"].native == (8, 8)


def test_all_digits_are_known_when_asked_for() -> None:
    parts = load_parts("digits", ("train", "novel"), DataOptions(novel_classes="none"))
    assert list(parts) == ["train"]
    assert parts["train"].n_classes == 10


def test_folders_are_searched_in_order(tmp_path: Path, builders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OOD_DATA_DIR", str(tmp_path / "shared"))
    builders.write_medmnist(tmp_path / "shared", "bloodmnist")
    assert len(load_part("bloodmnist", "train", DataOptions(download=False))) == 18
    builders.write_medmnist(tmp_path / "data", "bloodmnist", per_class={"train": 1, "val": 1, "test": 1})
    assert len(load_part("bloodmnist", "train", DataOptions(download=False))) == 6
    with pytest.raises(MissingFileError, match="other"):
        load_part("bloodmnist", "train", DataOptions(data_dir="other", download=False))


def test_without_downloads_nothing_is_fetched(at: DataOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medical, "_download", lambda *_: pytest.fail("it tried"))
    with pytest.raises(MissingFileError, match=r"`tissuemnist` is absent: .*tissuemnist\.npz.*Zenodo"):
        load_part("tissuemnist", "train", at)


def test_an_absent_set_is_downloaded_into_the_data_folder(
    tmp_path: Path, builders: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medical, "_download", lambda base, size, place: builders.write_medmnist(place, base))
    assert len(load_part("octmnist", "val", DataOptions(data_dir=str(tmp_path)))) == 6
    assert (tmp_path / "medmnist" / "octmnist.npz").is_file()


def test_a_medmnist_file_of_another_size_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_medmnist(tmp_path, "bloodmnist", side=32)
    with pytest.raises(InputError, match="holds images of 32 x 32 pixels; `bloodmnist` has 28 x 28"):
        load_part("bloodmnist", "train", at)


@pytest.mark.parametrize(
    ("word", "says"),
    [("bloodmnits", "Did you mean `bloodmnist`"), ("bloodmnist_65", "not a size of bloodmnist"), ("x", "Known:")],
)
def test_an_unknown_set_is_named_with_the_nearest(at: DataOptions, word: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_part(word, "train", at)


def test_every_file_is_read_once(blood: Path, at: DataOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = datasource._load_split
    monkeypatch.setattr(datasource, "_load_split", lambda source, split: reads.append(split) or real(source, split))
    load_parts("bloodmnist", ("train", "val", "novel"), at)
    assert sorted(reads) == ["test", "train", "val"]


def test_an_unknown_part_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="part `val2`"):
        data.load_part("digits", "val2")
