"""`ascood.load` and `ascood.fit`: the scores are those of the test command and of the bench, to the bit."""

import json
import shutil
import sys
from pathlib import Path

import ascood
import numpy as np
import pytest
import torch
from ascood.heads import ASCOODNet, T2FNormNet
from ascood.networks import make_backbone
from ascood.scores.names import SCORES
from ood_shared import checkpoints
from ood_shared.adapters import as_pytorch_ood, as_sklearn
from ood_shared.contract import COMMON, Common
from ood_shared.datasets import load as load_set
from ood_shared.errors import InputError, MissingFileError
from ood_shared.results.record import read_result
from PIL import Image

from ..conftest import EVAL

NAMES = [name for name in SCORES if name != "t2fnorm"]
QUICK = Common(60, 40, 4, 20, "smallresnet10")


@pytest.fixture(scope="module")
def scored(own_run, tmp_path_factory, done_here):
    """A folder with own data and a run, and what eval_ood.py wrote of every score: name to scores.npz."""
    at = tmp_path_factory.mktemp("scored")
    shutil.copytree(own_run, at, dirs_exist_ok=True)
    words = ["--root", "run", "--postprocessor", ",".join(NAMES), "--save-score", "--no-aps"]
    done_here(at, "eval_ood", *EVAL, *words)
    return at


@pytest.fixture
def here(scored, monkeypatch):
    monkeypatch.chdir(scored)
    return scored


@pytest.fixture(scope="module")
def paths(scored):
    """The images of scores.npz, in order."""
    folders = ["mine/test/a", "mine/test/b", "mine/ood/near/bars/x", "mine/ood/far/more/x"]
    return [path for folder in folders for path in sorted((scored / folder).iterdir())]


