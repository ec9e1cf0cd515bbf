"""The classifier that the baselines look at: the common network, or pretrained features with a linear head."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from ood_shared.backbone import NETWORKS, build_common
from ood_shared.blocks import map_rows
from ood_shared.contract import PRETRAINED, Request
from ood_shared.datasets import load_any_size
from ood_shared.datasets.benchmark import Benchmark
from ood_shared.detector_state import State
from ood_shared.errors import InputError, MissingSplitError
from ood_shared.training import Compute
from torch import Tensor, nn

from ood_bench.backbones.backbone import Backbone, Inputs
from ood_bench.backbones.choice import MOST_SIDE, build
from ood_bench.backbones.efficientnet import EfficientNetLite0
from ood_bench.linear_head import fit_head

COMMON = "common"
BATCH = 32  # images of a pass of the pretrained network on a GPU


class WithHead(nn.Module):
    """Pretrained features with a linear head.

    Args:
        network: whose last map is averaged.
        fc: the head.
    """

    def __init__(self, network: EfficientNetLite0, fc: nn.Linear) -> None:
        super().__init__()
        self.network, self.fc, self.feature_dim = network, fc, fc.in_features

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features"]:
        """Mean of the last map."""
        return self.network.maps(images)[-1].mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        logits: Tensor = self.fc(self.features(images))
        return logits


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network with `features`, `fc` and `feature_dim`, and the images that it takes.

    Attributes:
        network: in eval mode.
        inputs: of the network.
        kind: `common` or `pretrained`.
    """

    network: Any = field(repr=False)
    inputs: Inputs
    kind: str = COMMON

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        found: torch.device = self.network.fc.weight.device
        return found

    def settings(self) -> dict[str, Any]:
        """For a file; see `restored`."""
        own = self.network
        name = next(n for n, count in NETWORKS.items() if count == own.per_stage) if self.kind == COMMON else self.kind
        return {"network": name, "inputs": asdict(self.inputs)}


def restored(state: State, device: torch.device) -> Classifier:
    """The classifier of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    name = state.word("network", (*NETWORKS, PRETRAINED))
    inputs = Inputs.of(state.settings.get("inputs"))
    if name == PRETRAINED:
        weights = state.below("network.")
        own: Mapping[str, Tensor] = {
            key.removeprefix("network."): value for key, value in weights.items() if key.startswith("network.")
        }
        if "fc.weight" not in weights or weights["fc.weight"].ndim != 2:
            raise InputError("it lacks `network.fc.weight`.")
        width = weights["fc.weight"].shape[1]
        network: nn.Module = WithHead(EfficientNetLite0(own), nn.Linear(width, len(state.classes)))
    else:
        network = build_common(name, len(state.classes), inputs.channels)
    state.fill(network).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Classifier(network, inputs, PRETRAINED if name == PRETRAINED else COMMON)


def with_head(backbone: Backbone, benchmark: Benchmark, compute: Compute) -> Classifier:
    """Pretrained features with a head that is fitted on the training images."""
    if len(benchmark.classes) < 2:
        raise InputError("The baselines need two ID classes or more for a head; take --methods fused.")
    network = backbone.network.to(compute.device)
    inputs = replace(backbone.inputs, native=benchmark.native)
    blank = WithHead(network, nn.Linear(1, len(benchmark.classes)))

    def rows(batch: Tensor) -> Tensor:
        return blank.features(inputs.normalised(batch))

    with torch.inference_mode():
        last = map_rows(rows, benchmark.train, BATCH, compute.device)
    head = fit_head(last.clone().double(), benchmark.train_labels, len(benchmark.classes))
    return Classifier(WithHead(network, head.to(compute.device)).eval(), inputs, PRETRAINED)


def pretrained_for(request: Request) -> Backbone:
    """The pretrained network at the size that suits the ID images of a comparison.

    Raises:
        InputError: the images cannot be read, or the package with the weights is not installed.
    """
    try:
        images = load_any_size(request.id, "test", request.data_dir, MOST_SIDE)
    except MissingSplitError:
        images = load_any_size(request.id, "train", request.data_dir, MOST_SIDE)
    return build(PRETRAINED, int(min(images.images.shape[1:3])))
