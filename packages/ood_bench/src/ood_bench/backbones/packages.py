"""The network of a trained run of one of the packages, `PACKAGE@RUN`: the maps that pass through it when it scores.

A run is what the package's `load` takes, or a file `model.ood` of it, or a folder with one.

Preprocessing stays the package's: images are handed to its detector, and hooks keep the maps of its network's first
pass (a score that differentiates passes again). A file holds the detector's state, and opens where the package is.
"""

from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from ood_shared.blocks import BLOCK
from ood_shared.contract import MODEL
from ood_shared.detector_state import State
from ood_shared.errors import InputError, unknown
from ood_shared.model_file import GROUP, load
from torch import Tensor, nn

from ood_bench.backbones.backbone import Inputs
from ood_bench.backbones.hooked import as_map, choose_layers, hooked, note_shapes

OWN = ("fused", "baseline")  # kinds of this package
PROBE = 64  # pixels of an image that is only prepared


class PackageMaps(nn.Module):
    """Maps of a package's detector.

    Args:
        detector: with `prepare`, `outputs` and `state`.
        layers: names of modules of its network, in the order of their calls.
    """

    def __init__(self, detector: Any, layers: list[str]) -> None:
        super().__init__()
        self.detector, self.layers = detector, layers
        self.network = network_of(detector)

    def maps(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """The outputs of the modules, of images in [0, 1]; a block at a time, as the detector passes them itself."""
        parts = [self._block(block) for block in torch.split(x, BLOCK)]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _block(self, x: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}
        modules = dict(self.network.named_modules())
        with hooked((name, modules[name], found.setdefault) for name in self.layers):
            _outputs(self.detector, x)
        return [as_map(found[name].detach()[: len(x)]) for name in self.layers]

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """What a file keeps."""
        state: State = self.detector.state()
        return state.tensors


def of_run(package: str, run: str) -> tuple[PackageMaps, Inputs, dict[str, Any]]:
    """The maps of a run, its images, and its settings for a file.

    Raises:
        InputError: an unknown package, a run that cannot be loaded, or a detector without maps.
    """
    modules = {point.name: point.module for point in metadata.entry_points(group=GROUP) if point.name not in OWN}
    if package not in modules:
        raise unknown("--backbone package", package, modules)
    if not Path(run).exists():
        raise InputError(f"--backbone {package}@{run}: {run} is missing; expected a trained run of {package}.")
    kept = Path(run) / MODEL if Path(run).is_dir() else Path(run)
    if kept.suffix == Path(MODEL).suffix and kept.is_file():
        detector: Any = load(kept, "cpu").detector
        if detector.state().kind != package:
            raise InputError(f"--backbone {package}@{run}: {kept} is no detector of {package}.")
        return _measured(package, detector)
    return _measured(package, import_module(modules[package].split(".")[0]).load(run, device="cpu"))


def restored(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> PackageMaps:
    """The maps of a file.

    Raises:
        InputError: the package is not installed, or the state does not fit.
    """
    package = settings["package"]
    point = next((point for point in metadata.entry_points(group=GROUP) if point.name == package), None)
    if point is None or package in OWN:
        raise InputError(f"its network is one of {package}, which is not installed. Install it.")
    state = State(package, tuple(settings["classes"]), settings["settings"], weights)
    return PackageMaps(point.load()(state, torch.device("cpu")), list(settings["layers"]))


def network_of(detector: Any) -> nn.Module:
    """The detector's network.

    Raises:
        InputError: it has none.
    """
    for value in vars(detector).values():
        if isinstance(value, nn.Module):
            return value
        inner = next((part for part in getattr(value, "__dict__", {}).values() if isinstance(part, nn.Module)), None)
        if inner is not None:
            return inner
    raise InputError(f"A {type(detector).__name__} has no network whose maps could be measured.")


def _measured(package: str, detector: Any) -> tuple[PackageMaps, Inputs, dict[str, Any]]:
    prepared = detector.prepare(torch.zeros(1, 3, PROBE, PROBE, dtype=torch.uint8))
    channels, side = int(prepared.shape[1]), int(prepared.shape[2])
    inputs = Inputs(side, channels, (0.0,) * channels, (1.0,) * channels)
    images = torch.zeros(2, channels, side, side)
    layers = choose_layers(note_shapes(network_of(detector), lambda: _outputs(detector, images)))
    if not layers:
        raise InputError(f"The network of {package} has no maps that could be measured.")
    state: State = detector.state()
    settings = {"kind": "package", "package": package, "classes": list(state.classes)}
    return PackageMaps(detector, layers), inputs, settings | {"settings": dict(state.settings), "layers": layers}


def _outputs(detector: Any, x: Tensor) -> None:
    with torch.inference_mode(False), torch.enable_grad():
        detector.outputs(x.detach().clone())
