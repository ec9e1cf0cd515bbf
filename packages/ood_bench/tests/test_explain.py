"""`ood-detect explain`, and the places that it shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ood_bench import detect_command
from ood_bench.places import fit_places
from ood_shared import contract
from ood_shared.datasets import load
from PIL import Image


def test_the_place_that_was_changed_departs():
    generator = torch.Generator().manual_seed(0)
    grids = torch.randn(300, 5 * 16, generator=generator)
    places = fit_places(grids[:200], grids[200:], 4)
    assert (places.departure(grids[200:]) > 1).double().mean() == pytest.approx(0.01, abs=0.005)
    changed = grids[200:201].clone().unflatten(1, (5, 4, 4))
    changed[0, :, 2, 1] += 4
    found = places.departure(changed.flatten(1))[0]
    assert divmod(int(found.argmax()), 4) == (2, 1)
    assert found[2, 1] > 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of digits, and a detector of them that keeps their pictures."""
    at = tmp_path_factory.mktemp("explain")
    images = load("digits", "train")
    for number in range(300):
        (at / "own" / str(images.labels[number])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.images[number, ..., 0]).save(at / "own" / str(images.labels[number]) / f"{number}.png")
    words = ["fit", str(at / "own"), "--budget", "smoke", "--device", "cpu", "--no-check", "--output"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contract.COMMON, "smoke", replace(contract.COMMON["smoke"], steps=20))
        assert detect_command.main([*words, str(at / "model.ood"), "--keep-images"]) == 0
        assert detect_command.main([*words, str(at / "without.ood")]) == 0
    return at


def test_a_picture_with_the_nearest_training_images(made, capsys):
    image = made / "own" / "3"
    words = ["explain", str(made / "model.ood"), str(next(image.iterdir())), "--output", str(made / "out.png")]
    assert detect_command.main(words) == 0
    assert np.asarray(Image.open(made / "out.png")).shape[2] >= 3
    out = capsys.readouterr().out
    assert "at an alarm rate of 0.05" in out
    assert ".png" in out.split("nearest: ")[1].splitlines()[0]


def explained(made, folder):
    image = next((made / "own" / "3").iterdir())
    words = ["explain", str(made / "without.ood"), str(image), "--output", str(made / f"{folder}.png")]
    return detect_command.main([*words, "--images", str(made / folder)])


def test_the_nearest_training_images_are_taken_from_their_folder(made):
    assert explained(made, "own") == 0


def test_pictures_that_the_detector_was_not_fitted_on_are_not_shown_as_such(made, capsys):
    for path in (made / "own").rglob("*.png"):
        turned = made / "turned" / path.relative_to(made / "own")
        turned.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(turned)
    assert explained(made, "turned") == 2
    assert "is not the image that the detector was fitted on" in capsys.readouterr().err
    assert explained(made, "nowhere") == 2
    assert "nowhere has no 3/" in capsys.readouterr().err
    assert not (made / "turned.png").exists()


@pytest.mark.parametrize(
    ("image", "output", "message"),
    [("own", "a.png", "more than one image"), ("own/none.png", "a.png", "missing"), ("own", "a.jpg", "ends in .png")],
)
def test_what_cannot_be_explained_is_said_in_a_line(made, image, output, message, capsys):
    words = ["explain", str(made / "model.ood"), str(made / image), "--output", str(made / output)]
    assert detect_command.main(words) == 2
    assert message in capsys.readouterr().err
    assert not (made / output).exists()
