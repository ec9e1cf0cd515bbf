"""The detector in Python: the scores of the test command to the bit, whatever stands beside an image."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import oodgen
import pytest
import torch
from ood_shared import checkpoints, datasets, files
from ood_shared.adapters import as_sklearn
from ood_shared.contract import COMMON
from ood_shared.datasets import load
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.record import read_result
from oodgen import fitting
from oodgen.data.folders import read_id
from PIL import Image

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def tested(trained, done, no_gpu):
    """The folder of the four steps after `test`, its scores, and the images that were scored."""
    done("test", "--model_path", "result", "--save_path", "result", "--seed", "1", "--device", "cpu")
    _, arrays = read_result("result")
    test = read_id("./data/train/mnist")[1]
    outliers = load("./data/test/fmnist", "test").images[..., 0]
    return arrays, test.images[:, 0].numpy(), outliers


def parts(arrays):
    return [arrays["scores"][arrays["dataset"] == number] for number in range(len(arrays["names"]))]


def test_scores_are_those_of_the_test_command_to_the_bit(tested):
    arrays, images, outliers = tested
    detector = oodgen.load("result")
    id_scores, generated, real = parts(arrays)
    assert arrays["names"].tolist()[1:] == ["generated", "./data/test/fmnist"]
    assert len(generated)
    assert (detector.score(images) == id_scores).all()
    assert (detector.score(outliers) == real).all()
    predictions = arrays["predictions"][arrays["dataset"] == 0]
    assert (detector.predict(images) == predictions).all()
    assert detector.classes == ("a", "b", "c")


def test_neither_batch_size_nor_order_nor_form_changes_a_bit(tested, tmp_path):
    _, images, _ = tested
    detector = oodgen.load("result")
    whole = detector.score(images)
    for size in (1, 7, 250):
        split = [images[at : at + size] for at in range(0, len(images), size)]
        assert (np.concatenate([detector.score(part) for part in split]) == whole).all()
        assert (detector.score(images, batch_size=size) == whole).all()
    order = np.random.default_rng(0).permutation(len(images))
    assert (detector.score(images[order]) == whole[order]).all()
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    for same in (
        torch.from_numpy(images[:5]),
        list(images[:5]),
        [Image.fromarray(image) for image in images[:5]],
        paths,
    ):
        assert (detector.score(same) == whole[:5]).all()
    assert detector.score(str(paths[3])).tolist() == [whole[3]]


def test_a_threshold_turns_what_lies_above_it_into_minus_one(tested):
    _, images, _ = tested
    detector = oodgen.load("result")
    scores = detector.score(images)
    limit = float(np.median(scores))
    limited = oodgen.load("result", threshold=limit)
    assert ((limited.predict(images) == -1) == (scores > limit)).all()
    assert (limited.predict(images)[scores <= limit] == detector.predict(images)[scores <= limit]).all()
    assert (as_sklearn(limited).predict(images) == np.where(scores > limit, -1, 1)).all()


def test_released_weights_need_their_normalisation_named(tested, tmp_path):
    _, images, _ = tested
    run = oodgen.load("result")
    weights = checkpoints.load(Path("result/classifer/model_2.pth"))
    assert set(weights) >= {"conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"}  # the authors' names
    checkpoints.save(tmp_path / "model_200.pth", weights)
    with pytest.raises(InputError, match="how images were normalised"):
        oodgen.load(tmp_path / "model_200.pth")
    released = oodgen.load(tmp_path / "model_200.pth", normalize="mnist", classes=["x", "y", "z"])
    assert (released.score(images) == run.score(images)).all()
    assert released.classes == ("x", "y", "z")
    with pytest.raises(InputError, match="knows 3 classes, classes= names 2"):
        oodgen.load(tmp_path / "model_200.pth", normalize="mnist", classes=["x", "y"])
    checkpoints.save(tmp_path / "other.pth", {"a": torch.zeros(1)})
    with pytest.raises(InputError, match="holds no classifier"):
        oodgen.load(tmp_path / "other.pth", normalize="mnist")


def test_what_is_not_there_is_named(tested):
    with pytest.raises(MissingFileError, match="nowhere is missing; expected the folder of a training"):
        oodgen.load("nowhere")
    with pytest.raises(InputError, match="None is no path"):
        oodgen.load(None)
    with pytest.raises(MissingFileError, match="Saved epochs: 1, 2"):
        oodgen.load("result", epoch=7)
    with pytest.raises(InputError, match="Did you mean `max_in`"):
        oodgen.load("result", score="max_inn")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    digits = load("digits", "train")
    kept = digits.labels < 3
    folder = tmp_path_factory.mktemp("fit")
    images, labels = digits.images[kept][:150], digits.labels[kept][:150]
    named = {"classes": ["0", "1", "2"], "backbone": "paper", "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            fitting.SCHEDULES, "smoke", replace(fitting.SCHEDULES["smoke"], vae_steps=10, classifier_steps=40)
        )
        return oodgen.fit(images, labels, output_dir=folder, **named), folder, images, labels


def test_a_fitted_detector_knows_its_classes_and_is_loaded_to_the_same_scores(fitted):
    detector, folder, images, labels = fitted
    assert (detector.predict(images) == labels).mean() > 0.9
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    assert np.median(detector.score(noise)) > np.median(detector.score(images))
    again = oodgen.load(folder, device="cpu")
    assert again.classes == detector.classes
    assert (again.score(images[:20]) == detector.score(images[:20])).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "labels are int64 (2,) for 3 images"),
        ([0, 0, 2], "expected each of 0 to 1"),
        ([0.0, 1.0, 1.0], "float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(InputError, match=re.escape(message)):
        oodgen.fit(np.zeros((3, 8, 8), np.uint8), labels)


def test_the_lines_at_the_top_of_the_readme_run(tested):
    code, _ = re.findall(r"```python\n(import oodgen.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert README.read_text(encoding="utf-8").index(code) < 1500
    scope = {"images": tested[1]}
    exec(code, scope)
    assert (scope["scores"] == oodgen.load("result").score(tested[1])).all()
    assert scope["classes"].shape == scope["scores"].shape


def test_the_example_of_the_readme_runs(monkeypatch, capsys):
    """On fewer images, and shorter."""
    shorter = replace(fitting.SCHEDULES["smoke"], vae_steps=2, classifier_steps=2)
    monkeypatch.setitem(fitting.SCHEDULES, "smoke", shorter)
    monkeypatch.setitem(COMMON, "smoke", replace(COMMON["smoke"], steps=2))
    monkeypatch.setattr(datasets, "load", lambda *words: load(*words).select(np.arange(60)))
    _, code = re.findall(r"```python\n(import oodgen.*?)```", README.read_text(encoding="utf-8"), re.S)
    scope = {}
    exec(code, scope)
    assert scope["detector"].score(scope["images"]).shape == (4,)
    assert re.fullmatch(r"\[.*\] \[.*\]", capsys.readouterr().out.splitlines()[-1])


def test_a_file_beside_its_configuration_needs_nothing(tested):
    _, images, _ = tested
    detector = oodgen.load("result/classifer/model_1.pth", score="max_in")
    assert detector.kind == "max_in"
    assert (detector.score(images) == replace(detector, threshold=0.0).score(images)).all()
    files.write_text(Path("result/classifer/configuration.json"), "[]")
    with pytest.raises(InputError, match="does not hold the settings"):
        oodgen.load("result")
