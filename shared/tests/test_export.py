"""An exported graph decides as Python does: preparation, threshold, classes; what cannot be exported says so."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ood_shared import export as exporting
from ood_shared.calibrated import calibrate
from ood_shared.datasets import resize
from ood_shared.datasets.resize_matrix import resize_by_weights, resize_matrix
from ood_shared.detector import outputs_of
from ood_shared.errors import InputError
from ood_shared.export import CARD, export, looks
from ood_shared.export_graph import Graph, plain
from torch import nn

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")


class Brightness(nn.Module):
    """The score is the mean, the class the third in which the first pixel lies; the last one stands for no class."""

    def forward(self, images):
        x = images.float()
        return x.mean(dim=(1, 2, 3)), (x[:, 0, 0, 0] // 86).long()


@dataclass(frozen=True)
class Level:
    """A detector of two classes by `Brightness`, which takes other images of 6 x 6 by way of 4 x 5."""

    classes: tuple[str, ...] = ("dark", "middle")
    threshold: float | None = None
    channels: int = 1
    network: nn.Module = field(default_factory=Brightness)

    def score(self, images, batch_size=250):
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def outputs(self, images, batch_size=250):
        return Brightness()(images)

    def prepare(self, pixels):
        return resize(pixels, (6, 6), channels=self.channels, native=(4, 5))

    def graph(self):
        return Graph(self.network, (4, 5), self.channels)


class Opaque(Level):
    """Its preparation leaves the tensors."""

    def prepare(self, pixels):
        return torch.from_numpy(super().prepare(pixels).numpy().copy())


def calibrated(detector=None, by_class=False):
    detector = detector or Level()
    generator = np.random.default_rng(1)
    scores, taken = generator.uniform(0, 160, 90), np.arange(90) % 2
    return calibrate(detector, scores, taken, alarm_rate=0.2, by_class=by_class, about={"id": "grey"})


def photographs(n, height, width, channels):
    """Noise, smoothed at random, as bright as any image may be."""
    generator = np.random.default_rng(2)
    base = generator.uniform(0, 1, (n, channels, 4, 4))
    smooth = F.interpolate(torch.from_numpy(base), size=(height, width), mode="bicubic").numpy()
    images = smooth * generator.uniform(20, 255, (n, 1, 1, 1)) + generator.normal(0, 6, smooth.shape)
    return np.ascontiguousarray(images.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def verdict_of(found, images):
    return found.judge(found.prepare(torch.from_numpy(images).permute(0, 3, 1, 2)))


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path))
    assert [part.name for part in session.get_outputs()] == ["score", "p_value", "flagged", "class"]
    return session.run(None, {"images": images})


@pytest.mark.parametrize("pair", [(224, 112), (300, 224), (28, 32), (37, 19), (8, 8), (5, 1), (1, 7)])
def test_the_matrix_has_the_weights_of_the_kernel_to_the_bit(pair):
    length, target = pair
    unit = torch.eye(length)[None, None]
    kernel = F.interpolate(unit, size=(target, length), mode="bilinear", antialias=True, align_corners=False)
    assert torch.equal(torch.from_numpy(resize_matrix(length, target)), kernel[0, 0])


@pytest.mark.parametrize(
    "sizes", [((4, 5), (6, 6)), ((28, 28), (8, 8)), ((60, 50), (8, 9)), ((28, 28), (32, 32)), ((150, 275), (112, 112))]
)
def test_sums_of_weights_resize_as_the_kernel_does(sizes):
    source, target = sizes
    images = torch.from_numpy(photographs(40, *source, 3)).permute(0, 3, 1, 2)
    others = (resize_by_weights(images, target) != resize(images, target, 3)).float().mean()
    fused = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")  # whose kernel adds products unrounded
    assert others <= (0 if fused else 0.01), "halves fell to the other side"


def test_a_large_reduction_by_a_matrix_is_within_one_grey_value_of_the_kernel():
    images = torch.from_numpy(photographs(2, 350, 340, 1)).permute(0, 3, 1, 2)
    difference = (resize_by_weights(images, (9, 10)).int() - resize(images, (9, 10), 1).int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01


@pytest.mark.parametrize(("shape", "by_class"), [((4, 5, 1), False), ((9, 14, 3), True)])
def test_onnx_says_of_each_image_what_python_says(tmp_path, shape, by_class):
    found = calibrated(by_class=by_class)
    written = export(found, tmp_path / "model.onnx", size=shape[:2], channels=shape[2])
    images = photographs(60, *shape)
    score, p, flagged, number = run_onnx(tmp_path / "model.onnx", images)
    true = verdict_of(found, images)
    assert np.allclose(score, true.scores, rtol=1e-5)  # float32 mean of 36 values
    assert np.allclose(p, true.p, rtol=0, atol=1e-12)
    assert (flagged == true.flagged).all()
    assert (number == true.classes).all()
    assert set(true.classes.tolist()) == {-1, 0, 1}, "the images do not try all classes"
    assert 0 < true.flagged.sum() < 60, "the images do not try both decisions"
    assert written.shape == shape
    assert written.difference < 1e-4


def test_the_torch_file_says_the_same_and_keeps_the_promise(tmp_path):
    found = calibrated(Level(channels=3))
    export(found, tmp_path / "model.pt2", "torch")
    card = {CARD: ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=card).module()
    images = photographs(7, 4, 5, 3)
    score, p, flagged, number = (part.numpy() for part in module(torch.from_numpy(images)))
    true = verdict_of(found, images)
    assert np.allclose(score, true.scores, rtol=1e-5)
    assert (p == true.p).all()
    assert (flagged == true.flagged).all()
    assert (number == true.classes).all()
    assert json.loads(card[CARD])["promise"] == found.words()


def test_the_onnx_file_keeps_promise_classes_and_thresholds(tmp_path):
    found = calibrated(by_class=True)
    export(found, tmp_path / "model.onnx")
    words = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).get_modelmeta().custom_metadata_map
    assert words["promise"] == found.words()
    assert json.loads(words["classes"]) == ["dark", "middle"]
    assert json.loads(words["thresholds"]) == [limit.value for limit in found.limits]
    assert json.loads(words["images"]) == ["n", 4, 5, 1]
    assert json.loads(words["about"]) == {"id": "grey"}


class Wrong(Brightness):
    """Scores by one more than Python does, or takes every image for another class."""

    def __init__(self, score=0.0, number=0):
        super().__init__()
        self.score, self.number = score, number

    def forward(self, images):
        scores, classes = super().forward(images)
        return scores + self.score, classes + self.number


@pytest.mark.parametrize("wrong", [Wrong(score=1.0), Wrong(number=1)])
def test_a_graph_that_scores_otherwise_leaves_no_file(tmp_path, wrong):
    with pytest.raises(InputError, match="No file was written"):
        export(calibrated(Level(network=wrong)), tmp_path / "model.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_traced_or_has_no_graph_is_told(tmp_path):
    with pytest.raises(InputError, match=r"This Opaque cannot be exported: torch.export cannot trace it"):
        export(calibrated(Opaque()), tmp_path / "model.onnx")

    class Bare(Level):
        graph = None

    with pytest.raises(InputError, match=r"A Bare cannot be exported: it has no graph\(\)"):
        export(calibrated(Bare()), tmp_path / "model.onnx")
    with pytest.raises(InputError, match="computes in bf16"):
        plain("bf16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"form": "onxn"}, "Did you mean `onnx`"),
        ({"size": (0, 5)}, "Images of 0 x 5 pixels"),
        ({"size": (5, 100_000)}, "sides from 1 to 4096"),
        ({"channels": 2}, "with 2 channels"),
    ],
)
def test_bad_words_are_refused_before_any_work(tmp_path, words, message):
    with pytest.raises(InputError, match=message):
        export(calibrated(), tmp_path / "model.onnx", **words)


def test_a_missing_library_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(
        InputError, match=r"ONNX needs onnxscript, .* pip install onnxscript \(extra `onnx` of ood-shared\)"
    ):
        export(calibrated(), tmp_path / "model.onnx")


def test_the_images_of_the_check_are_uint8_of_any_shape_and_differ():
    for shape in [(1, 1, 1), (3, 50, 3), (17, 9, 1)]:
        images = looks(*shape)
        assert images.shape == (16, *shape)
        assert images.dtype == np.uint8
    assert len(np.unique(looks(8, 8, 1).reshape(16, -1), axis=0)) == 16
