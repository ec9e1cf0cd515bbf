"""Auxiliary losses on projected features: tail classes against outliers (`pascl`), and discrimination (`simclr`).

Source: Wang et al., Partial and Asymmetric Contrastive Learning for Out-of-Distribution Detection in Long-Tailed
Recognition, ICML 2022. All rows are compared at once; there is no loop over classes.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from imood.heads import Heads


def tail_start(n_classes: int, k: float) -> int:
    """First label that counts as tail: round((1 - k) C), halves to the even number."""
    return round((1 - k) * n_classes)


def class_weights(n_classes: int, k: float) -> Float[Tensor, " classes"]:
    """The published buffer `cl_loss_weights`: sign(linspace(-1, 1, C) - (1 - 2k - 0.001)).

    Kept for the form of checkpoints only. At some k above 0.5 the first tail class has -1 there, which reversed its
    loss; here every anchor weighs 1.
    """
    return torch.sign(torch.linspace(-1, 1, n_classes) - (1 - 2 * k - 0.001))


def pascl_loss(
    views: Float[Tensor, "n 2 dim"],
    ood: Float[Tensor, "m dim"],
    labels: Int64[Tensor, " n"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Supervised contrast of the two views of tail images, with outliers as further negatives.

    Args:
        views: projections of unit length of the n tail images, n at least 1.
        ood: projections of unit length of the outliers; negatives only, never anchors.
        labels: of the tail images.
        temperature: positive.
    """
    n = len(labels)
    anchors = views.transpose(0, 1).reshape(2 * n, -1)  # all first views, then all second ones
    logits = anchors @ torch.cat([anchors, ood]).T / temperature  # (2n, 2n + m)
    itself = torch.eye(2 * n, len(ood) + 2 * n, dtype=torch.bool, device=logits.device)
    log_shares = torch.log_softmax(logits.masked_fill(itself, -torch.inf), dim=1)[:, : 2 * n]
    twice = labels.repeat(2)
    positive = (twice.unsqueeze(1) == twice) & ~itself[:, : 2 * n]
    mean = torch.where(positive, log_shares, 0).sum(1) / positive.sum(1)
    return -mean.mean()


def pascl(
    features: Float[Tensor, "rows dim"],
    labels: Int64[Tensor, " n"],
    heads: Heads,
    n_classes: int,
    k: float,
    temperature: float,
) -> Tensor:
    """`pascl_loss` of a step's features: 2n ID rows (all first views, then all second ones), then the outliers.

    Only the tail rows and the outliers are projected. Without a tail image the loss is 0 and has no graph.
    """
    n = len(labels)
    tail = torch.nonzero(labels >= tail_start(n_classes, k)).squeeze(1)  # (t,)
    if not len(tail):
        return features.new_zeros(())
    rows = torch.cat([features[tail], features[n + tail], features[2 * n :]])
    projected = heads.project(rows)
    t = len(tail)
    views = torch.stack([projected[:t], projected[t : 2 * t]], dim=1)
    return pascl_loss(views, projected[2 * t :], labels[tail], temperature)


def simclr(features: Float[Tensor, "rows dim"], n_id_rows: int, heads: Heads) -> Float[Tensor, ""]:
    """Binary cross-entropy of channel 0 of the projection before normalising, ID 1 against OOD 0.

    In spite of its name no SimCLR: nothing is contrasted.
    """
    hidden = heads.projection[:2](features)
    last = heads.projection.get_parameter
    logits = F.linear(hidden, last("2.weight")[:1], last("2.bias")[:1]).squeeze(1)  # (rows,)
    targets = torch.zeros_like(logits)
    targets[:n_id_rows] = 1
    return F.binary_cross_entropy_with_logits(logits, targets)
