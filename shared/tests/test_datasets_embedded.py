"""Embedded sets: counts, disjoint splits, the same bytes every time, and what happens without the packages."""

import importlib.util

import numpy as np
import pytest
from ood_shared.datasets import EMBEDDED_OOD, ImageSet, embedded, load
from ood_shared.datasets.letters import FONTS, SIDE
from ood_shared.errors import InputError, MissingFileError
from sklearn.datasets import load_digits

SPLITS = {name: ("test",) if name == "faces" else ("train", "val", "test") for name in ("digits", *EMBEDDED_OOD)}
ALL = [(name, split) for name, splits in SPLITS.items() for split in splits]


@pytest.fixture(scope="module")
def sets() -> dict[tuple[str, str], ImageSet]:
    return {(name, split): load(name, split) for name, split in ALL}


def rows(images):
    return {image.tobytes() for image in images.images}


@pytest.mark.parametrize(("name", "split"), ALL)
def test_set_has_images_of_every_class_and_a_licence(sets, name, split):
    images = sets[name, split]
    assert images.name == name
    assert set(images.labels.tolist()) == set(range(len(images.classes)))
    assert images.licence
    assert "\n" not in images.licence


@pytest.mark.parametrize(("name", "split"), ALL)
def test_set_is_the_same_every_time(sets, name, split):
    again = load(name, split)
    assert np.array_equal(again.images, sets[name, split].images)
    assert np.array_equal(again.labels, sets[name, split].labels)


@pytest.mark.parametrize("name", [name for name, splits in SPLITS.items() if len(splits) == 3])
def test_no_image_is_in_two_splits(sets, name):
    train, val, test = (rows(sets[name, split]) for split in SPLITS[name])
    assert not train & val
    assert not train & test
    assert not val & test


@pytest.mark.parametrize(
    ("name", "counts", "shape"),
    [
        ("digits", (1073, 270, 454), (8, 8, 1)),
        ("textures", (336, 96, 336), (32, 32, 1)),
        ("faces", (100,), (25, 25, 1)),
        ("photos", (226, 63, 210), (32, 32, 3)),
        ("letters", (312, 104, 416), (28, 28, 1)),
    ],
)
def test_counts_and_sizes_are_those_documented(sets, name, counts, shape):
    assert tuple(len(sets[name, split]) for split in SPLITS[name]) == counts
    assert sets[name, "test"].images.shape[1:] == shape


def test_digit_splits_make_up_scikit_learns_digits(sets):
    parts = [sets["digits", split] for split in SPLITS["digits"]]
    levels = np.concatenate([np.rint(part.images.reshape(-1, 64) * (16 / 255)) for part in parts])
    mine = np.column_stack([levels, np.concatenate([part.labels for part in parts])])
    original = load_digits()
    theirs = np.column_stack([original.data, original.target])
    assert sorted(mine.tolist()) == sorted(theirs.tolist())


def test_digit_splits_have_every_class_in_the_same_share(sets):
    for split, share in (("train", 0.60), ("val", 0.15), ("test", 0.25)):
        counts = np.bincount(sets["digits", split].labels)
        total = sum(np.bincount(sets["digits", other].labels) for other in SPLITS["digits"])
        assert (np.abs(counts - share * total) <= 1.5).all(), counts


def test_texture_tiles_stand_in_the_picture_where_the_split_says(sets):
    grass = embedded.read_picture("skimage", "data/grass.png", "L")
    tiles = sets["textures", "test"].select(sets["textures", "test"].labels == 1).images
    assert np.array_equal(tiles[0], grass[288:320, 0:32])
    assert np.array_equal(tiles[-1], grass[480:512, 480:512])


def test_photos_are_coloured_and_none_is_empty(sets):
    images = sets["photos", "test"].images.astype(float)
    assert (images.std(axis=(1, 2)).max(axis=1) > 2).all()
    assert np.abs(images[..., 0] - images[..., 2]).mean() > 10


def test_letters_are_white_on_black_inside_the_frame(sets):
    for split in SPLITS["letters"]:
        images = sets["letters", split].images
        assert (images.max(axis=(1, 2, 3)) > 150).all()
        edge = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
        assert edge.max() == 0, "a letter is cut off"
        rows_and_columns = np.indices((SIDE, SIDE)) + 0.5
        boxes = images[..., 0] > 0
        centre = [[axis[box].min() / 2 + axis[box].max() / 2 for axis in rows_and_columns] for box in boxes]
        assert np.abs(np.array(centre) - SIDE / 2).max() < 4


def test_letters_of_one_font_differ_between_draws_and_letters(sets):
    assert len(rows(sets["letters", "test"])) == len(sets["letters", "test"])


def test_letter_fonts_are_of_one_split_each():
    names = [name for fonts in FONTS.values() for name in fonts]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("split", ["train", "val"])
def test_faces_have_only_a_test_split(split):
    with pytest.raises(InputError, match=r"no `\w+` split. Present: test"):
        load("faces", split)


def test_size_and_channels_are_made_on_demand(sets):
    images = load("digits", "test", size=28, channels=3).images
    assert images.shape == (454, 28, 28, 3)
    assert np.array_equal(images[..., 0], images[..., 2])


@pytest.mark.parametrize(
    ("name", "package"), [("digits", "scikit-learn"), ("faces", "scikit-image"), ("letters", "matplotlib")]
)
def test_absent_package_is_named(monkeypatch, name, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"{package}, which is not installed"):
        load(name, "test")


def test_absent_file_is_named():
    with pytest.raises(MissingFileError, match=r"scikit-image does not carry data/nothing.png"):
        embedded.package_file("skimage", "data/nothing.png")
