"""`mood_dpa.load` and `mood_dpa.fit`: the scores and maps of the commands, to the last bit, from Python."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mood_dpa
import nibabel
import numpy as np
import pytest
import torch
from mood_dpa import bench
from mood_dpa.config_files import read_config, write_config
from mood_dpa.data.volumes import read_volume
from mood_dpa.vgg_weights import random_weights
from ood_shared.adapters import as_sklearn
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import load_any_size
from ood_shared.errors import InputError
from ood_shared.results.record import read_result
from PIL import Image

from ..conftest import AFFINE, PACKAGE, phantom, predict_config, small_inference_config, write_phantoms

SMALL = bench.Schedule(64, 32, 0, 3, 4, 4, "r11", 1e-3, 8, 4)


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the bench on digits, every test image scored."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.SCHEDULES, "smoke", SMALL)
        patch.setitem(COMMON, "smoke", Common(48, None, 3, 8, "smallresnet10"))
        words = ["--id", "digits", "--ood", "textures", "--device", "cpu", "--output-dir", str(folder)]
        assert bench.main(words) == 0
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.SCHEDULES, "smoke", SMALL)


def images_of(name: str) -> np.ndarray:
    return load_any_size(name, "test", None, 32).images


# -- images --------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_bench_to_the_last_bit(benched: Path) -> None:
    detector = mood_dpa.load(benched, device="cpu")
    _, arrays = read_result(benched)
    for number, name in enumerate(("digits", "textures")):
        wanted = arrays["scores"][arrays["dataset"] == number]
        np.testing.assert_array_equal(detector.score(images_of(name)), wanted)


@pytest.mark.parametrize("batch_size", [1, 7, 250])
def test_scores_do_not_depend_on_the_images_beside(benched: Path, batch_size: int) -> None:
    detector, images = mood_dpa.load(benched, device="cpu"), images_of("digits")[:53]
    wanted = detector.score(images)
    assert np.ptp(wanted) > 0
    np.testing.assert_array_equal(detector.score(images, batch_size), wanted)
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_array_equal(detector.score(images[order], batch_size), wanted[order])
    parts = [detector.score(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    np.testing.assert_array_equal(np.concatenate(parts), wanted)


def test_images_of_every_form_give_the_same_scores(benched: Path, tmp_path: Path) -> None:
    detector, images = mood_dpa.load(benched, device="cpu"), images_of("digits")[:5]
    grey = images.reshape(5, *images.shape[1:3])
    wanted = detector.score(images)
    pictures = [Image.fromarray(image) for image in grey]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for given in (grey, torch.from_numpy(grey), list(grey), pictures, paths, np.repeat(grey[..., None], 3, 3)):
        np.testing.assert_array_equal(detector.score(given), wanted)
    np.testing.assert_array_equal(detector.score(paths[2]), wanted[2:3])


def test_beyond_the_threshold_is_minus_one(benched: Path) -> None:
    images = images_of("digits")[:20]
    scores = mood_dpa.load(benched, device="cpu").score(images)
    threshold = float(np.median(scores))
    detector = mood_dpa.load(benched, threshold=threshold, device="cpu")
    np.testing.assert_array_equal(detector.predict(images), np.where(scores > threshold, -1, 0))
    assert (mood_dpa.load(benched, device="cpu").predict(images) == 0).all()
    assert detector.classes == ()


def test_it_serves_scikit_learn(benched: Path) -> None:
    detector = as_sklearn(mood_dpa.load(benched, device="cpu"), contamination=0.25).fit(images_of("digits")[:40])
    assert (detector.predict(images_of("digits")[:40]) == -1).sum() == 10


def test_a_fitted_detector_is_loaded_with_equal_scores(small: None, tmp_path: Path) -> None:
    images, others = images_of("digits")[:60], images_of("textures")[:9]
    before = torch.random.get_rng_state()
    detector = mood_dpa.fit(images, output_dir=tmp_path / "run", device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    wanted = detector.score(others)
    np.testing.assert_array_equal(mood_dpa.load(tmp_path / "run", device="cpu").score(others), wanted)
    np.testing.assert_array_equal(mood_dpa.fit(images, np.arange(60) % 3, device="cpu").score(others), wanted)
    assert not np.array_equal(mood_dpa.fit(images, seed=1, device="cpu").score(others), wanted)


def test_trained_features_are_kept_with_the_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    schedule = bench.Schedule(64, 32, 2, 3, 4, 4, "r11", 1e-3, 8, 4)
    monkeypatch.setitem(bench.SCHEDULES, "smoke", schedule)
    images = images_of("digits")[:40]
    wanted = mood_dpa.fit(images, output_dir=tmp_path / "run", device="cpu").score(images)
    np.testing.assert_array_equal(mood_dpa.load(tmp_path / "run", device="cpu").score(images), wanted)
    (tmp_path / "run" / "features.tar").unlink()
    assert not np.array_equal(mood_dpa.load(tmp_path / "run", device="cpu").score(images), wanted)
    mood_dpa.fit([phantom(0)], volumes=True, output_dir=tmp_path / "volumes", device="cpu")
    trained = torch.load(tmp_path / "volumes" / "features.tar", weights_only=True)["conv1_1.weight"]
    for path, number in ((tmp_path / "volumes", 3), (tmp_path / "volumes" / "axis_1", 1)):
        models = mood_dpa.load(path, device="cpu").scorer.models
        assert [torch.equal(part.model.loss.model.conv1_1.weight, trained) for part in models] == [True] * number


# -- volumes -------------------------------------------------------------------------------------------------------


def predicted(config: Path, at: Path, run: Any) -> tuple[Path, dict[str, np.ndarray], list[float]]:
    """Two volumes, their maps and scores by predict_3d.py."""
    folder = write_phantoms(at / "in", 2)
    for mode in ("pixel", "sample"):
        run("predict-3d", "-i", folder, "-o", at / mode, "-c", config, "-m", mode, "--device", "cpu")
    maps = {path.name: read_volume(path).data for path in sorted((at / "pixel").glob("*.nii.gz"))}
    scores = [float((at / "sample" / f"{name}.txt").read_text()) for name in maps]
    return folder, maps, scores


def test_maps_and_scores_are_those_of_predict_3d(prepared: Path, tmp_path: Path, done, capsys) -> None:
    config = predict_config(prepared, tmp_path)
    folder, maps, scores = predicted(config, tmp_path, done)
    detector = mood_dpa.load(config, device="cpu")
    paths = sorted(folder.iterdir())
    np.testing.assert_array_equal(detector.score(paths), scores)
    np.testing.assert_array_equal(detector.score(paths[::-1], 1), scores[::-1])
    for path in paths:
        image, wanted = nibabel.load(path), maps[path.name]
        array = np.ascontiguousarray(image.get_fdata())
        assert wanted.any()
        for given in (
            path,
            str(path),
            image,
            array,
            torch.from_numpy(array),
            (array, AFFINE),
            np.asfortranarray(array),
        ):
            np.testing.assert_array_equal(detector.map(given), wanted)
        drawn, written = detector.map_image(path), nibabel.load(tmp_path / "pixel" / path.name)
        np.testing.assert_array_equal(drawn.affine, image.affine)
        assert drawn.header["sform_code"] == written.header["sform_code"]
        np.testing.assert_array_equal(detector.map_image((array, AFFINE)).affine, AFFINE)
    stacked = np.stack([phantom(0), phantom(1)])
    np.testing.assert_array_equal(detector.score(list(stacked)), scores)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(detector.score(stacked), scores)
    said = f"note: an array of four dimensions is taken for 2 volumes of {stacked.shape[1:]}; a list of volumes says so"
    assert said in capsys.readouterr().err
    np.testing.assert_array_equal(detector.outputs(torch.from_numpy(stacked))[0], scores)


def test_maps_and_scores_are_those_of_inference_evaluate_3d(prepared: Path, tmp_path: Path, done) -> None:
    for reduction in ("max", "mean"):
        results = tmp_path / reduction
        config = small_inference_config(prepared, axis=1, results_root=str(results), score_reduction=reduction)
        write_config(tmp_path / "inference.yaml", {**config, "delete_zero_area": reduction == "mean"})
        done("inference_evaluate_3d", tmp_path / "inference.yaml", "--device", "cpu", "--no-pictures")
        detector = mood_dpa.load(tmp_path / "inference.yaml", device="cpu")
        for path in sorted((prepared / "images").iterdir()):
            written = results / "pixel" / path.name
            if written.is_file():
                np.testing.assert_array_equal(detector.map(path), read_volume(written).data)
                text = (results / "sample" / f"{path.name}.txt").read_text()
                assert str(np.float32(detector.score(path)[0])) == text
        assert len(list((results / "pixel").iterdir())) == 4


def test_trainings_are_put_together_by_their_axes(prepared: Path, tmp_path: Path, done) -> None:
    """Several of an axis, too."""
    config = predict_config(prepared, tmp_path)
    content = read_config(config)
    write_config(config, {**content, "models": [content["models"][0], *content["models"]]})
    folder, _, scores = predicted(config, tmp_path, done)
    models = [tmp_path / f"model_{axis}.tar" for axis in (0, 0, 1, 2)]
    detector = mood_dpa.load(models, axes=[0, 0, 1, 2], small_area=20, cube=12, device="cpu")
    np.testing.assert_array_equal(detector.score(sorted(folder.iterdir())), scores)
    root = tmp_path / "checkpoints"
    root.mkdir()
    shutil.copy(models[0], root / "anomaly_detection.tar")
    one = [mood_dpa.load(at, axes=0, device="cpu").score(phantom(0)) for at in (tmp_path, root, models[0])]
    assert one[0] == one[1] == one[2]


def test_the_released_layout_is_read_where_it_lies(prepared: Path, tmp_path: Path) -> None:
    """Its configurations name the container's /workspace."""
    content = read_config(predict_config(prepared, tmp_path))
    root = tmp_path / "submission_data"
    (root / "data" / "vgg_weights").mkdir(parents=True)
    (root / "scripts").mkdir()
    torch.save(random_weights(), root / "data" / "vgg_weights" / "simclr_exp_1.tar")
    config = read_config(PACKAGE / "submission_data" / "configs" / "brain_pixel.yaml")
    for entry in config["models"]:
        file = root / Path(entry["checkpoint_path"]).relative_to("/workspace")
        file.parent.mkdir(parents=True)
        shutil.copy(tmp_path / f"model_{entry['along_axis']}.tar", file)
        entry["resize"] = 8
    write_config(root / "configs" / "brain_pixel.yaml", {**config, "resize": 12, "small_area": 20})
    detector = mood_dpa.load(root / "configs" / "brain_pixel.yaml", device="cpu")
    assert content["resize"] == 12
    wanted = mood_dpa.load(tmp_path / "predict.yaml", device="cpu").map(phantom(0))
    np.testing.assert_array_equal(detector.map(phantom(0)), wanted)
    with pytest.raises(InputError, match=r"several ensembles; pass .*brain_pixel\.yaml"):
        mood_dpa.load(root)


