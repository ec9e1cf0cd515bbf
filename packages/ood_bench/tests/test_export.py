"""An exported fused detector, of a trained network or of anyone's, says of images what Python says."""

import functools
import json

import numpy as np
import pytest
import torch
from ood_bench import detect_command
from ood_bench.backbones.backbone import Backbone, Inputs
from ood_bench.baseline_detector import BaselineDetector
from ood_bench.baseline_rules import RULES
from ood_bench.baseline_training import common_inputs, one_pass
from ood_bench.classifier import Classifier
from ood_bench.evidence import Calibration
from ood_bench.fused import distances, fit_statistics, pass_of
from ood_bench.fused_detector import FusedDetector
from ood_bench.fused_graph import FusedGraph, fused_graph
from ood_bench.places import fit_places
from ood_shared import model_file
from ood_shared.backbone import build_common
from ood_shared.calibrated import calibrate
from ood_shared.errors import InputError
from ood_shared.export import export
from torch import nn

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")


class Foreign(nn.Module):
    """A network as `--backbone` takes them: two maps, the last one 7 x 7, which 4 x 4 places do not divide."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)

    def maps(self, x):
        first = self.one(x).relu()
        return [first, self.two(first).relu()]


class Small(nn.Module):
    """A classifier with the parts of the common network that scores use; each of its layers costs an export time."""

    def __init__(self):
        super().__init__()
        self.feature_dim = 24
        self.conv, self.fc = nn.Conv2d(3, self.feature_dim, 5, 3), nn.Linear(self.feature_dim, 2)

    def features(self, x):
        return self.conv(x).relu().mean(dim=(2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


@functools.cache
def fitted(kind: str, by_class: bool = False, shape: tuple[int, int, int] = (20, 20, 3)):
    """A detector of random weights on blobs: the common network, or a foreign one without a head, lean or whole."""
    torch.manual_seed(0)
    if kind == "train":
        network, inputs = build_common("smallresnet10", 2), Inputs(32, 3, (0.5,) * 3, (0.25,) * 3, native=(20, 20))
        settings = {"kind": "train", "name": "smallresnet10", "classes": 2}
        backbone = Backbone("train", network.eval(), inputs, network.fc, settings=settings)
    else:
        settings = {"kind": "code", "word": "a:b", "layers": []}
        backbone = Backbone("a:b", Foreign().eval(), Inputs(28, 3, square=True), None, 0, None, 4, settings)
    n_classes = 1 if backbone.head is None else 2
    images = blobs(400, *shape, seed=1)
    with torch.inference_mode():
        x = backbone.inputs.normalised(backbone.inputs.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
        passed = pass_of(backbone, x)
        labels = torch.arange(400) // 2 % n_classes
        halves = [type(passed)(*(getattr(passed, n)[at::2] for n in type(passed).__annotations__)) for at in (0, 1)]
        statistics = fit_statistics(halves[0], labels[::2], n_classes, backbone.places, lean=kind == "lean")
        calibration = Calibration.of(distances(statistics, halves[1])[0].numpy())
        if backbone.head is not None:  # both classes are predicted
            backbone.head.bias.copy_(-backbone.head.weight @ passed.last.float().mean(dim=0))
    names = tuple("ab"[:n_classes])
    places = fit_places(*(half.places for half in halves), backbone.places)
    detector = FusedDetector(backbone, statistics, calibration, places, names)
    found = detector.examine(detector.prepare(torch.from_numpy(images[1::2]).permute(0, 3, 1, 2)))
    return calibrate(detector, found.scores, found.classes, alarm_rate=0.1, by_class=by_class)


def blobs(n, height, width, channels, seed=0):
    """Coarse noise of some contrast; half of the images have more than the others."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(size=(n, 5, 5, channels)) * np.where(np.arange(n) % 2, 20, 40)[:, None, None, None]
    wide = coarse.repeat(-(-height // 5), axis=1).repeat(-(-width // 5), axis=2)[:, :height, :width]
    return (128 + wide + generator.normal(size=wide.shape) * 8).clip(0, 255).astype(np.uint8)


def compare(found, path, images):
    """The file's answers are Python's, on images that try both decisions."""
    session = onnxruntime.InferenceSession(str(path))
    score, p, flagged, number = session.run(["score", "p_value", "flagged", "class"], {"images": images})
    true = found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert np.abs(score - true.scores).max() < 1e-4
    assert (flagged == true.flagged).all()
    assert (number == true.classes).all()
    assert (np.abs(p - true.p) < 1e-9).mean() > 0.95  # another rank where scores lie within 1e-6 of each other
    assert 0 < flagged.sum() < len(images)
    return session


@pytest.mark.parametrize(
    ("kind", "by_class", "shape"),
    [("train", True, (37, 26, 1)), ("whole", False, (40, 25, 3)), ("lean", False, (28, 28, 1))],
)
def test_the_command_writes_a_graph_that_agrees_with_python(tmp_path, capsys, kind, by_class, shape, monkeypatch):
    found = fitted(kind, by_class, shape)
    monkeypatch.setattr("ood_bench.detect.load", lambda path, device, backbone: found)
    target = tmp_path / "model.onnx"
    height, width, channels = map(str, shape)
    words = ["export", "model.ood", "--output", str(target), "--size", height, width, "--channels", channels]
    assert detect_command.main(words) == 0
    assert f"uint8 (n, {height}, {width}, {channels}); gives score, p_value, flagged, class." in capsys.readouterr().out
    images = np.concatenate([blobs(60, *shape), blobs(4, *shape) // 9])
    session = compare(found, target, images)
    words = session.get_modelmeta().custom_metadata_map
    assert words["promise"] == found.words()
    assert json.loads(words["classes"]) == list(found.classes)


def test_a_file_of_the_common_network_becomes_torch_s_file_at_the_size_of_its_images(tmp_path, capsys):
    found = fitted("train")
    model_file.save(tmp_path / "model.ood", found)
    target, words = tmp_path / "model.pt2", ["--format", "torch", "--backbone", "net.pt"]
    misnamed = detect_command.main(
        ["export", str(tmp_path / "model.ood"), "--output", str(tmp_path / "m.onnx"), *words]
    )
    assert misnamed == 2
    assert "ends in .onnx, as files of another kind" in capsys.readouterr().err
    assert detect_command.main(["export", str(tmp_path / "model.ood"), "--output", str(target), *words]) == 0
    assert "note: --backbone net.pt has no effect: this file holds its network" in capsys.readouterr().out
    images = blobs(10, 20, 20, 3)
    score, _, flagged, _ = torch.export.load(target).module()(torch.from_numpy(images))
    true = found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert np.abs(score.numpy() - true.scores).max() < 1e-4
    assert (flagged.numpy() == true.flagged).all()


@pytest.mark.parametrize("kind", ["train", "lean"])
def test_the_graph_fuses_as_the_equations_do_beyond_all_calibration_images_too(kind):
    detector = fitted(kind).detector
    graph = FusedGraph(detector.backbone, detector.statistics, detector.calibration)
    images = np.concatenate([blobs(20, 20, 20, 3), np.zeros((1, 20, 20, 3), np.uint8)])
    prepared = detector.prepare(torch.from_numpy(images).permute(0, 3, 1, 2))
    with torch.inference_mode():
        scores, classes = graph(prepared)
    true, number = detector.outputs(prepared)
    assert torch.allclose(scores, true, rtol=0, atol=1e-4)
    assert torch.equal(classes, number)
    assert scores.max() > 10, "no image lies in the tail"


@pytest.mark.parametrize(("kind", "form"), [("train", "onnx"), ("lean", "onnx"), ("lean", "torch")])
def test_a_graph_scores_its_own_calibration_images_as_python_does(tmp_path, kind, form):
    found = fitted(kind)
    export(found, tmp_path / "model", form, size=(20, 20))
    images = blobs(400, 20, 20, 3, seed=1)[1::2]
    if form == "onnx":
        session = onnxruntime.InferenceSession(str(tmp_path / "model"))
        score, p, flagged, _ = session.run(None, {"images": images})
    else:
        with (tmp_path / "model").open("rb") as file:
            parts = torch.export.load(file).module()(torch.from_numpy(images))
        score, p, flagged, _ = (part.numpy() for part in parts)
    true = found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert np.abs(score - true.scores).max() < 1e-4
    assert (flagged == true.flagged).all()
    assert np.abs(p - true.p).max() < 1.5 / 201  # a rank at most
    assert set(true.scores) == set(found.scores), "these are the calibration images"


@pytest.mark.parametrize(
    ("kind", "word"), [("onnx", "ONNX file"), ("torchscript", "TorchScript"), ("package", "package's")]
)
def test_networks_of_other_runtimes_are_refused_with_the_reason(kind, word):
    detector = fitted("lean").detector
    backbone = Backbone(kind, detector.backbone.network, detector.backbone.inputs, settings={"kind": kind})
    with pytest.raises(InputError, match=f"This detector cannot be exported: its network is .*{word}"):
        fused_graph(backbone, detector.statistics, detector.calibration)


def test_a_bad_size_is_one_line(tmp_path, capsys, monkeypatch):
    found = fitted("lean")
    monkeypatch.setattr("ood_bench.detect.load", lambda path, device, backbone: found)
    words = ["export", "model.ood", "--output", str(tmp_path / "model.onnx"), "--size", "0", "28"]
    with pytest.raises(SystemExit, match="2"):
        detect_command.main(words)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--size: `0` is not a whole number from 1 to 16384" in said
    assert detect_command.main(["export", "model.ood", "--output", str(tmp_path)]) == 2
    assert "is a folder; name a file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


GRAPHS = [*((name, "onnx") for name in ("msp", "max_logit", "energy", "react", "knn", "mahalanobis")), ("knn", "torch")]


@pytest.mark.parametrize(("name", "form"), GRAPHS)
def test_a_baseline_s_graph_agrees_with_python(tmp_path, name, form):
    found = baseline(name)
    export(found, tmp_path / "model", form)
    images = blobs(80, 20, 20, 3, seed=1)  # half of them were calibrated with
    if form == "onnx":
        score, p, flagged, number = onnxruntime.InferenceSession(str(tmp_path / "model")).run(None, {"images": images})
    else:
        with (tmp_path / "model").open("rb") as file:
            parts = torch.export.load(file).module()(torch.from_numpy(images))
        score, p, flagged, number = (part.numpy() for part in parts)
    true = found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert score == pytest.approx(true.scores, rel=1e-4, abs=1e-6)
    assert (flagged == true.flagged).all()
    assert (number == true.classes).all()
    assert np.abs(p - true.p).max() < 1.5 / 41  # a rank at most
    assert 0 < flagged.sum() < len(images)


def test_odin_says_why_it_has_no_graph():
    with pytest.raises(InputError, match="odin cannot be exported: its score differentiates the network"):
        baseline("odin").detector.graph()


def baseline(name: str):
    """One of the baselines on random weights, for `msp` of the common network, calibrated with every other blob."""
    torch.manual_seed(0)
    network = build_common("smallresnet10", 2).eval() if name == "msp" else Small().eval()
    network.fc.weight.data.mul_(20)  # random weights alone give all images nearly the same logits
    classifier = Classifier(network, common_inputs((20, 20)))
    images = torch.from_numpy(blobs(200, 20, 20, 3, seed=2)).permute(0, 3, 1, 2)
    prepared = classifier.inputs.prepare(images)
    fitted = RULES[name].fit(classifier, one_pass(classifier, prepared, "fp32"), torch.arange(200) // 2 % 2)
    detector = BaselineDetector(name, classifier, fitted, ("a", "b"))
    held = detector.prepare(torch.from_numpy(blobs(80, 20, 20, 3, seed=1)[::2]).permute(0, 3, 1, 2))
    scores, classes = detector.outputs(held)
    return calibrate(detector, scores.numpy(), classes.numpy(), alarm_rate=0.1)
