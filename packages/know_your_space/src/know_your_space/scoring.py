"""Logits of stored images: one pass in inference mode, in the order of the images."""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from ood_shared.devices import autocast, module_device
from torch import Tensor, nn

from know_your_space.transforms import evaluation_transform

BATCH = 256


@torch.inference_mode()
def logits_of(
    network: nn.Module,
    images: UInt8[Tensor, "n 3 h w"],
    precision: str = "fp32",
    batch_size: int = BATCH,
    notify: Callable[[int], None] | None = None,
) -> Float[Tensor, "n classes"]:
    """Logits in float32, on the network's device.

    Args:
        network: in eval mode; returns logits first.
        images: on any device, all of one size.
        precision: of the forward pass. Half precision runs fastest in a network with channels_last memory.
        batch_size: images per pass.
        notify: called with the number of images done, after each batch.
    """
    device, found = module_device(network), []
    layout = torch.contiguous_format if precision == "fp32" else torch.channels_last
    for batch in images.split(batch_size):
        x = evaluation_transform(batch.to(device)).contiguous(memory_format=layout)
        with autocast(device, precision):
            found.append(network(x)[0].float())
        if notify is not None:
            notify(sum(map(len, found)))
    return torch.cat(found)