def test_fitted_volumes_are_loaded_moved_and_predicted_with_equal_scores(small: None, tmp_path: Path, done) -> None:
    folder = write_phantoms(tmp_path / "in", 3)
    paths = sorted(folder.iterdir())
    detector = mood_dpa.fit(paths, output_dir=tmp_path / "run", device="cpu")
    wanted = detector.score(paths)
    assert np.ptp(wanted) > 0
    arrays = [read_volume(path).data for path in paths]
    np.testing.assert_array_equal(mood_dpa.fit(arrays, volumes=True, device="cpu").score(arrays), wanted)
    (tmp_path / "run").rename(tmp_path / "moved")
    np.testing.assert_array_equal(mood_dpa.load(tmp_path / "moved", device="cpu").score(paths), wanted)
    config = tmp_path / "moved" / "predict_3d.yaml"
    done("predict-3d", "-i", folder, "-o", tmp_path / "out", "-c", config, "-m", "sample", "--device", "cpu")
    assert [float((tmp_path / "out" / f"{path.name}.txt").read_text()) for path in paths] == wanted.tolist()
    alone = mood_dpa.load(tmp_path / "moved" / "axis_1", device="cpu")  # it tells its axis
    assert alone.map(phantom(0)).shape == phantom(0).shape


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (255 * np.ones((4, 5, 6), np.uint8), r"values from 255 to 255; expected \[0, 1\]"),
        (np.zeros((4, 5), np.float32), r"float32 \(4, 5\); expected \(d, h, w\)"),
        ([np.zeros((4, 5, 6, 2))], r"float64 \(4, 5, 6, 2\); expected an array"),
        (np.full((4, 5, 6), np.nan), "120 voxels that are NaN"),
        (nibabel.Nifti1Image(np.zeros((3, 3, 3, 2)), np.eye(4)), "4 dimensions"),
        ([], "no volumes"),
        (3, "a int; expected"),
        (["nowhere.nii.gz"], r"nowhere\.nii\.gz is missing"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_line(given: Any, message: str, prepared: Path, tmp_path: Path) -> None:
    detector = mood_dpa.load(predict_config(prepared, tmp_path), device="cpu")
    with pytest.raises(InputError, match=message) as caught:
        detector.score(given)
    assert "\n" not in str(caught.value)


def test_what_has_to_be_named_is_asked_for(prepared: Path, tmp_path: Path) -> None:
    root = prepared / "axis_0" / "checkpoints"
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (root, {}, "does not tell its slicing axis; pass axes=0, 1 or 2"),
        (root, {"axes": [0, 1]}, "There are 1 models and 2 axes"),
        (root, {"axes": 3}, r"axes are \[3\]; expected 0, 1 or 2"),
        (root, {"axes": 0}, "was not trained with a perceptual loss"),
        (root / "resume.tar", {"axes": 0, "features": tmp_path / "no.tar"}, "perceptual|missing"),
        (tmp_path, {}, r"holds no anomaly_detection\.tar"),
        (prepared / "train_0.yaml", {}, "no configuration of predict_3d"),
    ]
    for path, named, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            mood_dpa.load(path, **named)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="budget `tiny`"):
        mood_dpa.fit(np.zeros((2, 8, 8), np.uint8), budget="tiny")
    with pytest.raises(InputError, match="no slice"):
        mood_dpa.fit([np.zeros((8, 8, 8))], volumes=True, device="cpu")


def test_importing_mood_dpa_does_not_wait_for_torch() -> None:
    code = "import sys, mood_dpa; print('torch' in sys.modules, mood_dpa.__all__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.match(r"False \['fit', 'load'\]", found.stdout), found.stderr


def test_the_first_lines_of_the_readme_run(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    """With a budget of three steps; what is printed has the form of what is pasted there."""
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    code, pasted = re.search(r"```python\n(.*?)```.*?```\n(.*?)```", text, re.DOTALL).groups()
    exec(code, {})
    form = r"\[\d\.\d+ *\d\.\d+ *\] \[\[ *\d+ +\d+ +\d+\]\]\n"
    assert re.fullmatch(form, pasted)
    assert re.search(form + r"\Z", capsys.readouterr().out)
