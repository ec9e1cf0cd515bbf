"""The fused detector as an object: its network, its statistics, and the calibration that its scores are made with."""

from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.blocks import map_rows
from ood_shared.calibrated import Examined
from ood_shared.detector import BATCH, Outputs, outputs_of
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.export_graph import Graph
from ood_shared.images import Images
from torch import Tensor, nn

from ood_bench.backbones.backbone import Backbone, Inputs
from ood_bench.backbones.choice import TRAIN, rebuilt, weights_of
from ood_bench.evidence import RECIPE, Calibration, drivers
from ood_bench.fused import Pass, Statistics, distances, pass_of
from ood_bench.fused_graph import fused_graph
from ood_bench.places import Places

KIND = "fused"
HALVES, SINGLES = ("bank",), ("components",)  # statistics that a file keeps narrower than float64


@dataclass(frozen=True, eq=False)
class FusedDetector:
    """F on the maps of a network.

    Attributes:
        backbone: the network.
        statistics: of the fit images.
        calibration: distances of the calibration images.
        places: where an image departs.
        classes: names of the ID classes.
        names: of the fit images, in the order of the bank; empty where they have none.
        thumbnails: uint8 (m, t, t, c), the fit images, small; empty where none are kept.
    """

    backbone: Backbone
    statistics: Statistics
    calibration: Calibration
    places: Places
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()
    thumbnails: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8), repr=False)

    @property
    def threshold(self) -> float | None:
        """None: a threshold comes with `calibrate`."""
        return None

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """F of each image, higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image."""
        return outputs_of(self, images, self.prepare, batch_size)[1]

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of prepared images, uint8 or floats in the scale of [0, 1]; on the CPU."""
        values, classes, _ = self.measure(images, batch_size)
        return torch.from_numpy(self.calibration.fuse(values)), classes

    def examine(self, images: Tensor, batch_size: int = BATCH) -> Examined:
        """Scores, classes, the member that drove each score, the nearest fit image."""
        values, classes, nearest = self.measure(images, batch_size)
        evidence = self.calibration.evidence(values)
        names = [self.names[at] for at in nearest.tolist()] if self.names else None
        scores = self.calibration.fuse(values)
        return Examined(scores, classes.numpy(), drivers(self.statistics.members, evidence), names)

    def measure(
        self, images: Tensor, batch_size: int = BATCH
    ) -> tuple[Float[np.ndarray, "members n"], Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Distances of the members, classes, positions of the nearest fit images; of an image by itself."""

        def rows(batch: Tensor) -> Tensor:
            passed = to_cpu(pass_of(self.backbone, self.backbone.inputs.normalised(batch)))
            values, nearest = distances(self.statistics, passed)
            return torch.cat([values.T, passed.logits.argmax(dim=1, keepdim=True), nearest[:, None]], dim=1)

        with torch.inference_mode():
            found = map_rows(rows, images, batch_size, self.backbone.device)
        return found[:, :-2].T.numpy().copy(), found[:, -2].long(), found[:, -1].long()

    def locate(self, images: Tensor, nearest: int) -> tuple[Float[Tensor, "n p p"], Int64[Tensor, "n nearest"]]:
        """Where prepared images depart from training (`places`), and the positions of their nearest fit images."""
        with torch.inference_mode():
            x = self.backbone.inputs.normalised(images.to(self.backbone.device))
            passed = to_cpu(pass_of(self.backbone, x))
            apart = torch.cdist(passed.direction, self.statistics.bank)
            closest = apart.topk(min(nearest, len(self.statistics.bank)), dim=1, largest=False).indices
            return self.places.departure(passed.places), closest

    def prepare(self, pixels: Tensor) -> Tensor:
        """Images of any size and colour, uint8 (k, c, h, w), at the network's size."""
        return self.backbone.inputs.prepare(pixels)

    def graph(self) -> Graph:
        """The detector as a graph, for `export`; networks of other runtimes have none, and say so."""
        return fused_graph(self.backbone, self.statistics, self.calibration)

    def state(self) -> State:
        """The detector as data; see `restore`."""
        backbone = self.backbone
        own = None if backbone.settings["kind"] == TRAIN else backbone.head  # the common network has its head inside
        settings = {
            "backbone": backbone.word,
            "network": dict(backbone.settings),
            "inputs": asdict(backbone.inputs),
            "head": None if own is None else own.in_features,
            "measured": [backbone.first, backbone.last, backbone.places],
            "members": list(self.statistics.members),
            "recipe": {**RECIPE, "neighbour": self.statistics.neighbour},
            "level": self.places.level,
            "names": list(self.names),
        }
        tensors = {f"network.{name}": value for name, value in weights_of(backbone).items()}
        if own is not None:
            tensors |= {f"head.{name}": value for name, value in own.state_dict().items()}
        kept = ((own.name, getattr(self.statistics, own.name)) for own in fields(Statistics)[:-2])
        tensors |= {f"statistics.{name}": _narrow(name, value) for name, value in kept}
        tensors["calibration"] = torch.from_numpy(self.calibration.values)
        tensors |= {"places.mean": self.places.mean, "places.std": self.places.std}
        if len(self.thumbnails):
            tensors["thumbnails"] = self.thumbnails
        return State(KIND, self.classes, settings, tensors)


def restore(state: State, device: torch.device) -> FusedDetector:
    """The detector that `FusedDetector.state` gave.

    Raises:
        InputError: parts are missing or do not fit, or the network is code and was not named again.
    """
    settings = state.settings
    network = rebuilt(settings["network"], state.below("network."))
    trained = settings["network"]["kind"] == TRAIN
    head = network.fc if trained else _head(state)
    first, last, places = settings["measured"]
    network.to(memory_format=torch.channels_last)
    kept = state.below("statistics.")
    joint, recipe = "joint" in settings["members"], dict(settings["recipe"])
    neighbour = recipe.pop("neighbour")
    if recipe != RECIPE or type(neighbour) is not int or not 0 < neighbour <= len(kept["bank"]):
        raise InputError(f"it was fitted by another recipe, {settings['recipe']}. Install the version that wrote it.")
    statistics = Statistics(
        **{own.name: kept[own.name].double() for own in fields(Statistics)[:-2]}, joint=joint, neighbour=neighbour
    )
    if list(statistics.members) != settings["members"]:
        raise InputError(f"The detector has the members {list(statistics.members)}, its card {settings['members']}.")
    backbone = Backbone(
        settings["backbone"],
        network.eval().to(device),
        Inputs.of(settings["inputs"]),
        None if head is None else head.eval().to(device),
        first,
        last,
        places,
        settings["network"],
    )
    thumbnails = state.tensors.get("thumbnails", torch.empty(0, dtype=torch.uint8))
    calibration = Calibration(state.tensors["calibration"].numpy())
    where = Places(state.tensors["places.mean"], state.tensors["places.std"], float(settings["level"]))
    return FusedDetector(backbone, statistics, calibration, where, state.classes, tuple(settings["names"]), thumbnails)


def to_cpu(passed: Pass) -> Pass:
    """The pass in the host's memory, where the statistics are."""
    return Pass(*(getattr(passed, name).cpu() for name in Pass.__annotations__))


def _head(state: State) -> nn.Linear | None:
    width = state.settings["head"]
    return None if width is None else state.fill(nn.Linear(width, len(state.classes)), "head.")


def _narrow(name: str, value: Tensor) -> Tensor:
    return value.half() if name in HALVES else value.float() if name in SINGLES else value
