"""How images become scores, for the test commands, the bench and the detector alike.

    logits, features = network_outputs(network, images)          one pass, for all scores of logits and features
    confidence, predicted = score_outputs(score, outputs)
    confidence, predicted = score_images(score, network, images, std)[0]      ODIN and i-ODIN, which need gradients

All of it in blocks of rows (`ood_shared.blocks`): on a CPU the scores of an image depend on nothing but the image.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from ood_shared.blocks import blocks
from ood_shared.devices import autocast
from torch import Tensor, nn

from ascood.scores.base import Confidences, Extract, FeatureScore
from ascood.scores.odin import ODIN

ROWS = 512  # inputs scored at a time on a GPU: some scores hold a table of inputs x training images


@torch.no_grad()
def network_outputs(
    network: nn.Module, images: Float[Tensor, "n channels height width"], batch_size: int, precision: str = "fp32"
) -> tuple[Float[Tensor, "n classes"], Float[Tensor, "n dim"]]:
    """Logits and raw features, float32, on the device of the images.

    Args:
        network: in evaluation mode; with `return_feature`.
        images: normalised, on the network's device.
        batch_size: images of a pass on a GPU.
        precision: of the passes.
    """
    logits, features = [], []
    for chunk, n in blocks(images.contiguous(), batch_size, images.device):
        with autocast(images.device, precision):
            outputs = network(chunk, return_feature=True)
        logits.append(outputs[0][:n].float())
        features.append(outputs[1][:n].float())
    return torch.cat(logits), torch.cat(features)


@torch.no_grad()
def score_outputs(score: FeatureScore, outputs: Extract) -> Confidences:
    """Confidence and predicted class of every input, by a fitted score; on the device of the outputs."""
    classes = outputs.logits.shape[1]
    rows = torch.cat([outputs.logits, outputs.features, outputs.labels[:, None].float()], dim=1)
    parts = []
    for chunk, n in blocks(rows, ROWS, rows.device):
        logits, features = chunk[:, :classes].contiguous(), chunk[:, classes:-1].contiguous()
        confidence, predicted = score.score(Extract(logits, features, chunk[:, -1].long()))
        parts.append((confidence[:n], predicted[:n]))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def score_images(
    score: ODIN,
    network: nn.Module,
    images: Float[Tensor, "n channels height width"],
    std: Sequence[float],
    noises: Sequence[float] | None = None,
    batch_size: int = ROWS,
) -> list[Confidences]:
    """Confidence and class of every image after the step of ODIN, for each noise; by default the score's own."""
    parts = [
        [(confidence[:n], predicted[:n]) for confidence, predicted in score.score_images(network, chunk, std, noises)]
        for chunk, n in blocks(images.contiguous(), batch_size, images.device)
    ]
    return [
        (torch.cat([part[at][0] for part in parts]), torch.cat([part[at][1] for part in parts]))
        for at in range(len(parts[0]))
    ]
