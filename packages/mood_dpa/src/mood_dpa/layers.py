"""The blocks that encoders and decoders are made of.

Source: Shvetsova et al., Anomaly Detection in Medical Imaging with Deep Perceptual Autoencoders, IEEE Access 2021
(arXiv 2006.13265), section III. Names of the state dict are those of the published checkpoints.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mood_dpa.standalone import unknown

SLOPE = 0.2  # of every leaky ReLU
NORMS = ("none", "bn", "in")
PADS = ("zero", "reflect")


@dataclass(frozen=True)
class Layers:
    """How the blocks are made.

    Attributes:
        norm: `none`, `bn` or `in`.
        pad_type: `zero` or `reflect`.
        dims: 2 for slices, 3 for volumes.
    """

    norm: str = "none"
    pad_type: str = "zero"
    dims: int = 2

    def __post_init__(self) -> None:
        for name, value, known in (("norm", self.norm, NORMS), ("pad_type", self.pad_type, PADS)):
            if value not in known:
                raise unknown(name, str(value), known)

    def of(self, kind: str) -> Any:
        """The class of that name for 2 or 3 dimensions: `Conv`, `AvgPool`, …"""
        return getattr(nn, f"{kind}{self.dims}d")

    def normalise(self, channels: int) -> list[nn.Module]:
        """The norm of so many channels, or nothing."""
        if self.norm == "none":
            return []
        return [self.of("BatchNorm")(channels) if self.norm == "bn" else self.of("InstanceNorm")(channels)]


class ConvBlock(nn.Module):
    """[reflection pad] convolution [norm, leaky ReLU], in a Sequential called `model`.

    A block that is not `active` has neither norm nor activation.
    """

    def __init__(self, layers: Layers, a: int, b: int, kernel: int, padding: int, *, active: bool) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        if layers.pad_type == "reflect":
            parts.append(layers.of("ReflectionPad")(padding))
            padding = 0
        conv = layers.of("Conv")(a, b, kernel, padding=padding)
        nn.init.kaiming_normal_(conv.weight, a=SLOPE, mode="fan_out", nonlinearity="leaky_relu")
        parts.append(conv)
        if active:
            parts += [*layers.normalise(b), nn.LeakyReLU(SLOPE)]
        self.model = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """(n, a, …) -> (n, b, …)."""
        out: Tensor = self.model(x)
        return out


class ResidualBlock(nn.Module):
    """skipcon(x) + model(x), activated before its convolutions.

    Args:
        change: nothing, `down` (average pool by 2) or `up` (nearest, by 2), done on both paths.
    """

    def __init__(self, layers: Layers, a: int, b: int, change: str = "") -> None:
        super().__init__()
        steps = {"": lambda: [], "down": lambda: [layers.of("AvgPool")(2)], "up": lambda: [nn.Upsample(scale_factor=2)]}
        self.model = nn.Sequential(
            *layers.normalise(a),
            nn.LeakyReLU(SLOPE),
            *steps[change](),
            ConvBlock(layers, a, b, 3, 1, active=True),
            ConvBlock(layers, b, b, 3, 1, active=False),
        )
        shortcut = [] if a == b else [ConvBlock(layers, a, b, 1, 0, active=False)]
        if change or not shortcut:
            self.skipcon: nn.Module = nn.Sequential(*steps[change](), *shortcut)
        else:
            self.skipcon = shortcut[0]

    def forward(self, x: Tensor) -> Tensor:
        """(n, a, …) -> (n, b, …), at half, the same or twice the resolution."""
        out: Tensor = self.skipcon(x) + self.model(x)
        return out


class Concat(nn.Module):
    """Both paths of a transition."""

    def __init__(self, layer1: nn.Module, layer2: nn.Module) -> None:
        super().__init__()
        self.layer1, self.layer2 = layer1, layer2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of the low and of the high path."""
        return self.layer1(x), self.layer2(x)


class FadeIn(nn.Module):
    """(1 - alpha) low + alpha high."""

    def __init__(self) -> None:
        super().__init__()
        self._alpha = nn.Parameter(torch.zeros(1), requires_grad=False)

    def set_progress(self, progress: float) -> None:
        """alpha, clipped to [0, 1]."""
        self._alpha.data.fill_(min(max(float(progress), 0.0), 1.0))

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """The blend."""
        low, high = pair
        return torch.lerp(low, high, self._alpha.to(low.dtype))
