"""The latest features of each class, in one ring buffer on the device.

Until every class is full, a batch fills free slots and surplus features of full classes are dropped. From then on each
feature replaces the oldest of its class. Both steps are index arithmetic over the whole batch: no loop over samples,
and once the queue is full, no wait for the device.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from ood_shared.errors import InputError
from torch import Tensor, nn


class LatentQueue(nn.Module):
    """A queue of features for each class. Its state dict makes a run resumable.

    Args:
        n_classes: number of classes.
        length: features kept of each class.
        dim: dimensions of the features.

    Raises:
        InputError: an argument below 1.
    """

    features: Float[Tensor, "classes length dim"]
    counts: Int64[Tensor, " classes"]
    oldest: Int64[Tensor, " classes"]

    def __init__(self, n_classes: int, length: int, dim: int) -> None:
        super().__init__()
        if min(n_classes, length, dim) < 1:
            raise InputError(
                f"The latent queue needs at least 1 class, 1 sample (--sample_number) and 1 dimension, "
                f"got {n_classes}, {length} and {dim}."
            )
        self.register_buffer("features", torch.zeros(n_classes, length, dim))
        self.register_buffer("counts", torch.zeros(n_classes, dtype=torch.int64))
        self.register_buffer("oldest", torch.zeros(n_classes, dtype=torch.int64))
        self._full = False  # what `full` has seen on the device
        self._pushed = 0  # samples; not full before as many as there are slots

    @property
    def full(self) -> bool:
        """Whether every slot of every class is taken. Asks the device only from when it may be so until it is so."""
        if not self._full and self._pushed >= self.features.shape[:2].numel():
            self._full = bool((self.counts == self.features.shape[1]).all())
        return self._full

    def push(self, features: Float[Tensor, "batch dim"], labels: Int64[Tensor, " batch"]) -> bool:
        """Take in a batch, in order; gradients are cut.

        Returns:
            Whether the queue was full before: the batch that completes it does not count as one with inliers.
        """
        was_full = self.full
        self._pushed += len(labels)
        rank, sizes = _rank_within_class(labels, len(self.counts))
        length = self.features.shape[1]
        if was_full:
            slot = (self.oldest[labels] + rank) % length
            kept = rank >= sizes[labels] - length  # of more than a queueful, the last ones
            self.oldest.copy_((self.oldest + sizes) % length)
        else:
            slot = self.counts[labels] + rank
            kept = slot < length
            self.counts.copy_((self.counts + sizes).clamp_max(length))
        # Rows that are not kept go to a slot behind the end, so that no shape depends on the data.
        ring = F.pad(self.features, (0, 0, 0, 1))
        ring[labels, torch.where(kept, slot, length)] = features.detach().to(ring.dtype)
        self.features.copy_(ring[:, :length])
        return was_full

    def ordered(self) -> Float[Tensor, "classes length dim"]:
        """The features of each class, oldest first; free slots are zero and stand at the end."""
        length = self.features.shape[1]
        slot = (self.oldest.unsqueeze(1) + torch.arange(length, device=self.oldest.device)) % length
        return self.features.gather(1, slot.unsqueeze(2).expand_as(self.features))

    def _load_from_state_dict(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        self._full, self._pushed = False, self.features.shape[:2].numel()
        super()._load_from_state_dict(*args, **kwargs)


def _rank_within_class(
    labels: Int64[Tensor, " batch"], n_classes: int
) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " classes"]]:
    """How many earlier samples of the batch have the same label, and how many samples each class has."""
    one_hot = (labels.unsqueeze(1) == torch.arange(n_classes, device=labels.device)).long()
    before = one_hot.cumsum(dim=0) - one_hot
    return before.gather(1, labels.unsqueeze(1)).squeeze(1), one_hot.sum(dim=0)
