"""Logits of stored images: one pass in inference mode, in the order of the images.

On a CPU an image's logits do not depend on the images beside it (`ood_shared.blocks`).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from ood_shared.blocks import map_rows
from ood_shared.devices import autocast, module_device
from torch import Tensor, nn

from know_your_space.transforms import evaluation_transform, normalise_unit

BATCH = 256


@torch.inference_mode()
def logits_of(
    network: nn.Module,
    images: UInt8[Tensor, "n 3 h w"] | Float[Tensor, "n 3 32 32"],
    precision: str = "fp32",
    batch_size: int = BATCH,
    notify: Callable[[int], None] | None = None,
) -> Float[Tensor, "n classes"]:
    """Logits in float32, on the network's device.

    Args:
        network: in eval mode; returns logits first.
        images: stored ones of any one size, or floats in the scale of [0, 1] (noise); on any device.
        precision: of the forward pass.
        batch_size: images per pass.
        notify: called with the number of images done, after each batch.
    """
    device, parts = module_device(network), []

    def logits(pixels: Tensor) -> Tensor:
        x = evaluation_transform(pixels) if pixels.dtype == torch.uint8 else normalise_unit(pixels)
        x = x.contiguous(memory_format=torch.channels_last)  # faster on CPUs, in fp32 too
        with autocast(device, precision):
            return network(x)[0].float()

    for batch in images.split(batch_size):
        parts.append(map_rows(logits, batch, batch_size, device).to(device))
        if notify is not None:
            notify(sum(map(len, parts)))
    return torch.cat(parts)
