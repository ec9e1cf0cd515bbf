"""One graph from pixels to a decision: preparation, network, score, threshold. `export` writes it.

    images (n, h, w, c) uint8 -> score (n,) float64, p_value (n,) float64, flagged (n,) bool, class (n,) int64

n is free; h, w, c are fixed, because the preparation of images of one size is a fixed mixture of their pixels. A
detector takes part by a method `graph()`; its `prepare` is traced as it is and so has to consist of tensor operations.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from ood_shared.calibrated import Calibrated
from ood_shared.detector import Detector
from ood_shared.errors import InputError
from ood_shared.thresholds import fit_threshold

INPUT, OUTPUTS = "images", ("score", "p_value", "flagged", "class")
TIE = 2e-6  # of scores, absolutely up to 1 and relatively above


@dataclass(frozen=True)
class Graph:
    """A detector as a graph.

    Attributes:
        network: from prepared images, uint8 (n, c, side, side), to scores (n,) and classes (n,), or None for classes.
            What its `forward` reads besides its weights becomes constant.
        size: height and width of the images that it was made for, pixels: where nobody asks for another one.
        channels: of the prepared images, 1 or 3.
        tie: scores of one image differ by less between Python and the graph, so that a calibration image ties with
            itself in both.
    """

    network: nn.Module
    size: tuple[int, int]
    channels: int
    tie: float = TIE


@runtime_checkable
class Exportable(Protocol):
    """A detector that can be exported."""

    def graph(self) -> Graph:
        """Its graph.

        Raises:
            InputError: it has none; the message says why.
        """


class TracedOutputs(nn.Module):
    """The graph of a detector whose `outputs` can be traced: tensor operations, with `map_rows` for blocks.

    Args:
        detector: in fp32.
        network: its weights.
    """

    def __init__(self, detector: Detector, network: nn.Module) -> None:
        super().__init__()
        self.detector, self.network = detector, network

    def forward(self, prepared: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores and classes."""
        return self.detector.outputs(prepared)


def plain(precision: str) -> None:
    """Refuse passes in another precision than fp32: a graph computes in that, and its scores would differ.

    Raises:
        InputError: another precision.
    """
    if precision != "fp32":
        raise InputError(f"The detector computes in {precision}; only one in fp32 can be exported. Make it in fp32.")


def graph_of(calibrated: Calibrated) -> Graph:
    """The graph of a detector.

    Raises:
        InputError: it has none.
    """
    detector = calibrated.detector
    if not isinstance(detector, Exportable):
        raise InputError(f"A {type(detector).__name__} cannot be exported: it has no graph().")
    return detector.graph()


class Decision(nn.Module):
    """The whole graph of a calibrated detector.

    Args:
        calibrated: on the CPU.
        graph: of its detector.
    """

    scores: Tensor
    taken_for: Tensor
    limits: Tensor

    def __init__(self, calibrated: Calibrated, graph: Graph) -> None:
        super().__init__()
        self.calibrated, self.network, self.tie = calibrated, graph.network, graph.tie
        limits = [limit.value for limit in calibrated.limits]
        if calibrated.by_class:  # an image of no class is compared with all
            limits.append(fit_threshold(calibrated.scores, calibrated.alarm_rate).value)
        self.register_buffer("scores", torch.from_numpy(calibrated.scores))
        self.register_buffer("taken_for", torch.from_numpy(calibrated.taken_for))
        self.register_buffer("limits", torch.tensor(limits, dtype=torch.float64))

    def forward(self, images: UInt8[Tensor, "n h w c"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, p-values, whether flagged, classes: as `Calibrated.judge` has them."""
        prepared = self.calibrated.prepare(images.permute(0, 3, 1, 2))
        scores, classes = self.network(prepared)
        scores, n_classes = scores.detach().double(), len(self.calibrated.classes)
        if classes is None:
            classes = torch.zeros_like(scores, dtype=torch.int64) - 1
        classes = torch.where(classes < n_classes, classes, -1)
        low = scores - self.tie * scores.abs().clamp_min(1)
        at_least = self.scores >= low[:, None]  # (n, calibration images)
        if not self.calibrated.by_class:
            p = (1 + at_least.sum(dim=1)).double() / (len(self.scores) + 1)
            return scores, p, low > self.limits[0], classes
        compared = (self.taken_for == classes[:, None]) | (classes < 0)[:, None]
        p = (1 + (at_least & compared).sum(dim=1)).double() / (1 + compared.sum(dim=1)).double()
        flagged = low > self.limits[torch.where(classes < 0, n_classes, classes)]
        return scores, p, flagged, classes
