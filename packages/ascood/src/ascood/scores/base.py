"""What a score sees, and what it gives back.

Every score returns a confidence (larger = more ID, as in the original's files) and a predicted class. The evaluation
turns the sign once, where it computes metrics.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from torch import Tensor

Confidences = tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]  # confidence, predicted class


@dataclass(frozen=True)
class Extract:
    """What one pass of the network leaves of a set: float32 tensors on one device.

    Attributes:
        logits: (n, classes), in evaluation mode; with ASCOODNet those of the standardised features.
        features: (n, dim), the raw penultimate features.
        labels: int64 (n,); -1 for OOD.
    """

    logits: Tensor
    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, start: int, stop: int) -> "Extract":
        """The inputs from `start` to before `stop`."""
        return Extract(self.logits[start:stop], self.features[start:stop], self.labels[start:stop])

    def to(self, device: torch.device) -> "Extract":
        """The same on another device."""
        return Extract(self.logits.to(device), self.features.to(device), self.labels.to(device))


@dataclass
class TrainingFeatures:
    """What scores may be fitted to. The sets are extracted when a score asks for them.

    Attributes:
        get: gives the extract of `train` or `val`.
        weight: (classes, dim) of the last layer.
        bias: (classes,) of the last layer.
        score_head: logits of raw features for the score `t2fnorm`; None when the network has no such head.
    """

    get: Callable[[str], Extract]
    weight: Tensor
    bias: Tensor
    score_head: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def train(self) -> Extract:
        """ID training set."""
        return self.get("train")

    @cached_property
    def val(self) -> Extract:
        """ID validation set."""
        return self.get("val")

    def used(self) -> dict[str, Extract]:
        """The sets that a score has asked for, by name."""
        return {split: vars(self)[split] for split in ("train", "val") if split in vars(self)}

    def last_layer(self, features: Tensor) -> Tensor:
        """W h + b of raw features, without any standardisation."""
        return features @ self.weight.T + self.bias


@dataclass
class Score:
    """What a score is apart from what it looks at: a name and hyper-parameters.

    Attributes:
        args: values by name.
        sweep: for the search, one list of values for each name of `order`.
        search: whether the yml file asks for the search (APS_mode).
    """

    args: dict[str, Any] = field(default_factory=dict)
    sweep: tuple[Sequence[Any], ...] = ()
    search: bool = False

    name: ClassVar[str] = ""
    order: ClassVar[tuple[str, ...]] = ()  # hyper-parameters, in the order in which a search hands them over
    switches: ClassVar[tuple[str, ...]] = ()  # other hyper-parameters, which no yml file of ours has
    fits: ClassVar[bool] = False  # whether something is fitted to features of ID images
    labelled: ClassVar[bool] = False  # whether that takes their labels

    def prepare(self) -> None:
        """Compute what depends on the hyper-parameters; called after they changed."""

    def value(self, name: str, least: float = 0.0, open_below: bool = True) -> float:
        """A numeric hyper-parameter, checked."""
        value = self.args.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.name}: `{name}` is {value!r}; expected a number.")
        if not (value > least if open_below else value >= least):
            raise InputError(f"{self.name}: `{name}` is {value}; expected a number above {least}.")
        return float(value)

    def count(self, name: str, most: int) -> int:
        """A number of neighbours or dimensions: at least 1, and at most what is there."""
        return min(int(self.value(name)), most)

    def fraction(self, name: str) -> float:
        """A percentile as a fraction, from 0 to below 1."""
        percent = self.value(name, 0.0, open_below=False)
        if percent >= 100:
            raise InputError(f"{self.name}: `{name}` is {percent}; expected a percentile from 0 to below 100.")
        return percent / 100

    def settings(self) -> dict[str, Any]:
        """Name and hyper-parameters, for fingerprints and results."""
        return {"name": self.name, "args": dict(self.args)}


class FeatureScore(Score, ABC):
    """A score of logits and features. (ODIN and i-ODIN score images.)"""

    def fit(self, id_features: TrainingFeatures) -> None:
        """Take what the score needs of the ID sets."""
        self.id_features = id_features

    @abstractmethod
    def score(self, inputs: Extract) -> Confidences:
        """Confidence and predicted class of every input."""


def library(module: str, name: str) -> Any:
    """A part of pytorch-ood, imported when a score needs it: that takes seconds.

    Raises:
        InputError: it is not installed.
    """
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"This score is computed by pytorch-ood, which lacks {error.name}. pip install pytorch-ood."
        ) from None
