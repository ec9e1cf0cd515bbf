"""Forward passes over sets of images, and the accuracy on ID images after each epoch of a training.

Divided over the ranks, the same numbers as in one process. On a CPU a pass goes in blocks of a fixed number of rows, so
that the outputs of an image are the same to the last bit whatever is passed beside it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared import distributed
from ood_shared.blocks import blocks, map_rows
from ood_shared.devices import autocast
from sklearn.metrics import f1_score
from torch import Tensor

from imood import legacy_metrics
from imood.data.images import Images
from imood.data.views import Views
from imood.losses import split_outputs
from imood.pool import FeaturePool
from imood.scores import Outputs

DISTANCES = 8192  # rows at a time on a GPU


class Validation(NamedTuple):
    """What an epoch's evaluation gave; shares between 0 and 1."""

    loss: float  # mean of the batches' cross-entropies
    accuracy: float
    groups: tuple[float, float, float]  # many, median, low
    f1: float  # macro


class Pass:
    """Forward passes over sets of images, divided over the ranks.

    Args:
        forward: images to (logits, features), in eval mode.
        views: how test images are normalised.
        batch_size: images per pass over all ranks; on a CPU that of `ood_shared.blocks`.
        precision: of the passes.
        device: where they run.
        channels_last: memory format of the images.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], tuple[Tensor, Tensor]],
        views: Views,
        batch_size: int,
        device: torch.device,
        precision: str = "fp32",
        channels_last: bool = False,
    ) -> None:
        self.forward, self.views, self.device = forward, views, device
        self.batch_size = max(1, batch_size // distributed.world_size())
        self.precision, self.channels_last = precision, channels_last

    @torch.no_grad()
    def __call__(self, images: Images) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n dim"]]:
        """Float32 logits and features of all images in order, on every rank."""
        own = distributed.shard(torch.arange(len(images)))
        logits, features = [], []
        for batch in images.test_batches(own, self.batch_size):
            for block, n in blocks(batch, self.batch_size, self.device):
                x = self.views.test(block)
                if self.channels_last:
                    x = x.contiguous(memory_format=torch.channels_last)
                with autocast(self.device, self.precision):
                    z, f = self.forward(x)
                logits.append(z[:n].float())
                features.append(f[:n].float())
        rows = torch.cat(logits), torch.cat(features)
        return tuple(distributed.gather_rows(part, len(images)) for part in rows)  # type: ignore[return-value]


def outputs_of(passing: Pass, images: Images, pool: FeaturePool | None) -> Outputs:
    """What every score of a set follows from: logits, features, and distances where there is a pool."""
    logits, features = passing(images)
    if pool is None:
        return Outputs(logits, features)
    distances = map_rows(lambda rows: pool.distances(rows).squeeze(1), features, DISTANCES, features.device)
    return Outputs(logits, features, distances.to(features.device))


def validate(passing: Pass, images: Images, metric: str, counts: Sequence[int], batch_size: int) -> Validation:
    """Loss and accuracies of the network's classification, without logit adjustment."""
    logits, _ = passing(images)
    z, labels = split_outputs(metric, logits)[0], images.labels
    losses = [F.cross_entropy(*pair) for pair in zip(z.split(batch_size), labels.split(batch_size), strict=True)]
    truth, predicted = labels.cpu().numpy(), z.argmax(1).cpu().numpy()
    return Validation(
        float(torch.stack(losses).mean()),
        float((truth == predicted).mean()),
        legacy_metrics.group_accuracies(truth, predicted, counts),
        float(f1_score(truth, predicted, average="macro")),
    )
