"""The fused detector as a graph: the pass, the distances and the fusion of `fused`, in tensors that can be traced.

Ranks are counted by comparing with all calibration distances, which needs no search. A rank is a step: where a distance
is that of a calibration image, as for the calibration images themselves, a graph in ONNX may land half a step away.
"""

import math

import torch
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from ood_shared.export_graph import Graph
from torch import Tensor, nn

from ood_bench.backbones.backbone import Backbone
from ood_bench.fused import CAP, TAIL, Calibration, Statistics, distances, pass_of, tail_of

TIE = 3e-7  # relatively: about how far distances differ between Python and a graph; more would tie new images
REASONS = {
    "onnx": "its network is an ONNX file, which PyTorch cannot trace",
    "torchscript": "its network is TorchScript, which torch.export cannot trace",
    "package": "its network is a package's detector with preprocessing of its own; export that package's file",
}


class FusedGraph(nn.Module):
    """F of prepared images.

    Args:
        backbone: on the CPU.
        statistics: of the fit images.
        calibration: distances of the calibration images.
    """

    values: Tensor

    def __init__(self, backbone: Backbone, statistics: Statistics, calibration: Calibration) -> None:
        super().__init__()
        self.backbone, self.statistics = backbone, statistics
        self.network, self.head = backbone.network, backbone.head
        self.tails = [tail_of(own) for own in calibration.values]
        self.register_buffer("values", torch.from_numpy(calibration.values))

    def forward(self, prepared: Tensor) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
        """Scores and classes."""
        passed = pass_of(self.backbone, self.backbone.inputs.normalised(prepared))
        found, _ = distances(self.statistics, passed)
        members = zip(self.values, found, self.tails, strict=True)
        q = torch.stack([self._evidence(own, d, tail) for own, d, tail in members])
        return _capped(q).mean(dim=0), passed.logits.argmax(dim=1)

    def _evidence(self, calibration: Tensor, d: Tensor, tail: tuple[float, float]) -> Float[Tensor, " n"]:
        """q of one member: `fused.Calibration.evidence`."""
        n, (u, b) = len(calibration), tail
        slack = TIE * d.abs()
        below, at_most = ((calibration < row[:, None]).sum(dim=1) for row in (d - slack, d + slack))
        p = (1 + n - (below + at_most).double() / 2) / (n + 1)
        return torch.where(d > u, math.log(1 / (1 - TAIL)) + (d - u) / b, -p.log())


def fused_graph(backbone: Backbone, statistics: Statistics, calibration: Calibration) -> Graph:
    """The graph of a fused detector.

    Raises:
        InputError: its network cannot be traced.
    """
    reason = REASONS.get(str(backbone.settings["kind"]))
    if reason is not None:
        raise InputError(f"This detector cannot be exported: {reason}.")
    inputs = backbone.inputs
    size = inputs.native or (inputs.side, inputs.side)
    return Graph(FusedGraph(backbone, statistics, calibration), size, inputs.channels)


def _capped(q: Float[Tensor, "members n"]) -> Float[Tensor, "members n"]:
    return torch.where(q < CAP, q, CAP + (q - CAP).clamp_min(0).log1p())
