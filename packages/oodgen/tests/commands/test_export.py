"""An exported detector scores as Python does, from pixels to the decision."""

import numpy as np
import pytest
import torch
from ood_shared.calibrated import calibrate
from ood_shared.export import export
from oodgen.classifier import build_classifier
from oodgen.detector import OodgenDetector
from oodgen.scores import KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("native", [None, (20, 24)])
def test_the_torch_file_agrees_with_python(tmp_path, kind, native):
    found = calibrated("doc", kind, native)
    written = export(found, tmp_path / "model", "torch", channels=3)
    assert written.shape == (*(native or (28, 28)), 3)
    with (tmp_path / "model").open("rb") as file:
        graph = torch.export.load(file).module()
    compare(found, lambda images: [part.numpy() for part in graph(torch.from_numpy(images))], written.shape)


@pytest.mark.parametrize("architecture", ["doc", "paper", "smallresnet10"])
def test_the_onnx_file_agrees_with_python(tmp_path, architecture):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    pytest.importorskip("onnxscript", reason="ONNX is an extra")
    found = calibrated(architecture, KINDS[0], None)
    written = export(found, tmp_path / "model")
    session = onnxruntime.InferenceSession(str(tmp_path / "model"))
    compare(found, lambda images: session.run(None, {"images": images}), written.shape)


def calibrated(architecture, kind, native):
    """A detector of random weights whose logits differ between images; half of the pictures calibrate it."""
    torch.manual_seed(0)
    network = build_classifier(architecture, 3).eval()
    detector = OodgenDetector(network, ("a", "b", "c"), 0.3, 0.05, kind, native=native)
    held = detector.prepare(torch.from_numpy(pictures(*(native or (28, 28)), 1)[::2]).permute(0, 3, 1, 2))
    scores, classes = detector.outputs(held)
    return calibrate(detector, scores.numpy(), classes.numpy(), alarm_rate=0.1)


def pictures(height, width, channels):
    """40 of coarse noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 1), dtype=np.uint8).repeat(channels, axis=3)
    return coarse.repeat(-(-height // 5), axis=1).repeat(-(-width // 5), axis=2)[:, :height, :width]


def compare(found, run, shape):
    images = pictures(*shape)
    score, p, flagged, number = run(images)
    true = found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert np.abs(score - true.scores).max() < 1e-5
    assert np.ptp(true.scores) > 1e-3, "all images score alike"
    assert (flagged == true.flagged).all()
    assert 0 < flagged.sum() < len(images), "the images do not try both decisions"
    assert (number == true.classes).all()
    assert np.abs(p - true.p).max() < 1.5 / 21  # a rank at most
