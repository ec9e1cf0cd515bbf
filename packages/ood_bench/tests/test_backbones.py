"""Networks that the fused detector measures: which maps, and that a file brings the same network back."""

import sys
from dataclasses import replace

import pytest
import torch
from ood_bench import detect
from ood_bench.backbones import efficientnet, files
from ood_bench.backbones.backbone import Inputs
from ood_bench.backbones.choice import build, chosen
from ood_bench.backbones.hooked import choose_layers, hook
from ood_bench.fused_fit import fit_detector
from ood_shared import model_file
from ood_shared.calibrated import calibrate
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.errors import InputError, MissingFileError
from ood_shared.training import Compute
from torch import nn

CPU = torch.device("cpu")
INPUTS = Inputs(32, 3, (0.5,) * 3, (0.25,) * 3)


class Small(nn.Module):
    """A network that knows nothing of maps."""

    inputs = INPUTS

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean(dim=(2, 3)))


def make():
    """What `MODULE:FUNCTION` names."""
    torch.manual_seed(3)
    return Small()


def other():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))


@pytest.fixture(scope="module")
def benchmark():
    images = (torch.rand(260, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    labels = torch.arange(260) % 2
    return Benchmark(images, labels, images, labels, ("a", "b"), {}, (32, 32), False)


def fitted(backbone, benchmark, path):
    found = fit_detector(benchmark, Compute(CPU), torch.Generator().manual_seed(0), backbone=backbone)
    model_file.save(path, calibrate(found.detector, found.scores, alarm_rate=0.1))
    return found.detector


def same(detector, path, benchmark, backbone=None):
    again = detect.load(path, "cpu", backbone)
    return bool((again.outputs(benchmark.test)[0] == detector.outputs(benchmark.test)[0]).all())


def test_the_last_map_of_each_resolution_is_measured():
    hooked = hook(make(), INPUTS)
    assert hooked.layers == ("stem", "body.1", "body")
    maps = hooked.maps(torch.zeros(2, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
    assert (maps[1] >= 0).all()


def test_four_blocks_of_a_transformer_are_measured():
    seen = [(f"blocks.{number}", (2, 50, 32)) for number in range(12)]
    seen = [pair for block in seen for pair in ((f"{block[0]}.attn", (2, 50, 32)), block)]
    assert choose_layers(seen) == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]


def test_what_has_no_maps_or_takes_no_such_images_is_refused():
    with pytest.raises(InputError, match="no feature maps"):
        hook(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), INPUTS)
    with pytest.raises(InputError, match="does not take images"):
        hook(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)), INPUTS)


@pytest.mark.parametrize(
    ("side", "classes", "word"),
    [(64, 2, "train"), (65, 2, "pretrained"), (28, 1, "pretrained"), (224, 9, "pretrained")],
)
def test_the_default_goes_by_size_and_classes(side, classes, word):
    assert chosen(None, side, classes) == word
    assert chosen("timm:x", side, classes) == "timm:x"


@pytest.mark.parametrize(("side", "size"), [(28, 112), (112, 112), (113, 224), (1000, 224)])
def test_pretrained_features_keep_the_pixels_of_the_images(side, size):
    assert build("pretrained", side).inputs.side == size


def test_the_pretrained_network_has_the_maps_that_its_weights_say():
    network = efficientnet.EfficientNetLite0(efficientnet.pretrained_weights()).eval()
    with torch.inference_mode():
        maps = network.maps(torch.zeros(1, 3, 65, 65))
    assert [tuple(m.shape[1:]) for m in maps] == [(24, 17, 17), (40, 9, 9), (112, 5, 5), (320, 3, 3), (1280, 3, 3)]


def test_another_file_of_weights_is_refused(monkeypatch):
    monkeypatch.setattr(efficientnet, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="not the file that is known"):
        efficientnet.pretrained_weights()


def test_one_class_needs_no_head(benchmark, tmp_path):
    one = replace(benchmark, train_labels=benchmark.train_labels * 0, classes=("all",))
    backbone = replace(build(f"{__name__}:make", 32), word="own")
    found = fit_detector(one, Compute(CPU), torch.Generator().manual_seed(0), backbone=backbone).detector
    assert found.backbone.head is None
    assert found.statistics.members == ("joint", "neighbour")
    assert (found.outputs(one.test)[1] == 0).all()


def test_torchvision_from_a_file_of_weights(benchmark, tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "w.pt")
    backbone = build(f"torchvision:resnet18={tmp_path / 'w.pt'}", 32)
    assert backbone.inputs.side == 224
    assert [name.split(".")[0] for name in backbone.network.layers] == ["layer1", "layer2", "layer3", "layer4"]
    backbone = replace(backbone, inputs=replace(INPUTS))
    detector = fitted(backbone, benchmark, tmp_path / "m.ood")
    assert same(detector, tmp_path / "m.ood", benchmark)
    with pytest.raises(InputError, match="torchvision network"):
        build("torchvision:resnet19", 32)


