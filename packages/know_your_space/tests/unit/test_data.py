"""The parts of a set, from every place that they are read from."""

import argparse
import shutil
import tarfile
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
from know_your_space.data.training import training_data
from ood_shared.datasets import medical
from ood_shared.errors import InputError, MissingFileError


def flags(in_dataset: str, **kwargs: object) -> argparse.Namespace:
    defaults = {"data_dir": None, "split_file": None, "novel_classes": None, "path_channels": "bgr"}
    return argparse.Namespace(in_dataset=in_dataset, no_download=True, **{**defaults, **kwargs})


@pytest.fixture
def at(tmp_path: Path) -> DataOptions:
    return DataOptions(data_dir=str(tmp_path), download=False)


@pytest.fixture
def blood(tmp_path: Path, builders: ModuleType) -> Path:
    return builders.write_medmnist(tmp_path, "bloodmnist")


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


def test_the_authors_files_win_over_an_npz(tmp_path: Path, builders: ModuleType, at: DataOptions, blood: Path) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [0, 1, 4], [4, 0], [5])
    assert load_part("bloodmnist", "train", at).classes == (0, 1, 4)


def test_a_set_of_any_name_is_read_in_the_authors_layout(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "Scans", [3, 9], [9], [5], colour=False)
    part = load_part("Scans", "val", at)
    assert (part.classes, part.labels.tolist()) == ((3, 9), [1])
    assert torch.equal(part.images[:, 0], part.images[:, 2])  # grey, copied


def test_a_layout_that_lacks_a_file_is_not_half_read(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    folder = builders.write_authors_files(tmp_path, "bloodmnist", [0, 1], [0], [5])
    (folder / "bloodmnist_in_val.csv").unlink()
    with pytest.raises(MissingFileError, match=r"bloodmnist_in_val\.csv missing; the authors' layout"):
        load_part("bloodmnist", "train", at)


def test_codes_come_from_the_training_part(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0, 3], [6, 3], [5])  # the validation part lacks class 0
    assert load_part("bloodmnist", "val", at).labels.tolist() == [2, 1]


def test_a_label_that_the_training_part_lacks_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6, 3], [5])
    with pytest.raises(
        InputError, match=r"in_val\.csv.*Class id 3 at row 1 is not one of the training part's \(0, 6\)"
    ):
        load_part("bloodmnist", "val", at)


def test_a_class_that_is_known_and_novel_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [6])
    with pytest.raises(InputError, match="class 6 as novel, the training file as known"):
        load_part("bloodmnist", "novel", at)


@pytest.mark.parametrize("flag", ["novel_classes", "split_file"])
def test_another_split_than_that_of_the_csv_files_is_refused(tmp_path: Path, builders: ModuleType, flag: str) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [5])
    (tmp_path / "split.yaml").write_text("bloodmnist: {novel: [0]}")
    value = {"novel_classes": "0", "split_file": str(tmp_path / "split.yaml")}[flag]
    with pytest.raises(InputError, match=f"--{flag}: the CSV files in"):
        load_part("bloodmnist", "train", DataOptions(data_dir=str(tmp_path), **{flag: value}))


