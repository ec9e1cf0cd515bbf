"""The images of a bench run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ood_shared.contract import Request
from ood_shared.datasets import load, resize
from ood_shared.datasets.benchmark import largest_norm, read_benchmark
from ood_shared.errors import InputError
from PIL import Image


def options(**changed: str) -> Request:
    return Request(**{"id": "digits", "ood": "letters,gaussian", **changed})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_set_has_the_asked_size_and_colours() -> None:
    found = read_benchmark(options(), 32, 3, generator(), 100, 50)
    assert (tuple(found.train.shape), tuple(found.test.shape)) == ((100, 3, 32, 32), (50, 3, 32, 32))
    assert {name: tuple(images.shape) for name, images in found.ood.items()} == {
        "letters": (50, 3, 32, 32),
        "gaussian": (50, 3, 32, 32),
    }
    assert found.ood["letters"].dtype == torch.uint8
    assert found.ood["gaussian"].dtype == torch.float32
    assert len(found.train_labels) == 100


def test_no_limit_takes_every_image() -> None:
    found = read_benchmark(options(ood="letters"), 8, 1, generator())
    assert len(found.train) == len(load("digits", "train"))
    assert len(found.ood["letters"]) == len(load("letters", "test"))


def test_novel_classes_are_the_first_outlier_set_and_in_no_other() -> None:
    found = read_benchmark(options(novel_classes="8,9"), 8, 1, generator())
    assert list(found.ood) == ["novel", "letters", "gaussian"]
    assert found.classes == tuple("01234567")
    assert int(found.train_labels.max()) == 7
    test = load("digits", "test")
    assert len(found.ood["novel"]) == int(np.isin(test.labels, [8, 9]).sum())


def test_the_same_generator_gives_the_same_images() -> None:
    first, second = (read_benchmark(options(), 8, 1, generator(3), 40, 20) for _ in range(2))
    assert torch.equal(first.train, second.train)
    assert all(torch.equal(first.ood[name], second.ood[name]) for name in first.ood)
    other = read_benchmark(options(), 8, 1, generator(4), 40, 20)
    assert not torch.equal(first.train, other.train)


def test_outliers_are_first_reduced_to_the_size_of_smaller_id_images(tmp_path: Path) -> None:
    (tmp_path / "test" / "x").mkdir(parents=True)
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[::4] = pixels[1::4] = 255  # lines that 32 pixels show and 8 cannot
    Image.fromarray(pixels).save(tmp_path / "test" / "x" / "0.png")
    found = read_benchmark(options(ood=str(tmp_path)), 32, 1, generator())
    assert found.ood[str(tmp_path)].float().std() < 10
    assert resize(torch.from_numpy(pixels)[None, None], (32, 32), channels=1).float().std() > 50


@pytest.mark.parametrize("word", ["digits", "Digits"])
def test_the_id_set_is_no_outlier_set(word: str) -> None:
    with pytest.raises(InputError, match=f"--ood {word} is the ID set"):
        read_benchmark(options(ood=f"letters,{word}"), 8, 1, generator())


@pytest.mark.parametrize("ood", ["", "letters,letters"])
def test_no_set_or_one_set_twice_is_refused(ood: str) -> None:
    with pytest.raises(InputError, match="names no set, or one more than once"):
        read_benchmark(options(ood=ood), 8, 1, generator(), 10, 10)


def test_the_largest_norm_is_that_of_the_brightest_image() -> None:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    images[1] = 255
    assert largest_norm(images) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("id_set", "mirror", "mirrored"),
    [("digits", "auto", False), ("photos", "auto", True), ("digits", "yes", True), ("photos", "no", False)],
)
def test_mirroring_is_a_property_of_the_set_unless_it_is_said(id_set: str, mirror: str, mirrored: bool) -> None:
    assert read_benchmark(options(id=id_set, ood="letters", mirror=mirror), 8, 1, generator()).mirror is mirrored
