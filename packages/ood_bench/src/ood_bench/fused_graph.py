"""The fused detector as a graph: the pass, the distances and the fusion of `fused`, in tensors that can be traced.

Ranks are sums over all calibration distances, which needs no search.
"""

import torch
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from ood_shared.export_graph import Graph
from torch import Tensor, nn

from ood_bench.backbones.backbone import Backbone
from ood_bench.evidence import CAP, Calibration, Curve, curve_of
from ood_bench.fused import Statistics, distances, pass_of

TIE = 5e-5  # the largest difference seen on calibration images was 3.4e-5: a rank turns 1e-6 of a distance into more
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
        self.curves = [curve_of(own) for own in calibration.values]
        self.register_buffer("values", torch.from_numpy(calibration.values))

    def forward(self, prepared: Tensor) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
        """Scores and classes."""
        passed = pass_of(self.backbone, self.backbone.inputs.normalised(prepared))
        found, _ = distances(self.statistics, passed)
        members = zip(self.values, found, self.curves, strict=True)
        q = torch.stack([_evidence(own, d, curve) for own, d, curve in members])
        return _capped(q).mean(dim=0), passed.logits.argmax(dim=1)


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
    return Graph(FusedGraph(backbone, statistics, calibration), size, inputs.channels, TIE)


def _capped(q: Float[Tensor, "members n"]) -> Float[Tensor, "members n"]:
    return torch.where(q < CAP, q, CAP + (q - CAP).clamp_min(0).log1p())


def _evidence(calibration: Tensor, d: Tensor, curve: Curve) -> Float[Tensor, " n"]:
    """q of one member: `fused.Calibration.evidence`."""
    rank = (0.5 + (d[:, None] - calibration) / (2 * curve.h)).clamp(0, 1).sum(dim=1)
    p = 1 - rank / (len(calibration) + 1)
    return torch.where(d > curve.u, curve.start + (d - curve.u) / curve.b, -p.log())
