"""The detector in Python: the scores of `ood_detection.py` to the bit, whatever stands beside an image."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import know_your_space
import numpy as np
import pytest
import torch
from know_your_space import bench, cli, run_files
from know_your_space.data.parts import load_part
from know_your_space.transforms import as_rgb
from ood_shared import checkpoints, datasets
from ood_shared.adapters import as_sklearn
from ood_shared.contract import COMMON
from ood_shared.datasets import load
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.record import read_result
from ood_shared.testing import commands
from PIL import Image

README = Path(__file__).parents[2] / "README.md"
SHORT = replace(bench.SCHEDULES["smoke"], steps=48, batch_size=16, lr=1e-3)
RUN = Path("ckpts/wrn/tiny/in_latent_out_pix")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, runs, builders):
    """A folder with a training of two epochs and its detection."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("trained")
        builders.enter_tiny(place, patch)
        patch.setattr(run_files, "write_page", lambda *_: None)
        runs.trained("--device", "cpu")
        words = ["--in_dataset", "data/tiny.npz", "--layers", "10", "--widen-factor", "1", "--device", "cpu"]
        commands.succeed(cli.main, "detect", *words, "--out_test_dataset", "letters")
    return place


@pytest.fixture
def tested(trained, tmp_path, monkeypatch):
    """A copy of it, in which the test runs: the arrays of the result, and the ID images."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    arrays = read_result("logs/wrn/tiny/in_latent_out_pix")[1]
    return arrays, load_part("data/tiny.npz", "val").images.permute(0, 2, 3, 1).numpy()


def scores_of(arrays, name):
    return arrays["scores"][arrays["dataset"] == arrays["names"].tolist().index(name)]


def test_scores_are_those_of_the_detection_to_the_bit(tested):
    arrays, images = tested
    detector = know_your_space.load(RUN, device="cpu")
    first, *others = arrays["names"].tolist()
    assert (detector.score(images) == scores_of(arrays, first)).all()
    assert (detector.predict(images) == arrays["predictions"][arrays["dataset"] == 0]).all()
    letters = load("letters", "test").images
    assert "letters" in others
    assert (detector.score(letters) == scores_of(arrays, "letters")).all()
    assert len(detector.classes) == 3


def test_neither_batch_size_nor_order_nor_form_changes_a_bit(tested, tmp_path):
    images = load("textures", "test").images[:30]
    detector = know_your_space.load(RUN, device="cpu")
    whole = detector.score(images)
    for size in (1, 7, 250):
        parts = [images[at : at + size] for at in range(0, len(images), size)]
        assert (np.concatenate([detector.score(part) for part in parts]) == whole).all()
        assert (detector.score(images, batch_size=size) == whole).all()
    order = np.random.default_rng(0).permutation(len(images))
    assert (detector.score(images[order]) == whole[order]).all()
    first, paths = images[:4], [tmp_path / f"{number}.png" for number in range(4)]
    pictures = [Image.fromarray(image[..., 0]) for image in first]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    for same in (torch.from_numpy(first), list(first), first[..., 0], pictures, paths):
        assert (detector.score(same) == whole[:4]).all()


def test_a_threshold_turns_what_lies_above_it_into_minus_one(tested):
    _, images = tested
    scores = know_your_space.load(RUN, device="cpu").score(images)
    limited = know_your_space.load(RUN, device="cpu", threshold=float(np.median(scores)))
    assert ((limited.predict(images) == -1) == (scores > np.median(scores))).all()
    assert (as_sklearn(limited).predict(images) == np.where(scores > np.median(scores), -1, 1)).all()


def test_released_weights_need_nothing_but_their_file(tested, tmp_path, capsys):
    _, images = tested
    (file,) = RUN.glob("*_last.pth.tar")
    state = checkpoints.load(file)
    assert set(state) == {"epoch", "optimizer", "state_dict"}  # the authors' keys
    released = tmp_path / "released.pth.tar"
    checkpoints.save(released, state)
    detector = know_your_space.load(released, device="cpu", classes=["a", "b", "c"])
    assert (detector.score(images) == know_your_space.load(RUN, device="cpu").score(images)).all()
    assert detector.classes == ("a", "b", "c")
    said = (
        f"note: {released} is without released.pth.tar/config.json: temperature 1, images taken as large as they are."
    )
    assert said in capsys.readouterr().out
    warm = know_your_space.load(released, device="cpu", temperature=2.0)
    assert (warm.score(images) != detector.score(images)).all()
    with pytest.raises(InputError, match="knows 3 classes, 2 are named"):
        know_your_space.load(released, classes=["a", "b"])
    checkpoints.save(released, {"state_dict": {"fc.weight": torch.zeros(2, 3)}})
    with pytest.raises(InputError, match="not of this package"):
        know_your_space.load(released)


def test_the_best_epoch_and_several_runs(tested):
    best = know_your_space.load(RUN, checkpoint="best", device="cpu")
    assert len(best.score(tested[1])) == len(tested[1])
    (file,) = RUN.glob("*_last.pth.tar")
    checkpoints.save(RUN / "other-ckpt_last.pth.tar", checkpoints.load(file))
    with pytest.raises(InputError, match="holds 2 runs"):
        know_your_space.load(RUN)
    with pytest.raises(MissingFileError, match="Checkpoints there: none"):
        know_your_space.load("data")
    with pytest.raises(MissingFileError, match="nowhere is missing; expected the folder of a run"):
        know_your_space.load("nowhere")
    with pytest.raises(InputError, match="None is no path"):
        know_your_space.load(None)
    with pytest.raises(InputError, match="expected last or best"):
        know_your_space.load(RUN, checkpoint="first")


def test_a_run_of_pathmnist_swaps_red_and_blue_as_the_original_does(tested, tmp_path):
    (file,) = RUN.glob("*_last.pth.tar")
    folder = tmp_path / "ckpts/wrn/pathmnist/run"
    checkpoints.save(folder / file.name, checkpoints.load(file))
    colours = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3)).astype(np.uint8)
    swapped = as_rgb(colours, reverse=True).permute(0, 2, 3, 1).numpy()
    plain = know_your_space.load(RUN, device="cpu")
    path = know_your_space.load(folder, device="cpu")
    assert (path.score(colours) == plain.score(swapped)).all()
    assert (know_your_space.load(folder, device="cpu", reversed=False).score(colours) == plain.score(colours)).all()


def test_a_lone_file_has_the_temperature_of_its_name(tested, tmp_path):
    (file,) = RUN.glob("*_last.pth.tar")
    lone = tmp_path / "in_latent_out_pix_m_in_-20.0-m_out_-7.0-T_2.0-ckpt_last.pth.tar"
    shutil.copy(file, lone)
    assert know_your_space.load(lone, device="cpu").temperature == 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (None, "banana", 0, -1.0, True)),
        *(("native", value) for value in ([], -1, [8], [0, 8], ["8", "8"], [8.0, 8.0], {})),
        *(("class_names", value) for value in (-1, "abc", [1, 2, 3])),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(tested, name, value):
    (file,) = RUN.glob("*_last.pth.tar")
    path = RUN / file.name.removesuffix("-ckpt_last.pth.tar") / "config.json"
    content = json.loads(path.read_text())
    content["settings"][name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"config.json has {name} .*; expected "):
        know_your_space.load(RUN, device="cpu")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A detector of three digits after 48 steps, its folder, and what it was trained on."""
    digits = load("digits", "train")
    kept = digits.labels < 3
    folder = tmp_path_factory.mktemp("fit")
    images, labels = digits.images[kept][:60], digits.labels[kept][:60]
    named = {"classes": ["0", "1", "2"], "backbone": "paper", "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.SCHEDULES, "smoke", SHORT)
        return know_your_space.fit(images, labels, output_dir=folder, **named), folder, images, labels


def test_a_fitted_detector_is_loaded_to_the_same_scores(fitted):
    detector, folder, images, labels = fitted
    assert detector.classes == ("0", "1", "2")
    assert (detector.predict(images) == labels).mean() > 0.5
    again = know_your_space.load(folder, device="cpu")
    assert again.classes == detector.classes
    assert (again.score(images[:20]) == detector.score(images[:20])).all()


def test_the_lines_at_the_top_of_the_readme_run(tested):
    text = README.read_text(encoding="utf-8")
    code, _ = re.findall(r"```python\n(import know_your_space.*?)```", text, re.S)
    assert text.index(code) < 1500
    scope = {"images": tested[1]}
    exec(code.replace("ckpts/wrn/bloodmnist/in_latent_out_pix", str(RUN)), scope)
    assert (scope["scores"] == know_your_space.load(RUN).score(tested[1])).all()
    assert scope["classes"].shape == scope["scores"].shape


def test_the_example_of_the_readme_runs(monkeypatch, capsys):
    """On fewer images, and shorter."""
    monkeypatch.setitem(bench.SCHEDULES, "smoke", SHORT)
    monkeypatch.setitem(COMMON, "smoke", replace(COMMON["smoke"], steps=2))
    monkeypatch.setattr(datasets, "load", lambda *words: load(*words).select(np.arange(60)))
    _, code = re.findall(r"```python\n(import know_your_space.*?)```", README.read_text(encoding="utf-8"), re.S)
    scope: dict = {}
    exec(code, scope)
    assert scope["detector"].score(scope["images"]).shape == (4,)
    assert re.fullmatch(r"\[.*\] \[.*\]", capsys.readouterr().out.splitlines()[-1])
