"""VGG19 features, the frozen network f in whose layers images are compared.

Source: Simonyan and Zisserman, ICLR 2015; the layer names are those of the published checkpoints. `cXY` is the output
of convolution X_Y before the ReLU, `rXY` after it, `pX` that of pool X.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mood_dpa.standalone import InputError, unknown

WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions of each block
CONVS = [(block + 1, conv + 1) for block, (_, count) in enumerate(WIDTHS) for conv in range(count)]
KEYS = [f"{kind}{x}{y}" for x, y in CONVS for kind in "cr"] + [f"p{x + 1}" for x in range(len(WIDTHS))]
PADS = {"zero": "constant", "reflect": "reflect", "replication": "replicate"}
BOUND = 128  # images in one pass; more are done one part after the other
CPU_PIXELS = 2**17  # of all images in one pass on a CPU: 8 slices of 128 x 128, whose activations stay near the caches


class VGG19(nn.Module):
    """The convolutions of VGG19; parameters are frozen."""

    def __init__(self, pad_type: str = "zero") -> None:
        super().__init__()
        if pad_type not in PADS:
            raise unknown("pad_type of VGG19", pad_type, PADS)
        self.pad_type = pad_type
        before = 3
        for block, conv in CONVS:
            width = WIDTHS[block - 1][0]
            with torch.device("meta"):  # values are given by `load_features`; drawing them here would cost random draws
                layer = nn.Conv2d(before, width, 3, padding=1 if pad_type == "zero" else 0)
            setattr(self, f"conv{block}_{conv}", layer.to_empty(device="cpu"))
            before = width
        self.requires_grad_(False)

    def forward(self, x: Float[Tensor, "n c h w"], wanted: Iterable[str]) -> dict[str, Tensor]:
        """The wanted layers; computing stops at the last of them.

        Args:
            x: images in [0, 1], or normalised. One channel stands for three equal ones: the first convolution then
                sums its weights over them.
            wanted: layer names.

        Raises:
            ValueError: an unknown name, or none.
        """
        missing = check_layers(wanted)
        outputs: dict[str, Tensor] = {}
        for block, conv in CONVS:
            layer = getattr(self, f"conv{block}_{conv}")
            weight = layer.weight
            if (block, conv) == (1, 1) and x.shape[1] == 1:
                weight = weight.sum(1, keepdim=True)
            if self.pad_type != "zero":
                x = F.pad(x, (1, 1, 1, 1), mode=PADS[self.pad_type])
            x = F.conv2d(x, weight, layer.bias, padding=layer.padding)
            if f"c{block}{conv}" in missing:
                outputs[f"c{block}{conv}"] = x
            x = F.relu(x)
            if f"r{block}{conv}" in missing:
                outputs[f"r{block}{conv}"] = x
            if len(outputs) == len(missing):
                break
            if conv == WIDTHS[block - 1][1]:
                x = F.max_pool2d(x, 2)
                if f"p{block}" in missing:
                    outputs[f"p{block}"] = x
                if len(outputs) == len(missing):
                    break
        return outputs


def images_at_once(images: Tensor) -> int:
    """How many of these images (n, c, h, w) are done in one pass: fewer on a CPU: faster, in less memory.

    Gradients are wanted of all activations in any case, so training does not divide its batches further.
    """
    if images.device.type != "cpu" or torch.is_grad_enabled():
        return BOUND
    return max(1, min(BOUND, CPU_PIXELS // (images.shape[-2] * images.shape[-1])))


def check_layers(wanted: Iterable[str]) -> set[str]:
    """The layer names as a set.

    Raises:
        InputError: none, or one that VGG19 does not have.
    """
    names = set(wanted)
    for name in sorted(names):
        if name not in KEYS:
            raise unknown("VGG19 layer", str(name), KEYS)
    if not names:
        raise InputError("No VGG19 layer was asked for.")
    return names


def convolutions_of(wanted: Iterable[str]) -> list[str]:
    """Names of the convolutions that layers need, in order: all up to the last of them.

    Raises:
        InputError: as `check_layers`.
    """
    last = (0, 0)
    for name in check_layers(wanted):
        block = int(name[1])
        last = max(last, (block, WIDTHS[block - 1][1] if name[0] == "p" else int(name[2])))
    return [f"conv{block}_{conv}" for block, conv in CONVS if (block, conv) <= last]