def test_the_layout_has_no_test_part(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_authors_files(tmp_path, "bloodmnist", [6, 0], [6], [5])
    with pytest.raises(InputError, match="has no test part"):
        load_part("bloodmnist", "test", at)


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


def test_own_classes_may_count_from_one(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 3, first=1)
    part = load_part(str(file), "train")
    assert part.classes == (1, 2, 3)
    assert sorted(part.labels.unique().tolist()) == [0, 1, 2]


def test_an_own_label_that_training_lacks_is_refused(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 3)
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["val_labels"] = np.where(changed["val_labels"] == 2, 7, changed["val_labels"])
    np.savez(file, **changed)
    with pytest.raises(InputError, match=r"own\.npz, split val.*Class id 7"):
        load_part(str(file), "val")


def test_without_a_validation_split_the_test_split_serves(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, per_class={"train": 3, "test": 4})
    part = load_part(str(file), "val")
    assert len(part) == 8
    assert "split test (it has no val split)" in part.source


def test_data_without_a_training_split_is_refused(tmp_path: Path, builders: ModuleType) -> None:
    folder = builders.write_folder(tmp_path / "own", {"test": 2})
    with pytest.raises(InputError, match=r"has no `train` split\. Present: test"):
        load_part(str(folder), "train")


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_folder_is_read(tmp_path: Path, builders: ModuleType, packed: bool) -> None:
    folder = builders.write_folder(tmp_path / "own", {"train": 3, "val": 2}, ("ill", "normal", "odd"), side=32)
    if packed:
        with tarfile.open(tmp_path / "own.tar.gz", "w:gz") as archive:
            archive.add(folder, "own")
        folder = tmp_path / "own.tar.gz"
    parts = load_parts(str(folder), ("train", "val", "novel"), DataOptions(novel_classes="odd"))
    assert parts["train"].names == ("ill", "normal")
    assert [len(parts[name]) for name in ("train", "val", "novel")] == [6, 4, 5]
    assert parts["train"].images.shape[2:] == (32, 32)


def test_files_of_other_sizes_and_colours_become_one_array(
    tmp_path: Path, builders: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = builders.write_folder(tmp_path / "own", {"train": 2, "val": 1}, side=40)
    small = builders.write_folder(tmp_path / "small", {"train": 1}, side=20)
    shutil.copy(small / "train" / "a" / "0.png", folder / "train" / "a" / "small.png")
    assert load_part(str(folder), "train").images.shape == (5, 3, 32, 32)
    assert "images of different sizes" in capsys.readouterr().out


@pytest.mark.parametrize(("side", "kept"), [(8, 32), (27, 32), (28, 28), (30, 30), (32, 32), (64, 32)])
def test_images_are_kept_between_the_size_of_medmnist_and_of_the_network(
    tmp_path: Path, builders: ModuleType, side: int, kept: int
) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, side=side)
    part = load_part(str(file), "val")
    assert part.images.shape[2:] == (kept, kept)
    assert part.native == (side, side)


def test_larger_images_are_reduced_to_the_size_of_the_id_set_first(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2, side=64)
    images = load_parts(str(file), ("val",), native=(8, 8))["val"].images.float()
    sharp = load_parts(str(file), ("val",))["val"].images.float()
    assert images.shape == sharp.shape
    assert images.diff(dim=-1).abs().mean() < 0.5 * sharp.diff(dim=-1).abs().mean()


def test_a_medmnist_file_of_another_size_is_refused(tmp_path: Path, builders: ModuleType, at: DataOptions) -> None:
    builders.write_medmnist(tmp_path, "bloodmnist", side=32)
    with pytest.raises(InputError, match="holds images of 32 x 32 pixels; `bloodmnist` has 28 x 28"):
        load_part("bloodmnist", "train", at)


def test_nan_pixels_are_refused(tmp_path: Path, builders: ModuleType) -> None:
    file = builders.write_npz(tmp_path / "own.npz", 2)
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["train_images"] = np.full((6, 28, 28), np.nan, dtype=np.float32)
    np.savez(file, **changed)
    with pytest.raises(InputError, match=r"`train_images` is float32 .*expected uint8"):
        load_part(str(file), "train")


@pytest.mark.parametrize(
    ("word", "says"),
    [("bloodmnits", "Did you mean `bloodmnist`"), ("bloodmnist_65", "not a size of bloodmnist"), ("x", "Known:")],
)
def test_an_unknown_set_is_named_with_the_nearest(at: DataOptions, word: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_part(word, "train", at)


def test_a_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.npz is missing"):
        load_part(str(tmp_path / "none.npz"), "train")


def test_every_file_is_read_once(blood: Path, at: DataOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = datasource._load_split
    monkeypatch.setattr(datasource, "_load_split", lambda source, split: reads.append(split) or real(source, split))
    load_parts("bloodmnist", ("train", "val", "novel"), at)
    assert sorted(reads) == ["test", "train", "val"]


def test_training_reads_no_test_split(blood: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = datasource._load_split
    monkeypatch.setattr(datasource, "_load_split", lambda source, split: reads.append(split) or real(source, split))
    found = training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path))))
    assert reads == ["train", "val"]
    assert (found.train.n_classes, len(found.train), len(found.val)) == (6, 18, 12)
    assert not found.train.reversed


def test_other_images_have_another_fingerprint(blood: Path, tmp_path: Path) -> None:
    found = training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path))))
    before = found.crc32()
    assert training_data("bloodmnist", DataOptions.of(flags("bloodmnist", data_dir=str(tmp_path)))).crc32() == before
    found.val.images[0, 0, 0, 0] += 1
    assert found.crc32() != before


def test_one_class_only_is_refused_unless_asked_for(tmp_path: Path, builders: ModuleType) -> None:
    builders.write_authors_files(tmp_path, "scans", [3, 3], [3], [5])
    with pytest.raises(InputError, match=r"one class only \(3\)"):
        training_data("scans", DataOptions.of(flags("scans", data_dir=str(tmp_path))))
    builders.write_medmnist(tmp_path, "pneumoniamnist")
    found = training_data(
        "pneumoniamnist", DataOptions.of(flags("pneumoniamnist", data_dir=str(tmp_path), novel_classes="1"))
    )
    assert found.train.classes == (0,)


def test_an_unknown_part_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="part `val2`"):
        data.load_part("digits", "val2")
