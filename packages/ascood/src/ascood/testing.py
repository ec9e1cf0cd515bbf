"""What tests and benchmarks share: the fill rule of the golden vectors, and the smallest network for ASCOODNet."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from ood_shared.testing.golden import fill_state_dict
from torch import Tensor, nn

from ascood.heads import ASCOODNet
from ascood.networks import make_backbone


def fill(key: str, shape: tuple[int, ...], salt: int) -> npt.NDArray[Any]:
    """Values of a state-dict entry; see tests/golden/README.md."""
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if last == "sigma":
        return np.full(shape, 0.5)
    z = np.random.RandomState((zlib.crc32(key.encode()) + salt) % 2**32).standard_normal(size=shape)
    if last == "running_var":
        return np.asarray(1 + 0.25 * np.abs(z))
    if last in ("running_mean", "bias"):
        return np.asarray(0.1 * z)
    if len(shape) == 1:
        return np.asarray(1 + 0.1 * z)
    return np.asarray(z * np.sqrt(2.0 / np.prod(shape[1:])))


def filled(module: nn.Module, salt: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The module with the weights of the rule."""
    return fill_state_dict(module, salt, dtype, fill)


def image(shape: Iterable[int], seed: int) -> Tensor:
    """Standard normal float32 numbers from a frozen generator."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(size=tuple(map(int, shape))).astype(np.float32))


class Tiny(nn.Module):
    """Two convolutions and a linear layer, 12 features wide."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x: Tensor, return_feature: bool = False) -> Any:
        """Logits, and the pooled features with the flag."""
        x = F.relu(self.bn1(self.conv1(x)))
        feature = self.avgpool(F.relu(self.bn2(self.conv2(x)))).flatten(1)
        return (self.fc(feature), feature) if return_feature else self.fc(feature)


def network_of(facts: Mapping[str, Any]) -> nn.Module:
    """The network that an entry of the golden facts describes: backbone, classes, wrapped, sigma."""
    tiny = facts["backbone"] == "tiny"
    backbone = Tiny(facts["classes"]) if tiny else make_backbone(facts["backbone"], facts["classes"])
    return ASCOODNet(backbone, facts["sigma"]) if facts["wrapped"] else backbone


def check_close(found: npt.ArrayLike | Tensor, expected: npt.ArrayLike, tolerance: float) -> None:
    """Raise AssertionError unless the largest difference is within `tolerance` of the largest expected value."""
    numbers = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    wanted = np.asarray(expected, dtype=np.float64)
    assert numbers.shape == wanted.shape, (numbers.shape, wanted.shape)
    difference = np.abs(numbers.astype(np.float64) - wanted).max(initial=0.0)
    limit = tolerance * max(np.abs(wanted).max(initial=0.0), 1e-30)
    assert difference <= limit, f"largest difference {difference:.3e}, allowed {limit:.3e}"
