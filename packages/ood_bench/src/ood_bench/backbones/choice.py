"""`--backbone WORD`: which network's maps are measured.

    train                       the common network, trained on the ID images; the default below 64 pixels
    pretrained                  EfficientNet-lite0 with ImageNet weights; the default above, and for one class
    torchvision:NAME[=FILE]     a network of torchvision with its weights, or with those of a file
    timm:NAME[=FILE]            a network of timm
    FILE.onnx, FILE.pt          a network in ONNX or TorchScript; its outputs are the maps
    MODULE:FUNCTION             a function of your own that returns an nn.Module
    PACKAGE@RUN                 a trained run of ascood, imood, know_your_space, mood_dpa or oodgen

A file `model.ood` holds weights, and ONNX whole, but no code: a network that is code (TorchScript, MODULE:FUNCTION) has
to be named again when the file is opened, with `--backbone` or `load(path, backbone=…)`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints
from ood_shared.backbone import build_common
from ood_shared.contract import PRETRAINED
from ood_shared.errors import InputError, MissingFileError, unknown
from ood_shared.notes import say
from torch import Tensor, nn

from ood_bench.backbones import files, packages
from ood_bench.backbones.backbone import RGB_MEAN, RGB_STD, Backbone, Inputs
from ood_bench.backbones.efficientnet import LICENCE, MEAN, STD, EfficientNetLite0, pretrained_weights
from ood_bench.backbones.hooked import Hooked, hook
from ood_bench.backbones.libraries import LIBRARIES

TRAIN = "train"
SMALL = 64  # pixels, up to which a network is trained
MOST_SIDE = 224  # pixels, to which images of different sizes are brought
SIDES = (112, MOST_SIDE)  # of pretrained features: the smallest one that keeps the images' pixels, else the largest
PLACES = 7  # side of the grid of a pretrained network's maps
OFFERED: ContextVar["Offer | None"] = ContextVar("backbone", default=None)
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass
class Offer:
    """A word for a network that a file may lack, and whether one did."""

    word: str
    taken: bool = False


@contextmanager
def offered(word: str | None) -> Iterator[None]:
    """Within, networks that are code may be made from this word; one line says where nothing was."""
    offer = None if word is None else Offer(word)
    token = OFFERED.set(offer)
    try:
        yield
        if offer is not None and not offer.taken:
            say([f"--backbone {offer.word} has no effect: this file holds its network"])
    finally:
        OFFERED.reset(token)


def chosen(word: str | None, side: int, n_classes: int) -> str:
    """The word, or the default for images of this size and number of classes."""
    return word or (PRETRAINED if side > SMALL or n_classes < 2 else TRAIN)


def build(word: str, side: int) -> Backbone:
    """The network of a word other than `train`.

    Args:
        word: of `--backbone`.
        side: shorter side of the ID images, pixels.

    Raises:
        InputError: an unknown word, a missing library or file, or a network that gives no maps.
    """
    if word == PRETRAINED:
        size = next((size for size in SIDES if side <= size), SIDES[-1])
        inputs = Inputs(size, 3, (MEAN,) * 3, (STD,) * 3)
        settings = {"kind": PRETRAINED, "licence": LICENCE}
        return _finished(word, EfficientNetLite0(pretrained_weights()), inputs, settings, last=-1)
    library, _, rest = word.partition(":")
    if library in LIBRARIES and rest:
        name, _, file = rest.partition("=")
        network, inputs = LIBRARIES[library].with_weights(name, Path(file) if file else None)
        hooked = hook(network, inputs)
        return _finished(word, hooked, inputs, {"kind": library, "name": name, "layers": list(hooked.layers)})
    if word.lower().endswith((".onnx", ".pt", ".ts", ".torchscript")):
        return _of_file(word)
    if "@" in word:
        package, _, run = word.partition("@")
        network, inputs, settings = packages.of_run(package, run)
        return _finished(word, network, inputs, settings)
    if _OWN.fullmatch(word):
        network, inputs, layers = _own(word)
        return _finished(word, network, inputs, {"kind": "code", "word": word, "layers": layers})
    known = (TRAIN, PRETRAINED, "torchvision:NAME", "timm:NAME", "FILE.onnx", "FILE.pt", "MODULE:FUNCTION")
    raise unknown("--backbone", word, known)


def rebuilt(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """The network of a file; see `Backbone.settings`.

    Raises:
        InputError: it is code and was not named again, or another one than was named.
    """
    kind = settings["kind"]
    if kind == TRAIN:
        common = build_common(str(settings["name"]), int(settings["classes"]))
        checkpoints.load_weights(common, dict(weights), "The common network")
        return common
    if kind == PRETRAINED:
        return EfficientNetLite0(weights)
    if kind in LIBRARIES:
        network = Hooked(LIBRARIES[kind].plain(str(settings["name"])), settings["layers"])
        checkpoints.load_weights(network, dict(weights), Path(f"{kind}:{settings['name']}"))
        return network
    if kind == "onnx":
        return files.Onnx(weights["data"])
    if kind == "package":
        return packages.restored(settings, weights)
    offer, named = OFFERED.get(), settings.get("word") or f"a file with SHA-256 {settings.get('sha256', '')[:16]}…"
    if offer is None:
        raise MissingFileError(
            f"The network of this detector is code, {named}; name it with --backbone, if you trust it."
        )
    word, offer.taken = offer.word, True
    if kind == "torchscript":
        _same_file(Path(word), settings["sha256"])
        return files.Scripted(Path(word))
    network, _, layers = _own(word)
    if list(layers) != list(settings["layers"]):
        raise InputError(f"--backbone {word} is another network than this detector was fitted on, {named}.")
    checkpoints.load_weights(network, dict(weights), Path(word))
    return network


def weights_of(backbone: Backbone) -> dict[str, Tensor]:
    """What a file keeps of the network; nothing of TorchScript."""
    if backbone.settings["kind"] == "torchscript":
        return {}
    return dict(getattr(backbone.network, "kept", None) or backbone.network.state_dict())


def _finished(
    word: str, network: Any, inputs: Inputs, settings: Mapping[str, Any], last: int | None = None
) -> Backbone:
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # as a file's network comes back
    return Backbone(word, network.eval(), inputs, None, 0, last, PLACES, settings)


def _of_file(word: str) -> Backbone:
    path = Path(word)
    data = files.read_bytes(path)
    if word.lower().endswith(".onnx"):
        network = files.Onnx(data)
        return _finished(word, network, network.inputs(), {"kind": "onnx"})
    settings = {"kind": "torchscript", "sha256": sha256(data.numpy().tobytes()).hexdigest()}
    return _finished(word, files.Scripted(path), files.usual(files.DEFAULT_SIDE, 3), settings)


def _same_file(path: Path, digest: str) -> None:
    if sha256(files.read_bytes(path).numpy().tobytes()).hexdigest() != digest:
        raise InputError(
            f"--backbone {path} is another file than this detector was fitted on (SHA-256 {digest[:16]}…)."
        )


def _own(word: str) -> tuple[Any, Inputs, list[str]]:
    """A user's network; its attributes `inputs` or `maps`, where it has them, are taken as they are."""
    module, _, function = word.partition(":")
    try:
        network = getattr(import_module(module), function)()
    except ImportError as error:
        raise InputError(f"--backbone {word}: {error}. Run it where Python finds the module.") from None
    except AttributeError:
        raise InputError(f"--backbone {word}: {module} has no {function}.") from None
    if not isinstance(network, nn.Module):
        raise InputError(f"--backbone {word} gave a {type(network).__name__}; expected an nn.Module.")
    inputs = getattr(network, "inputs", None)
    if not isinstance(inputs, Inputs):
        inputs = Inputs(files.DEFAULT_SIDE, 3, RGB_MEAN, RGB_STD)
        print(
            f"{word}: no attribute `inputs`; its images are taken at {inputs.side} x {inputs.side}, as ImageNet's are."
        )
    if hasattr(network, "maps"):
        return network, inputs, []
    hooked = hook(network, inputs)
    return hooked, inputs, list(hooked.layers)
