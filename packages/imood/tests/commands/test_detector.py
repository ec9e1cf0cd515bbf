"""`imood.load` and `imood.fit`: the scores of the test command, to the last bit, from Python."""

import re
import shutil
from dataclasses import replace

import imood
import numpy as np
import pytest
import torch
from imood.data.cifar import read_cifar
from imood.data.scood import read_list
from ood_shared import datasets
from ood_shared.adapters import as_sklearn
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import load as load_set
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.record import read_result
from PIL import Image

from ..conftest import PACKAGE, SMALL

METRICS = {
    "oe": ("msp", "energy", "rp_msp", "gradnorm", "rp_gradnorm", "rw_energy", "ada_msp", "ada_energy", "ada_gradnorm"),
    "ada_maha": ("maha", "ada_maha"),
    "bkg_c": ("bkg_c",),
    "mc_disc": ("mc_disc",),
}


@pytest.fixture(scope="module")
def pixels(data):
    """The ID test images, (n, 32, 32, 3)."""
    return read_cifar("cifar10", "test", data)[0].permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture(scope="module")
def files(data):
    """The files of an outlier set."""
    return read_list(data, "cifar10", "texture")[0]


@pytest.fixture
def tested(place, done):
    """`tested(run, "bin_disc")`: (scores, predictions) of each set, by the test command."""

    def test(run, *flags):
        done("test", "--gpu", "cpu", "--ckpt_path", str(run), "--output-dir", "tested", *flags)
        _, arrays = read_result(place / "tested")
        rows = [arrays["dataset"] == number for number in range(len(arrays["names"]))]
        return {name: (arrays["scores"][r], arrays["predictions"][r]) for name, r in zip(arrays["names"], rows)}  # noqa: B905

    return test


def test_the_folder_alone_gives_the_scores_of_the_test_command(trained, tested, pixels, files):
    """By the score that the command takes of such a run; outliers as files, as the command reads them."""
    detector, wanted = imood.load(trained, device="cpu"), tested(trained)
    assert detector.rule.metric == "bin_disc"
    assert detector.classes[:2] == ("airplane", "automobile")
    np.testing.assert_array_equal(detector.score(pixels), wanted["cifar10"][0])
    np.testing.assert_array_equal(detector.predict(pixels), wanted["cifar10"][1])
    np.testing.assert_array_equal(detector.score(files), wanted["texture"][0])


@pytest.mark.parametrize(
    ("metric", "flags", "keywords"),
    [
        ("bin_disc_joint", [], {}),
        ("ada_bin_disc", ["--tau", "0.5"], {"tau": 0.5}),
        ("ada_bin_disc", ["--posterior", "consistent"], {"posterior": "consistent"}),
    ],
)
def test_other_scores_are_those_of_the_flags(trained, tested, pixels, place, metric, flags, keywords):
    if keywords.get("posterior"):  # never where the published numbers stand
        (place / "tested").symlink_to(f"parent/{metric}-tau1.0-consistent")
        (place / "parent").mkdir()
        flags = [*flags, "--output-dir", "parent"]
    wanted = tested(trained, "--ood_metric", metric, *flags)
    detector = imood.load(trained, score=metric, device="cpu", **keywords)
    np.testing.assert_array_equal(detector.score(pixels), wanted["cifar10"][0])


@pytest.mark.parametrize("trained_with", METRICS)
def test_every_score_of_every_training(place, done, tested, pixels, trained_with):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--ood_metric", trained_with, "--output-dir", "run")
    for metric in METRICS[trained_with]:
        detector = imood.load("run", score=metric, device="cpu")
        wanted = tested("run", "--ood_metric", metric)
        np.testing.assert_array_equal(detector.score(pixels), wanted["cifar10"][0], err_msg=metric)
        shuffled = np.random.default_rng(0).permutation(len(pixels))
        np.testing.assert_array_equal(detector.score(pixels[shuffled], 7), wanted["cifar10"][0][shuffled])
        np.testing.assert_array_equal(detector.score(pixels[5:6]), wanted["cifar10"][0][5:6])