@pytest.fixture(scope="module")
def pixels(paths):
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def written(folder, name):
    return read_result(folder / "run/s0/results" / name)[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_that_of_the_test_command_to_the_bit(here, pixels, name):
    detector = ascood.load("run/s0", score=name, device="cpu")
    arrays = written(here, name)
    assert np.array_equal(detector.score(pixels), arrays["scores"])
    of_id = arrays["dataset"] == 0
    assert np.array_equal(detector.predict(pixels)[of_id], arrays["predictions"][of_id])


@pytest.mark.parametrize("name", ["msp", "knn", "relation", "mds", "scale", "vim", "iodin"])
def test_a_score_does_not_depend_on_the_images_beside_it(here, pixels, name):
    detector = ascood.load("run/s0", score=name, device="cpu")
    whole = detector.score(pixels)
    for size in (1, 7, 250):
        assert np.array_equal(detector.score(pixels, batch_size=size), whole)
    assert np.array_equal(
        np.concatenate([detector.score(pixels[at : at + 7]) for at in range(0, len(pixels), 7)]), whole
    )
    assert np.array_equal([detector.score(one[None])[0] for one in pixels], whole)
    order = np.random.default_rng(0).permutation(len(pixels))
    assert np.array_equal(detector.score(pixels[order]), whole[order])
    many = np.tile(pixels, (12, 1, 1, 1))  # more than a block, and than some hundred
    assert np.array_equal(detector.score(many), np.tile(whole, 12))


def test_every_form_of_an_image_gives_the_same_score(here, paths, pixels):
    detector = ascood.load("run", device="cpu")  # the only run of the folder, by msp
    whole = written(here, "msp")["scores"]
    forms = {
        "paths": paths,
        "text": [str(path) for path in paths],
        "pil": [Image.open(path) for path in paths],
        "list": list(pixels),
        "tensor": torch.from_numpy(pixels),
    }
    for name, images in forms.items():
        assert np.array_equal(detector.score(images), whole), name
    assert detector.score(paths[0])[0] == whole[0]
    assert detector.classes == ("a", "b")
    with pytest.raises(InputError, match="expected uint8"):
        detector.score(pixels / 255.0)


def test_images_of_other_sizes_are_resized_as_the_test_command_does(place, done, make_folder):
    """Files of 45 pixels by the chain's resize and crop; the embedded digits of 8 as `ood_shared.datasets` does."""
    make_folder(place / "mine", side=45)
    train = ["--network.backbone.name", "lenet", "--optimizer.num_epochs", "1", "--num_workers", "0", "--num_gpus", "0"]
    done("train", "--id-data", "folder:mine", *train, "--output-dir", "run/s0")
    done("eval_ood", *EVAL, "--root", "run", "--save-score")
    images = [path for label in "ab" for path in sorted((place / "mine/test" / label).iterdir())]
    images += sorted((place / "mine/ood/near/bars/x").iterdir()) + sorted((place / "mine/ood/far/more/x").iterdir())
    arrays = np.stack([np.asarray(Image.open(path)) for path in images])
    assert arrays.shape == (22, 45, 45, 3)
    detector = ascood.load("run/s0", device="cpu")
    for form in (images, arrays):
        assert np.array_equal(detector.score(form), written(place, "msp")["scores"])


def test_digits_of_8_pixels_have_the_scores_of_the_test_command(place, done, digits_run):
    shutil.copytree(digits_run, "run")
    words = ["--id-data", "digits", "--wrapper-net", "ASCOODNet", "--device", "cpu", "--root", "run", "--no-aps"]
    done("eval_ood", *words, "--postprocessor", "msp,nnguide", "--save-score")
    digits = load_set("digits", "test", None).images
    assert digits.shape[1:] == (8, 8, 1)
    for name in ("msp", "nnguide"):  # nnguide is fitted to the run's own data set
        arrays = written(place, name)
        scores = ascood.load("run/s0", score=name, device="cpu").score(digits)
        assert np.array_equal(scores, arrays["scores"][arrays["dataset"] == 0])


def test_beyond_the_threshold_there_is_no_class(here, pixels):
    scores = written(here, "msp")["scores"]
    threshold = float(np.median(scores))
    detector = ascood.load("run/s0", threshold=threshold, device="cpu")
    assert np.array_equal(detector.predict(pixels) == -1, scores > threshold)


def test_the_values_that_the_search_chose_are_taken(here, pixels, done_here):
    done_here(here, "eval_ood", *EVAL, "--root", "run", "--postprocessor", "knn", "--save-score")
    chosen = json.loads(Path("run/s0/postprocessors/knn.json").read_text())["chosen"]
    detector = ascood.load("run/s0", score="knn", device="cpu")
    assert detector.rule.args == chosen
    assert np.array_equal(detector.score(pixels), written(here, "knn")["scores"])
    assert ascood.load("run/s0", score="knn", arguments={"K": 1}, device="cpu").rule.args == {"K": 1}
    shutil.rmtree("run/s0/postprocessors")


def test_a_fitted_score_says_what_it_lacks_and_takes_it(here, pixels, tmp_path, monkeypatch):
    shutil.copytree("run/s0", tmp_path / "s0", ignore=shutil.ignore_patterns("features", "scores"))
    train = [path for label in "ab" for path in sorted(Path(f"mine/train/{label}").resolve().iterdir())]
    expected = {name: written(here, name)["scores"] for name in ("knn", "mds", "msp")}
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(ascood.load("s0", device="cpu").score(pixels), expected["msp"])
    with pytest.raises(InputError, match="Pass train= "):
        ascood.load("s0", score="knn", device="cpu")
    assert np.array_equal(ascood.load("s0", score="knn", train=train, device="cpu").score(pixels), expected["knn"])
    with pytest.raises(InputError, match="Pass train_labels="):
        ascood.load("s0", score="mds", train=train, device="cpu")
    labels = [0] * 6 + [1] * 6
    found = ascood.load("s0", score="mds", train=train, train_labels=labels, device="cpu").score(pixels)
    assert np.array_equal(found, expected["mds"])


def test_an_argument_that_the_score_does_not_have_is_refused(here):
    with pytest.raises(InputError, match=r"Argument of odin `temprature` is not known\. Did you mean `temperature`"):
        ascood.load("run/s0", score="odin", arguments={"temprature": 10}, device="cpu")


def test_other_libraries_take_it(here, pixels):
    detector = ascood.load("run/s0", score="knn", device="cpu")
    outliers = as_sklearn(detector, contamination=0.25).fit(pixels[:12])
    assert np.array_equal(outliers.score_samples(pixels), -detector.score(pixels))
    assert set(outliers.predict(pixels)) == {-1, 1}
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    assert np.array_equal(as_pytorch_ood(detector)(batch / 255), detector.score(pixels))


@pytest.mark.parametrize("head", ["ASCOODNet", "T2FNormNet", None])
def test_published_weights_are_loaded_by_their_key_names(tmp_path, pixels, head):
    torch.manual_seed(0)
    backbone = make_backbone("resnet18_32x32", 10)
    network = {"ASCOODNet": ASCOODNet(backbone, 0.5), "T2FNormNet": T2FNormNet(backbone, 10, 0.1), None: backbone}[head]
    path = tmp_path / "best.ckpt"
    checkpoints.save(path, network.state_dict())
    by_name = ascood.load(path, id_data="cifar10", device="cpu")
    assert len(by_name.classes) == 10
    told = {"network": "resnet18_32x32", "image_size": 32, "normalisation": "cifar10"}
    score = "t2fnorm" if head == "T2FNormNet" else "msp"
    first, second = (ascood.load(path, score=score, device="cpu", **kind) for kind in ({"id_data": "cifar10"}, told))
    assert np.array_equal(first.score(pixels[:5]), second.score(pixels[:5]))
    with pytest.raises(InputError, match="network=, normalisation="):
        ascood.load(path, image_size=32, device="cpu")
    with pytest.raises(InputError, match="does not fit this network"):
        ascood.load(path, **{**told, "network": "lenet"}, device="cpu")
    with pytest.raises(InputError, match="3 names of classes"):
        ascood.load(path, id_data="cifar10", classes=("a", "b", "c"), device="cpu")
    with pytest.raises(InputError, match="Pass train= "):
        ascood.load(path, score="knn", device="cpu", **told)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="is missing"):
        ascood.load(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no run"):
        ascood.load(tmp_path)
    for name in ("s0", "s1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.ckpt").touch()
    with pytest.raises(InputError, match="holds 2 runs"):
        ascood.load(tmp_path)
    checkpoints.save(tmp_path / "w.pth", {"other": torch.zeros(3)})
    with pytest.raises(InputError, match=r"has no `fc\.weight`"):
        ascood.load(tmp_path / "w.pth", id_data="cifar10")


@pytest.mark.parametrize("backbone", ["common", "paper"])
def test_a_bench_folder_gives_the_scores_of_the_bench(place, done, monkeypatch, backbone):
    from ascood import bench

    monkeypatch.setitem(bench.SCHEDULES, "smoke", bench.Schedule("lenet", 60, 40, 2, 20, 0.05))
    monkeypatch.setitem(COMMON, "smoke", QUICK)
    words = ["--id", "digits", "--ood", "gaussian", "--novel-classes", "3,7", "--output-dir", "out"]
    done("bench", *words, "--device", "cpu", "--backbone", backbone)
    from ood_shared.results.thumbnails import read_pictures

    _, arrays = read_result(Path("out"))
    detector = ascood.load("out", device="cpu")
    assert detector.classes == read_pictures("out", arrays).classes
    assert (detector.rule.name, len(detector.classes)) == ("nnguide", 8)
    images = load_set("digits", "test", None).images
    scores = detector.score(images)  # the bench draws 40 of them
    of_id = arrays["dataset"] == 0
    assert set(arrays["scores"][of_id]) <= set(scores)
    other = ascood.load("out", score="scale", device="cpu")
    assert other.rule.name == "scale"
    Path("out/detector.json").unlink()  # as an older version left it
    assert np.array_equal(ascood.load("out", score="scale", device="cpu").score(images[:20]), other.score(images[:20]))


def test_what_fit_leaves_is_loaded_to_the_same_scores(place, monkeypatch, capsys):
    monkeypatch.setitem(COMMON, "smoke", QUICK)
    train = load_set("digits", "train", None)
    some = train.labels < 3
    images, labels = train.images[some][:90], train.labels[some][:90]
    state = torch.get_rng_state()
    fitted = ascood.fit(images, labels, output_dir="kept", classes=("zero", "one", "two"), device="cpu")
    assert capsys.readouterr().out == ""
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generators go on as they were
    other = load_set("faces", "test", None).images[:20]
    for name in (None, "knn", "react", "mds", "odin"):
        loaded = ascood.load("kept", score=name, device="cpu")
        if name is None:
            assert np.array_equal(loaded.score(other), fitted.score(other))
            assert np.array_equal(loaded.predict(images), fitted.predict(images))
        assert loaded.classes == fitted.classes == ("zero", "one", "two")
        assert np.isfinite(loaded.score(other)).all()
    again = ascood.fit(list(images), torch.from_numpy(labels), device="cpu")  # nothing is kept
    assert np.array_equal(again.score(other), fitted.score(other))
    assert sorted(path.name for path in place.iterdir()) == ["kept"]
    assert ascood.fit(images, labels, score="msp", seed=1, device="cpu").score(other).shape == (20,)


@pytest.mark.parametrize(
    ("labels", "words", "says"),
    [
        ([0] * 5, {}, "(5,) for 6 images"),
        ([0.0] * 6, {}, "whole numbers from 0 on"),
        (["a"] * 6, {}, "whole numbers from 0 on"),
        ([0, 0, 0, 1, 1, -1], {}, "expected each of 0 to 2"),
        ([0, 0, 0, 1, 1, 1], {"classes": ("a",)}, "The labels are [0, 1]; expected each of 0 to 0"),
        ([0, 0, 0, 1, 1, 1], {"budget": "smok"}, "Did you mean `smoke`?"),
        ([0, 0, 0, 1, 1, 1], {"score": "scal"}, "Did you mean `scale`?"),
        ([0, 0, 0, 1, 1, 1], {"ood_type": "shufle"}, "Did you mean `shuffle`?"),
        ([0, 0, 0, 1, 1, 1], {"backbone": "comon"}, "Did you mean `common`?"),
    ],
)
def test_what_cannot_be_fitted_is_refused(labels, words, says):
    images = np.zeros((6, 8, 8), dtype=np.uint8)
    with pytest.raises(InputError) as error:
        ascood.fit(images, labels, device="cpu", **words)
    assert says in str(error.value)


def test_importing_the_package_brings_no_torch(process):
    code = "import sys, ascood; assert 'torch' not in sys.modules; ascood.load; assert 'torch' in sys.modules"
    assert process(sys.executable, "-c", code).status == 0
