import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.datasets import ImageSet
from ood_shared.errors import InputError, MissingFileError
from oodgen.data import folders
from oodgen.data.outlier_sets import load_outlier_set
from PIL import Image


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def flat(value, side=28):
    return np.full((side, side), value)


def pixels_of(values, classes=("a", "b"), labels=None):
    images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()
    return folders.Pixels(images, torch.tensor(labels or [0] * len(values)), classes)


@pytest.fixture
def tree(tmp_path):
    for split in ("train", "test"):
        for kind, name in enumerate(("b", "a", "c")):
            save(tmp_path / split / name / "0.png", flat(10 * kind))
    return tmp_path


def test_labels_count_the_sorted_class_folders(tree):
    train, _, _ = folders.read_id(str(tree))
    assert train.classes == ("a", "b", "c")
    assert dict(zip(train.labels.tolist(), train.images[:, 0, 0, 0].tolist(), strict=True)) == {0: 10, 1: 0, 2: 20}


@pytest.mark.parametrize("name", ["digits", "./digits"])
def test_a_folder_called_like_a_known_set_is_read_itself(tree, monkeypatch, name):
    (tree / "digits").mkdir()
    for split in ("train", "test"):
        (tree / split).rename(tree / "digits" / split)
    monkeypatch.chdir(tree)
    train, _, _ = folders.read_id(name)
    assert train.classes == ("a", "b", "c")


def test_a_known_outlier_set_is_not_the_folder_of_that_name(tree, monkeypatch):
    (tree / "digits").mkdir()
    (tree / "test").rename(tree / "digits" / "test")
    monkeypatch.chdir(tree)
    images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    assert len(load_outlier_set("./digits", images, torch.Generator()).images) == 3
    with pytest.raises(InputError, match="digits has images of 8 x 8"):
        load_outlier_set("digits", images, torch.Generator())


def test_images_are_uint8_with_one_channel(tree):
    train, test, left_out = folders.read_id(str(tree))
    assert train.images.shape == (3, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert len(test) == 3
    assert left_out is None


def test_colours_become_grey_by_integer_luma(tree):
    colours = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3))
    for path, colour in zip(sorted((tree / "train").rglob("*.png")), colours, strict=False):
        save(path, colour)
    red, green, blue = np.moveaxis(colours, 3, 0)
    expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    train, _, _ = folders.read_id(str(tree))
    assert np.array_equal(train.images[:, 0].numpy(), expected[: len(train)])


def test_equal_channels_read_like_one_channel(tree):
    grey, _, _ = folders.read_id(str(tree))
    for path in (tree / "train").rglob("*.png"):
        save(path, np.stack([np.asarray(Image.open(path))] * 3, axis=2))
    train, _, _ = folders.read_id(str(tree))
    assert torch.equal(train.images, grey.images)


@pytest.mark.parametrize("name", ["x.PNG", "x.bmp", "x.ppm", "x.JPG", "deep/er/x.jpeg"])
def test_the_documented_extensions_and_nested_folders_are_read(tree, name):
    save(tree / "train" / "a" / name, flat(7))
    train, _, _ = folders.read_id(str(tree))
    assert len(train) == 4


def test_other_files_are_not_read(tree):
    (tree / "train" / "a" / "notes.txt").write_text("no image")
    (tree / "train" / "a" / ".hidden.png").write_text("no image")
    assert len(folders.read_id(str(tree))[0]) == 3