@pytest.mark.parametrize("batch", [1, 7, 250])
def test_a_score_does_not_depend_on_the_images_beside_it(trained, tested, pixels, batch):
    wanted = tested(trained, "--tb", str(batch))["cifar10"][0]
    detector = imood.load(trained, device="cpu")
    np.testing.assert_array_equal(detector.score(pixels, batch), wanted)
    parts = [detector.score(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    np.testing.assert_array_equal(np.concatenate(parts), wanted)
    shuffled = np.random.default_rng(batch).permutation(len(pixels))
    np.testing.assert_array_equal(detector.score(pixels[shuffled], batch), wanted[shuffled])


def test_images_in_any_form_have_the_same_scores(trained, pixels, tmp_path):
    detector = imood.load(trained, device="cpu")
    some = pixels[:9]
    wanted = detector.score(some)
    paths = [tmp_path / f"{number}.png" for number in range(len(some))]
    for image, path in zip(some, paths, strict=True):
        Image.fromarray(image).save(path)
    for form in (torch.from_numpy(some), list(some), [Image.fromarray(image) for image in some], paths):
        np.testing.assert_array_equal(detector.score(form), wanted)
    assert detector.score(paths[4]) == wanted[4]
    outputs = detector.outputs(torch.from_numpy(some).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(outputs[0], wanted)
    with pytest.raises(InputError, match="expected uint8"):
        detector.score(some.astype(np.float32))


def test_own_images_are_brought_to_size_as_the_test_command_does(place, done, tested):
    """Digits are enlarged; textures are larger than they are, and reduced to their size first."""
    done("train", *SMALL, "--ds", "digits", "-e", "1", "--ood_metric", "oe", "--output-dir", "run")
    wanted, detector = tested("run"), imood.load("run", device="cpu")
    for name in ("digits", "textures"):
        images = load_set(name, "test").images
        np.testing.assert_array_equal(detector.score(images), wanted[name][0], err_msg=name)
    assert len(detector.classes) == 10


def test_a_pool_is_made_of_training_images_where_the_run_left_none(place, done, tested, pixels, data):
    done("train", *SMALL, "--ds", "cifar10", "-e", "1", "--ood_metric", "oe", "--rho", "1", "--output-dir", "run")
    with pytest.raises(InputError, match=r"training=\(images, labels\)"):
        imood.load("run", score="maha", device="cpu")
    images, labels = read_cifar("cifar10", "train", data)
    order = labels.argsort(stable=True)  # as the long tail is cut
    training = images[order].permute(0, 2, 3, 1).contiguous(), labels[order]
    detector = imood.load("run", score="maha", training=training, device="cpu")
    np.testing.assert_array_equal(detector.score(pixels), tested("run", "--ood_metric", "maha")["cifar10"][0])


def test_a_bare_file_of_weights_needs_its_classes(trained, pixels, tmp_path):
    """As the authors' files: the weights under `model`, `module.` in front, numbers of NumPy beside them."""
    state = torch.load(trained / "latest.pth")
    state["model"] = {f"module.{key}": value for key, value in state["model"].items()}
    path = tmp_path / "latest.pth"
    torch.save(state | {"f1s": [np.float64(0.5)]}, path)
    wanted = imood.load(trained, device="cpu").score(pixels)
    detector = imood.load(path, score="bin_disc", classes=10, device="cpu")
    np.testing.assert_array_equal(detector.score(pixels), wanted)
    for keywords, words in (
        ({"score": "bin_disc"}, "Pass classes=10"),
        ({"classes": 10}, "score msp needs 10 outputs, the checkpoint has 11"),
        ({"classes": 10, "score": "bin_dics"}, "score `bin_dics` is not known"),
        ({"classes": 10, "score": "bin_disc,ada_bin_disc"}, "a detector has one score"),
        ({"classes": 10, "score": "ada_bin_disc"}, "needs the class prior"),
        ({"classes": 10, "score": "bin_disc", "model": "ResNet50"}, "is of a ResNet18"),
        ({"classes": 10, "score": "bin_disc", "counts": [1, 2]}, "counts of 2"),
        ({"classes": 10, "score": "bin_disc", "side": 64}, "32 or 224"),
        ({"classes": 10, "score": "bin_disc", "posterior": "x"}, "published or consistent"),
    ):
        with pytest.raises(InputError, match=words):
            imood.load(path, device="cpu", **keywords)
    prior = imood.load(path, score="ada_bin_disc", classes=10, counts=range(1, 11), device="cpu")
    assert prior.score(pixels).shape == wanted.shape
    with pytest.raises(MissingFileError, match=r"latest\.pth is missing"):
        imood.load(tmp_path / "nowhere")


def test_beyond_the_threshold_no_class_is_predicted(trained, pixels):
    detector = imood.load(trained, device="cpu")
    scores, classes = detector.score(pixels), detector.predict(pixels)
    assert (classes >= 0).all()
    limit = float(np.median(scores))
    strict = imood.load(trained, device="cpu", threshold=limit).predict(pixels)
    np.testing.assert_array_equal(strict, np.where(scores > limit, -1, classes))
    np.testing.assert_array_equal(replace(detector, threshold=limit).predict(pixels), strict)


def test_scikit_learn_has_its_own_signs(trained, pixels):
    fitted = as_sklearn(imood.load(trained, device="cpu"), contamination=0.25).fit(pixels)
    assert (fitted.predict(pixels) == -1).mean() == pytest.approx(0.25, abs=0.02)


@pytest.fixture
def short(monkeypatch):
    """A budget of four steps."""
    monkeypatch.setitem(COMMON, "smoke", Common(200, 40, 4, 32, "smallresnet10"))


@pytest.mark.parametrize("metric", ["ada_bin_disc", "maha"])
def test_fit_trains_and_its_folder_is_loaded(short, tmp_path, metric):
    digits = load_set("digits", "train")
    images, labels = digits.images[:120], digits.labels[:120]
    words = {"ood_metric": metric, "classes": digits.classes, "device": "cpu"}
    detector = imood.fit(images, labels, output_dir=tmp_path / "run", **words)
    assert detector.rule.counts == tuple(np.bincount(labels, minlength=10))
    assert detector.classes == digits.classes
    again = imood.load(tmp_path / "run", device="cpu")
    faces = load_set("faces", "test").images[:20]
    for some in (images[:20], faces):
        np.testing.assert_array_equal(again.score(some), detector.score(some))
        np.testing.assert_array_equal(again.predict(some), detector.predict(some))
    np.testing.assert_array_equal(imood.fit(images, labels, **words).score(faces), detector.score(faces))


def test_fit_takes_outliers_and_refuses_labels_that_do_not_fit(short):
    digits, faces = load_set("digits", "train"), load_set("faces", "test").images[:30]
    images, labels = digits.images[:64], digits.labels[:64]
    assert imood.fit(images, labels, outliers=faces, device="cpu").score(faces).shape == (30,)
    for wrong, words in (
        (labels[:3], "for 64 images"),
        (labels * 0, "expected at least 2"),
        (labels - 1, "expected each of 0"),
        (None, r"There are no labels\. Pass the class of each image"),
    ):
        with pytest.raises(InputError, match=words):
            imood.fit(images, wrong, device="cpu")
    with pytest.raises(InputError, match="budget `tiny` is not known"):
        imood.fit(images, labels, budget="tiny")


def test_the_folder_of_a_bench_gives_its_scores(short, tmp_path, monkeypatch, done):
    monkeypatch.chdir(tmp_path)
    done("bench", "--id", "digits", "--ood", "faces", "--device", "cpu", "--output-dir", "out")
    detector = imood.load("out", device="cpu")
    assert detector.rule.metric == "bin_disc_joint"
    _, arrays = read_result(tmp_path / "out")
    faces = arrays["scores"][arrays["dataset"] == 1]
    if len(faces) == len(load_set("faces", "test").images):
        np.testing.assert_array_equal(detector.score(load_set("faces", "test").images), faces)
    all_scores = detector.score(load_set("faces", "test").images)
    assert np.isin(faces, all_scores).all()


def test_a_run_of_an_earlier_version_is_loaded(place, trained, tested, pixels):
    """Its checkpoint does not say how images are brought to size: the data set does."""
    shutil.copytree(trained, place / "old")
    state = torch.load(place / "old/checkpoint.pt")
    torch.save(
        {key: value for key, value in state.items() if key not in ("ranks", "detector")}, place / "old/checkpoint.pt"
    )
    np.testing.assert_array_equal(imood.load("old", device="cpu").score(pixels), tested(trained)["cifar10"][0])


def test_the_first_lines_of_the_readme_run(short, capsys, monkeypatch):
    """On 100 digits; what is printed has the form of what is pasted there."""
    monkeypatch.setattr(datasets, "load", first_of)
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    code, pasted = re.search(r"```python\n(.*?)```.*?```\n(.*?)```", text, re.DOTALL).groups()
    assert "from ood_shared.datasets import load\n" in code
    exec(code, {})
    form = r"\[ *-?\d+\.\d* +-?\d+\.\d* *\] \[\d\]\n"
    assert re.fullmatch(form, pasted)
    assert re.search(form + r"\Z", capsys.readouterr().out)


def first_of(name, split):
    """The first images of a set."""
    found = load_set(name, split)
    return replace(found, images=found.images[:100], labels=found.labels[:100])
