"""The score of an image: its relative perceptual distance to its reconstruction, `perceptual` eq. 1.

One function for the bench and for programs. That of a volume is in `scores`, which the challenge's container takes.
"""

import torch
from jaxtyping import Float
from ood_shared.blocks import map_rows
from torch import Tensor

from mood_dpa.checkpoints import Model
from mood_dpa.data.preprocessing import normalise
from mood_dpa.standalone import autocast


def to_network(images: Tensor) -> Tensor:
    """uint8, or floats in the scale of [0, 1] -> float32 about [-1, 1]."""
    return normalise(images.float() / 255 if images.dtype == torch.uint8 else images.float())


@torch.inference_mode()
def image_scores(
    model: Model, images: Tensor, device: torch.device, precision: str = "fp32", batch_size: int = 250
) -> Float[Tensor, " n"]:
    """Score of each image; higher means more OOD.

    Args:
        model: on the device; its loss's reduction becomes `none`.
        images: (n, 1, R, R), uint8 or floats in the scale of [0, 1].
        device: of the model.
        precision: of its passes.
        batch_size: images of a pass on a GPU.
    """
    model.loss.reduction = "none"

    def distances(rows: Tensor) -> Tensor:
        x = to_network(rows).flatten(1).view(rows.shape)  # one channel leaves two strides open; kernels go by them
        with autocast(device, precision):
            y = model.reconstruct(x).float()
            return model.loss(x, y).float()

    return map_rows(distances, images, batch_size, device)