def test_a_missing_folder_names_the_expected_tree_and_the_command_that_writes_one(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere/train/<class>/\*\.png.*oodgen prepare NAME .*nowhere"):
        folders.read_id(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_that_only_one_split_has_is_refused(tree, split):
    (tree / split / "b" / "0.png").rename(tree / split / "a" / "moved.png")
    (tree / split / "b").rmdir()
    with pytest.raises(InputError, match=f"{split} has no images of class `b`.*same class folders"):
        folders.read_id(str(tree))


@pytest.mark.parametrize("side", [27, 32])
def test_images_of_another_size_are_refused_with_both_sizes(tmp_path, side):
    for split in ("train", "test"):
        save(tmp_path / split / "a" / "0.png", flat(0, side))
    with pytest.raises(InputError, match=f"train has images of {side} x {side} pixels, expected 28 x 28"):
        folders.read_id(str(tmp_path))


def test_a_transposed_size_with_as_many_pixels_is_refused(tmp_path):
    for split in ("train", "test"):
        save(tmp_path / split / "a" / "0.png", np.zeros((14, 56)))
    with pytest.raises(InputError, match="14 x 56"):
        folders.read_id(str(tmp_path))


def test_classes_left_out_become_a_test_set_of_their_own(tree):
    train, test, left_out = folders.read_id(str(tree), "1-2")
    assert (train.classes, test.classes) == (("b", "c"), ("b", "c"))
    assert train.labels.tolist() == test.labels.tolist() == [0, 1]
    assert left_out.images[:, 0, 0, 0].tolist() == [10]


def test_a_range_of_all_classes_leaves_none_out(tree):
    assert folders.read_id(str(tree), "0-2")[2] is None


def test_image_sets_in_colour_become_grey():
    colour = np.zeros((2, 28, 28, 3), dtype=np.uint8)
    colour[..., 1] = 255
    found = folders.as_pixels(ImageSet(colour, np.zeros(2, dtype=np.int64), ("x",), "", "n"))
    assert found.images.unique().tolist() == [150]  # (38470 * 255 + 32768) >> 16


def test_outliers_get_the_label_behind_the_classes():
    found = pixels_of([1, 2], labels=[0, 1]).with_outliers(pixels_of([3]).images)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_the_fingerprint_sees_a_pixel_and_a_label():
    prints = {pixels_of(v, labels=y).crc32() for v, y in (([1, 2], [0, 1]), ([1, 3], [0, 1]), ([1, 2], [1, 1]))}
    assert len(prints) == 3


@pytest.mark.parametrize("inner", ["", "ood", "a/b"])
def test_generated_images_are_read_at_any_depth(tmp_path, inner):
    for number in (0, 1):
        save(tmp_path / "ood" / "train" / inner / f"{number}_1.png", flat(number))
    assert folders.read_generated(str(tmp_path), "train")[:, 0, 0, 0].tolist() == [0, 1]


def test_published_generated_images_in_colour_are_read_like_grey_ones(tmp_path):
    save(tmp_path / "ood" / "test" / "ood" / "4711.3_0_1.png", np.stack([flat(9)] * 3, axis=2))
    found = folders.read_generated(str(tmp_path), "test")
    assert found.shape == (1, 1, 28, 28)
    assert found.unique().tolist() == [9]


def test_the_type_of_a_generated_image_is_the_end_of_its_name(tmp_path):
    for name, value in (("000000_1.png", 1), ("000000_2.png", 2), ("000001_1_2.png", 3), ("71.3_0_1.png", 4)):
        save(tmp_path / "ood" / "train" / name, flat(value))
    values = {kind: folders.read_generated(str(tmp_path), "train", kind)[:, 0, 0, 0].tolist() for kind in ("1", "2")}
    assert values == {"1": [1, 4], "2": [2, 3]}


def test_missing_generated_images_come_with_the_command_that_makes_them(tmp_path):
    root = tmp_path / "with blank"
    with pytest.raises(MissingFileError, match=f"python gen_ood.py --data '{root}' --dataset test$"):
        folders.read_generated(str(root), "test")


def test_writing_a_split_again_replaces_all_of_it(tmp_path):
    for values, names in (([1, 2], ["a_1.png", "b_1.png"]), ([3], ["c_1.png"])):
        folders.write_generated(str(tmp_path), "train", pixels_of(values).images, names, {"n": len(values)})
    assert sorted(path.name for path in (tmp_path / "ood").iterdir()) == ["train"]
    assert sorted(path.name for path in (tmp_path / "ood" / "train").iterdir()) == ["c_1.png", "configuration.json"]
    assert folders.read_generated(str(tmp_path), "train")[:, 0, 0, 0].tolist() == [3]


def test_what_a_kill_left_behind_goes_with_the_next_writing(tmp_path):
    left = tmp_path / "ood" / ".train.abc"
    left.mkdir(parents=True)
    (left / "half.png").write_text("")
    folders.write_generated(str(tmp_path), "train", pixels_of([1]).images, ["a_1.png"], {})
    assert [path.name for path in (tmp_path / "ood").iterdir()] == ["train"]


def test_the_other_split_is_left_alone(tmp_path):
    for split in ("train", "test"):
        folders.write_generated(str(tmp_path), split, pixels_of([1]).images, ["a_1.png"], {})
    assert len(folders.read_generated(str(tmp_path), "train")) == 1


def test_a_write_that_fails_leaves_the_old_split_and_nothing_else(tmp_path, monkeypatch):
    folders.write_generated(str(tmp_path), "train", pixels_of([1]).images, ["a_1.png"], {})
    written = folders.write_png

    def full_after_one(path, image):
        if path.name == "b_1.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, image)

    monkeypatch.setattr(folders, "write_png", full_after_one)
    with pytest.raises(OSError, match="No space left"):
        folders.write_generated(str(tmp_path), "train", pixels_of([2, 3]).images, ["a_1.png", "b_1.png"], {})
    assert [path.name for path in (tmp_path / "ood").iterdir()] == ["train"]
    assert folders.read_generated(str(tmp_path), "train")[:, 0, 0, 0].tolist() == [1]


def test_a_tree_comes_back_as_it_was_written(tmp_path):
    pixels = pixels_of([5, 6, 7], labels=[1, 0, 1])
    for split in ("train", "test"):
        folders.write_tree(tmp_path / "new", split, pixels)
    train, test, _ = folders.read_id(str(tmp_path / "new"))
    assert train.classes == pixels.classes
    assert sorted(zip(train.labels.tolist(), train.images[:, 0, 0, 0].tolist(), strict=True)) == [
        (0, 6),
        (1, 5),
        (1, 7),
    ]
    assert test.crc32() == train.crc32()


def test_a_tree_is_not_written_over_another(tmp_path):
    folders.write_tree(tmp_path, "train", pixels_of([5], ("a",)))
    with pytest.raises(InputError, match="is there already"):
        folders.write_tree(tmp_path, "train", pixels_of([6], ("a",)))


def test_real_outliers_are_read_whatever_their_folders(tmp_path):
    for name in ("x/0.png", "y/deep/0.png", "loose.png"):
        save(tmp_path / "test" / name, flat(3))
    assert len(folders.read_outlier_folder(str(tmp_path))) == 3


@pytest.mark.parametrize(("made", "message"), [("", "no folder test"), ("test", "no images; expected files ending in")])
def test_an_outlier_folder_without_images_is_an_error(tmp_path, made, message):
    (tmp_path / made).mkdir(exist_ok=True)
    with pytest.raises(MissingFileError, match=message):
        folders.read_outlier_folder(str(Path(tmp_path)))
