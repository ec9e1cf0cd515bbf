"""Image sets: what they refuse, taking parts, holding classes out."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ood_shared.datasets import ImageSet, hold_out
from ood_shared.errors import InputError


def make(labels, classes=("a", "b", "c", "d"), name="toy", first=0):
    """Images whose only pixel is their number, so that a picture can be followed."""
    pixels = (np.arange(len(labels)) + first).astype(np.uint8).reshape(-1, 1, 1, 1)
    return ImageSet(pixels, np.array(labels, dtype=np.int64), tuple(classes), "none", name)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((2, 4, 4, 1), dtype=np.float32), [0, 0], "float32"),
        (np.zeros((2, 4, 4), dtype=np.uint8), [0, 0], "height, width"),
        (np.zeros((2, 4, 4, 2), dtype=np.uint8), [0, 0], "1 or 3"),
        (np.zeros((2, 4, 4, 1), dtype=np.uint8), [0], r"expected int64 \(2,\)"),
        (np.zeros((2, 4, 4, 1), dtype=np.uint8), [0, 4], "expected 0 to 3"),
        (np.zeros((2, 4, 4, 1), dtype=np.uint8), [-1, 0], "from -1"),
    ],
)
def test_set_refuses_arrays_that_do_not_fit(images, labels, said):
    with pytest.raises((InputError, TypeError)) as caught:  # TypeError: when jaxtyping's check is on, it comes first
        ImageSet(images, np.array(labels, dtype=np.int64), ("a", "b", "c", "d"), "none", "toy")
    if isinstance(caught.value, InputError):
        assert re.search(said, str(caught.value)), caught.value


def test_repr_does_not_print_pixels():
    assert len(repr(make([0] * 200))) < 200


def test_select_takes_a_mask_and_an_index_in_its_order():
    images = make([0, 1, 2, 3])
    assert images.select(images.labels >= 2).images.ravel().tolist() == [2, 3]
    assert images.select([3, 0]).labels.tolist() == [3, 0]
    assert len(images.select([])) == 0


def test_subset_draws_without_repeats_in_the_order_of_the_set_and_again_for_the_same_seed():
    images = make([0] * 100)
    drawn = images.subset(30, torch.Generator().manual_seed(1)).images.ravel().tolist()
    again = images.subset(30, torch.Generator().manual_seed(1)).images.ravel().tolist()
    other = images.subset(30, torch.Generator().manual_seed(2)).images.ravel().tolist()
    assert drawn == sorted(set(drawn)) == again
    assert len(drawn) == 30
    assert drawn != other


@pytest.mark.parametrize("n", [0, 5, -1])
def test_subset_refuses_a_count_that_is_not_there(n):
    with pytest.raises(InputError, match="give 1 to 4"):
        make([0, 1, 2, 3]).subset(n, torch.Generator())


def test_hold_out_renumbers_the_rest_and_offers_the_novel_classes():
    train, test = make([0, 1, 2, 3, 1]), make([3, 2, 1, 0], first=10)
    train_id, test_id, novel = hold_out(train, test, ["b", "3"])
    assert train_id.classes == test_id.classes == ("a", "c")
    assert (train_id.images.ravel().tolist(), train_id.labels.tolist()) == ([0, 2], [0, 1])
    assert (test_id.images.ravel().tolist(), test_id.labels.tolist()) == ([11, 13], [1, 0])
    assert novel.classes == ("b", "d")
    assert (novel.images.ravel().tolist(), novel.labels.tolist()) == ([10, 12], [1, 0])
    assert novel.name == "toy-novel"


def test_hold_out_takes_a_word_as_a_name_first_and_a_number_as_an_index():
    images = make([0, 1, 2, 3], classes=("3", "2", "1", "0"))
    assert hold_out(images, images, ["3"])[2].images.ravel().tolist() == [0]
    assert hold_out(images, images, [3])[2].images.ravel().tolist() == [3]


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=40).map(lambda drawn: [*drawn, 0, 1, 2, 3]),
    novel=st.sets(st.integers(0, 3), min_size=1, max_size=2),
)
def test_hold_out_splits_the_test_set_into_disjoint_parts_that_make_it_whole(labels, novel):
    images = make(labels)
    _, test_id, test_novel = hold_out(images, images, sorted(novel))
    parts = test_id.images.ravel().tolist() + test_novel.images.ravel().tolist()
    assert sorted(parts) == list(range(len(labels)))
    assert set(test_id.labels.tolist()) == set(range(4 - len(novel)))


@pytest.mark.parametrize(
    ("novel", "said"),
    [
        (["e"], "Class `e` is not known"),
        (["4"], "Class `4` is not known"),
        ([], "Holding out 0 of the 4"),
        (["a", "b", "c"], "leaves 1 for ID"),
    ],
)
def test_hold_out_refuses_classes_it_cannot_hold_out(novel, said):
    images = make([0, 1, 2, 3])
    with pytest.raises(InputError, match=said):
        hold_out(images, images, novel)


def test_hold_out_refuses_sets_with_other_classes():
    with pytest.raises(InputError, match="needs the same ones"):
        hold_out(make([0, 1], classes="abc"), make([0, 1], classes="abd"), ["a"])


def test_hold_out_refuses_when_a_part_would_be_empty():
    with pytest.raises(InputError, match="no novel test images"):
        hold_out(make([0, 1, 2, 3]), make([0, 1, 2]), ["d"])
