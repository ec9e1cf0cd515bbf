"""A trained network with a post-hoc score, for programs and for the bench; `ascood.load` and `ascood.fit` give one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from ood_shared.blocks import BLOCK
from ood_shared.datasets.benchmark import as_uint8
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.images import Images
from ood_shared.loaders import to_float
from ood_shared.process import PRECISIONS
from torch import Tensor, nn

from ascood.build import WRAPPER_NAMES, to_device, wrap
from ascood.data.preprocessing import Chain
from ascood.evaluator import features_for
from ascood.heads import Wrapper
from ascood.networks import BACKBONES, make_backbone
from ascood.preparation import Preparation
from ascood.scores.base import Extract, FeatureScore
from ascood.scores.catalogue import CLASSES, AnyScore
from ascood.scoring import network_outputs, score_images, score_outputs

FLOATS = 1 << 24  # values of normalised images at a time
KIND = "ascood"  # of a file; the name of the entry point
PARTS = ("logits", "features", "labels")
MOST_SIDE = 4096  # pixels


@dataclass(frozen=True, eq=False)
class AscoodDetector:
    """A classifier and the score that tells how far an image is from its classes; see `ood_shared.detector.Detector`.

    Attributes:
        network: in evaluation mode, on its device.
        rule: the score, fitted.
        chain: sizes and normalisation of its images.
        prepare: from uint8 images of any size to the network's.
        classes: names of the ID classes.
        threshold: score above which an image is called OOD; None where none was set.
        precision: of the passes.
        kept: outputs of the network by set of images, for detectors that score the same sets; None keeps none.
    """

    network: nn.Module = field(repr=False)
    rule: AnyScore
    chain: Chain
    prepare: Preparation = field(repr=False)
    classes: tuple[str, ...]
    threshold: float | None = None
    precision: str = "fp32"
    kept: dict[int, tuple[Tensor, Extract]] | None = field(default=None, repr=False)

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image: minus the confidence of the test command, so that higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image by the plain logits, an index into `classes`; -1 beyond the threshold."""
        scores, classes = outputs_of(self, images, self.prepare, batch_size)
        return within_threshold(scores, classes, self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of images at the network's size, uint8 or floats in the scale of [0, 1]; on the CPU."""
        outputs = self._network_outputs(images, batch_size)
        if isinstance(self.rule, FeatureScore):
            confidence, _ = score_outputs(self.rule, outputs)
        else:
            std = self.chain.std
            parts = [
                score_images(self.rule, self.network, part, std, batch_size=batch_size)[0][0]
                for part in self._normalised(images)
            ]
            confidence = torch.cat(parts)
        return -confidence.double().cpu(), outputs.logits.argmax(1).cpu()

    def _network_outputs(self, images: Tensor, batch_size: int) -> Extract:
        if self.kept is not None and id(images) in self.kept:
            return self.kept[id(images)][1]
        parts = [network_outputs(self.network, part, batch_size, self.precision) for part in self._normalised(images)]
        logits, features = (torch.cat([part[at] for part in parts]) for at in (0, 1))
        outputs = Extract(logits, features, torch.full((len(logits),), -1, device=logits.device))
        if self.kept is not None:
            self.kept[id(images)] = (images, outputs)
        return outputs

    def _normalised(self, images: Tensor) -> Iterator[Tensor]:
        """Images as the network sees them, some at a time: a whole number of blocks."""
        device = next(self.network.parameters()).device
        pixels = as_uint8(images)
        rows = max(1, FLOATS // max(1, pixels[0].numel()) // BLOCK) * BLOCK
        return (to_float(part.to(device), self.chain.mean, self.chain.std) for part in pixels.split(rows))

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `restore` makes it again.

        A score that is fitted keeps the outputs of the network that it is fitted to, and is fitted again.
        """
        network: Any = self.network
        wrapped = isinstance(network, Wrapper)
        chain = {name: value for name, value in self.chain.settings().items() if name != "kind"}
        settings = {
            "network": (network.backbone if wrapped else network).name,
            "wrapper": type(network).__name__ if wrapped else None,
            "score": self.rule.settings(),
            "chain": chain,
            "native": self.prepare.native,
            "resized_first": self.prepare.resized_first,
            "precision": self.precision,
        }
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if isinstance(self.rule, FeatureScore):
            for split, outputs in self.rule.id_features.used().items():
                tensors |= {f"{split}.{part}": getattr(outputs, part) for part in PARTS}
        return State(KIND, self.classes, settings, tensors)


def restore(state: State, device: torch.device) -> AscoodDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    count, wrapper = len(state.classes), state.settings["wrapper"]
    if wrapper is not None:
        wrapper = state.word("wrapper", WRAPPER_NAMES)
    network: Any = wrap(make_backbone(state.word("network", BACKBONES), count), wrapper, count)
    network = to_device(state.fill(network), device)
    given = state.settings["chain"]
    sides = given["pre_size"], given["image_size"]
    if not all(type(side) is int and 0 < side <= MOST_SIDE for side in sides):
        raise InputError(f"`chain` has the sizes {sides}, expected pixels from 1 to {MOST_SIDE}.")
    colours = [tuple(float(value) for value in given[name]) for name in ("mean", "std")]
    if [len(colour) for colour in colours] != [3, 3] or min(colours[1]) <= 0:
        raise InputError(f"`chain` has mean and std {colours}, expected three numbers each, std above 0.")
    chain = Chain("test", *sides, colours[0], colours[1], given["interpolation"])
    rule = CLASSES[score_name(state)](args=dict(state.settings["score"]["args"]))

    def stored(split: str) -> Extract:
        features = state.tensor(f"{split}.features", None, network.get_fc_layer().in_features)
        rest = state.tensor(f"{split}.logits", len(features), count), state.tensor(f"{split}.labels", len(features))
        labels = rest[1]
        if labels.dtype != torch.int64 or not bool(((labels >= -1) & (labels < count)).all()):
            raise InputError(f"`{split}.labels` holds others than the {count} classes.")
        return Extract(rest[0], features, labels).to(device)

    with torch.no_grad():
        if isinstance(rule, FeatureScore):
            rule.fit(features_for(network, stored))
        rule.prepare()
    prepare = Preparation(chain, state.native(), state.flag("resized_first"))
    precision = state.word("precision", PRECISIONS)
    return AscoodDetector(network, rule, chain, prepare, state.classes, precision=precision)


def score_name(state: State) -> str:
    """Name of the score in a file.

    Raises:
        InputError: it is not known.
    """
    name = state.settings["score"]["name"]
    if name not in CLASSES:
        raise InputError(f"`score` is {name!r}, expected one of {', '.join(CLASSES)}.")
    return str(name)
