"""Images as a user has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.errors import InputError, MissingFileError
from ood_shared.images import image_batches, one_by_one
from PIL import Image

GREY = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6)
COLOUR = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)


@pytest.mark.parametrize("images", [GREY, torch.from_numpy(GREY), list(GREY), [Image.fromarray(g) for g in GREY]])
def test_grey_images_come_one_by_one(images) -> None:
    found = list(one_by_one(images))
    assert [part.shape for part in found] == [(5, 6, 1)] * 2
    assert (np.stack(found)[..., 0] == GREY).all()


SAME = [COLOUR, torch.from_numpy(COLOUR), list(COLOUR), tuple(map(Image.fromarray, COLOUR))]


@pytest.mark.parametrize("images", SAME)
def test_colour_images_come_one_by_one(images) -> None:
    assert (np.stack(list(one_by_one(images))) == COLOUR).all()


def test_paths_alone_and_in_a_list(tmp_path: Path) -> None:
    Image.fromarray(COLOUR[0]).save(tmp_path / "a.png")
    Image.fromarray(GREY[0]).save(tmp_path / "b.png")
    a, b = one_by_one([tmp_path / "a.png", str(tmp_path / "b.png")])
    assert (a == COLOUR[0]).all()
    assert (b[..., 0] == GREY[0]).all()
    assert len(list(one_by_one(str(tmp_path / "a.png")))) == 1
    with pytest.raises(MissingFileError, match="is missing"):
        list(one_by_one(tmp_path / "c.png"))
    with pytest.raises(InputError, match="is a folder"):
        list(one_by_one(tmp_path))


def test_one_image_of_two_dimensions() -> None:
    (only,) = one_by_one(GREY[0])
    assert only.shape == (5, 6, 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GREY.astype(np.float32), "float32 .*expected uint8"),
        (GREY.astype(np.int64), "int64 .*expected uint8"),
        (COLOUR[0], "one colour image or 5 narrow grey ones"),
        (COLOUR.transpose(0, 3, 1, 2), "Channels come last"),
        (np.zeros((1, 1, 1, 1, 1), np.uint8), "expected uint8"),
        (5, "are a int"),
        ([5], "image is a int"),
        ([np.zeros((3, 4, 2), np.uint8)], r"\(3, 4, 2\)"),
        ([], "at least one"),
        (np.zeros((0, 6, 6), np.uint8), "at least one"),
    ],
)
def test_what_cannot_be_right_is_refused(images, message) -> None:
    with pytest.raises(InputError, match=message):
        list(image_batches(images, lambda pixels: pixels))


def test_batches_keep_the_order_of_mixed_sizes() -> None:
    sizes = [(4, 4), (6, 5), (6, 5), (4, 4), (3, 3)]
    images = [np.full(size, number, np.uint8) for number, size in enumerate(sizes)]
    batches = list(image_batches(images, lambda pixels: pixels.float().mean(dim=(1, 2, 3)), chunk=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.cat(batches).tolist() == [0, 1, 2, 3, 4]