def test_weights_that_cannot_be_fetched_are_said_in_a_line(monkeypatch):
    from torchvision.models import ResNet18_Weights

    def fail(self, **words):
        raise OSError("no route")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(InputError, match=r"cannot be fetched \(no route\). Give torchvision:resnet18=FILE"):
        build("torchvision:resnet18", 32)


def test_onnx_is_kept_inside_the_file(benchmark, tmp_path):
    class Maps(Small):
        def forward(self, x):
            return self.stem(x), self.body(self.stem(x))

    torch.manual_seed(3)
    dynamic = {"x": {0: torch.export.Dim("n")}}
    network, images = Maps().eval(), (torch.zeros(2, 3, 32, 32),)
    torch.onnx.export(network, images, tmp_path / "n.onnx", dynamic_shapes=dynamic, external_data=False)
    backbone = build(str(tmp_path / "n.onnx"), 32)
    assert (backbone.inputs.side, backbone.inputs.channels) == (32, 3)
    detector = fitted(backbone, benchmark, tmp_path / "m.ood")
    (tmp_path / "n.onnx").unlink()
    assert same(detector, tmp_path / "m.ood", benchmark)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="no network in ONNX"):
        build(str(tmp_path / "bad.onnx"), 32)


def test_code_is_never_in_the_file(benchmark, tmp_path):
    script = torch.jit.script(nn.Sequential(*list(make().body)[:0], make().stem))
    script.save(str(tmp_path / "n.pt"))
    backbone = replace(build(str(tmp_path / "n.pt"), 32), inputs=INPUTS)
    detector = fitted(backbone, benchmark, tmp_path / "m.ood")
    with pytest.raises(InputError, match="is code, a file with SHA-256"):
        detect.load(tmp_path / "m.ood", "cpu")
    assert same(detector, tmp_path / "m.ood", benchmark, str(tmp_path / "n.pt"))
    torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3))).save(str(tmp_path / "other.pt"))
    with pytest.raises(InputError, match="another file than this detector was fitted on"):
        detect.load(tmp_path / "m.ood", "cpu", str(tmp_path / "other.pt"))


def test_a_function_of_ones_own(benchmark, tmp_path):
    word = f"{__name__}:make"
    detector = fitted(build(word, 32), benchmark, tmp_path / "m.ood")
    with pytest.raises(InputError, match=f"is code, {word}; name it"):
        detect.load(tmp_path / "m.ood", "cpu")
    assert same(detector, tmp_path / "m.ood", benchmark, word)
    with pytest.raises(InputError, match="another network"):
        detect.load(tmp_path / "m.ood", "cpu", f"{__name__}:other")


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("pretrend", InputError, "--backbone"),
        ("nowhere_to_be:found", InputError, "No module named"),
        (f"{__name__}:missing", InputError, "has no missing"),
        (f"{__name__}:CPU", InputError, "gave a"),
        ("missing.onnx", MissingFileError, "missing.onnx is missing"),
        ("oodgan@run", InputError, "--backbone package"),
        ("timm:resnet18", InputError, "extra `timm` of ood-bench"),
    ],
)
def test_a_word_that_names_no_network(word, kind, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(sys.modules[__name__], "CPU", lambda: 3, raising=False)
    with pytest.raises(kind, match=message):
        build(word, 32)


def test_inputs_come_back_from_json_and_forged_ones_are_refused():
    words = {"side": 32, "channels": 3, "mean": [0.5] * 3, "std": [0.25] * 3, "native": [8, 8], "square": True}
    assert Inputs.of(words) == Inputs(32, 3, (0.5,) * 3, (0.25,) * 3, (8, 8), True)
    for change in ({"side": -1}, {"std": [0.0] * 3}, {"mean": [0.5]}, {"native": [0, 8]}, {"square": 1}, {"x": 1}):
        with pytest.raises(InputError, match="inputs"):
            Inputs.of(words | change)


def test_centre_squares_are_cut_when_training_images_were():
    pixels = torch.zeros(1, 3, 20, 60, dtype=torch.uint8)
    pixels[:, :, :, 20:40] = 255
    assert (replace(INPUTS, square=True).prepare(pixels) == 255).all()
    assert (INPUTS.prepare(pixels) == 0).any()


def test_files_are_read_within_bounds(tmp_path, monkeypatch):
    (tmp_path / "n.onnx").write_bytes(b"x" * 100)
    monkeypatch.setattr(files, "MOST_BYTES", 99)
    with pytest.raises(InputError, match="at most 99"):
        files.read_bytes(tmp_path / "n.onnx")
