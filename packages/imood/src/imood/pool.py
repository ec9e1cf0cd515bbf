"""First-in-first-out pools of ID features per class, and the Mahalanobis value of a feature against them.

    d(x) = min_c (x - mu_c)^T Sigma^-1 (x - mu_c),   Sigma = X^T X / len(X) + 1e-4 I,

X the pooled vectors minus the mean of their class. Sums and second moments follow the queues, so that a step costs one
D x D factorisation instead of a pass over the pool. Source: Lee et al., NeurIPS 2018; pool as in the published code.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from torch import Tensor

RIDGE = 1e-4


class FeaturePool:
    """One ring of feature vectors for each class.

    Args:
        capacities: vectors that each class holds. All equal to the largest class size in the published code; here by
            default the size of the class itself.
        dim: length of a vector.
        device: where the vectors lie.
        dtype: of the vectors; sums are kept in float64.
    """

    def __init__(
        self,
        capacities: Sequence[int],
        dim: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.capacities = torch.tensor([max(1, int(c)) for c in capacities], device=device)
        self.starts = torch.cumsum(self.capacities, 0) - self.capacities
        self.rows = torch.zeros(int(self.capacities.sum()), dim, device=device, dtype=dtype)
        self.heads = torch.zeros_like(self.capacities)  # slot of the next vector of each class
        self.counters = torch.zeros_like(self.capacities)
        self.sums = torch.zeros(len(self.capacities), dim, device=device, dtype=torch.float64)
        self.moments = torch.zeros(dim, dim, device=device, dtype=torch.float64)
        self._largest, self._most = max(1, *map(int, capacities)), 0  # capacity; what a class holds at most by now
        self._ready = False
        self._frame: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.capacities)

    @property
    def largest(self) -> int:
        """The largest capacity."""
        return self._largest

    @property
    def ready(self) -> bool:
        """Whether every class is full. The device is asked only from when it may be so until it is so."""
        if not self._ready and self._most >= self._largest:
            self._ready = bool((self.counters == self.capacities).all())
        return self._ready

    @torch.no_grad()
    def update(self, features: Float[Tensor, "n dim"], labels: Int64[Tensor, " n"]) -> None:
        """Put the first row of each class in the batch at the end of its queue; the other rows do not count."""
        if not len(labels):
            return
        self._most += 1  # no class takes more than one
        n = len(labels)
        places = torch.arange(n, device=labels.device)
        first = torch.full_like(self.capacities, n).scatter_reduce_(0, labels, places, "amin")  # (C,)
        present = first < n
        slots = self.starts + self.heads
        old = self.rows[slots]
        new = torch.where(present.unsqueeze(1), features.detach().to(old.dtype)[first.clamp(max=n - 1)], old)
        self.rows[slots] = new
        before, after = old.double(), new.double()
        self.sums += after - before
        self.moments += after.T @ after - before.T @ before
        self.heads = torch.where(present, (self.heads + 1) % self.capacities, self.heads)
        self.counters = torch.where(present, torch.minimum(self.counters + 1, self.capacities), self.counters)
        self._frame = None

    @torch.no_grad()
    def fill(self, features: Float[Tensor, "n dim"], labels: Int64[Tensor, " n"]) -> None:
        """Put every row in its queue, in order, as one `update` for each row would; for pools built after training."""
        for c in range(self.n_classes):
            own = features[labels == c].to(self.rows)
            if len(own):
                kept = torch.cat([self._in_order(c), own])[-int(self.capacities[c]) :]
                self._set(c, kept)
        self._refresh()

    def distances(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n 1"]:
        """d of each row, 0 or more; the gradient flows through the features only. Classes without vectors are ignored.

        Raises:
            InputError: the pool is empty.
        """
        whiten, means, centre = self._whitened()
        white = (features - centre.to(features)) @ whiten.to(features)  # (n, dim)
        means = means.to(features)
        squares = white.square().sum(1, keepdim=True) + means.square().sum(1) - 2 * white @ means.T  # (n, classes)
        return squares.clamp(min=0).amin(dim=1, keepdim=True)

    def training_distances(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n 1"]:
        """As `distances`, and zero until the pool is ready."""
        return self.distances(features) if self.ready else features.new_zeros(len(features), 1)

    def covariance(self, ridge: float = RIDGE) -> Float[Tensor, "dim dim"]:
        """Sigma, float64."""
        counts = self.counters.clamp(min=1).unsqueeze(1)
        means = self.sums / counts
        total = self.counters.sum().clamp(min=1)
        eye = torch.eye(len(self.moments), dtype=torch.float64, device=self.moments.device)
        return (self.moments - (means * counts).T @ means) / total + ridge * eye

    def queue(self) -> Float[Tensor, "classes capacity dim"]:
        """All queues as one tensor, zeros in front of what is not filled, the newest vector last."""
        largest = int(self.capacities.max())
        out = self.rows.new_zeros(self.n_classes, largest, self.rows.shape[1])
        for c in range(self.n_classes):
            own = self._in_order(c)
            out[c, largest - len(own) :] = own
        return out

    def per_class(self) -> list[Float[Tensor, "filled dim"]]:
        """The vectors of each class, oldest first."""
        return [self._in_order(c) for c in range(self.n_classes)]

    @property
    def queue_bytes(self) -> int:
        """Size of `queue`."""
        return self.n_classes * int(self.capacities.max()) * self.rows.shape[1] * self.rows.element_size()

    def load_queue(self, queue: Float[Tensor, "classes capacity dim"]) -> None:
        """Take over queues as `queue` gives them; occupied slots are counted anew, excess ones left out at the end.

        Raises:
            InputError: another number of classes or another length of the vectors.
        """
        check_queue(queue, self.n_classes, self.rows.shape[1])
        largest = int(self.capacities.max())
        for c in range(self.n_classes):
            own = queue[c, :largest]
            own = own[(own != 0).any(dim=1)]
            self._set(c, own[-int(self.capacities[c]) :].to(self.rows))
        self._refresh()

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a resumed run that continues to the bit."""
        names = ("rows", "heads", "counters", "capacities", "sums", "moments")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            InputError: the capacities or the length of the vectors differ.
        """
        if not torch.equal(state["capacities"].cpu(), self.capacities.cpu()) or state["rows"].shape != self.rows.shape:
            raise InputError("The saved feature pool has other capacities or features. Resume with the same settings.")
        for name in ("rows", "heads", "counters", "sums", "moments"):
            setattr(self, name, state[name].to(self.rows.device))
        self._ready, self._frame, self._most = False, None, self._largest

    def _whitened(self) -> tuple[Tensor, Tensor, Tensor]:
        """W with Sigma^-1 = W W^T, the whitened class means, and the centre that is subtracted before; float64."""
        if self._frame is None:
            filled = self.counters > 0
            if not bool(filled.any()):
                raise InputError("The feature pool is empty; there is nothing to measure a distance to.")
            means = self.sums[filled] / self.counters[filled].unsqueeze(1)
            centre = means.mean(dim=0)
            factor = torch.linalg.cholesky(self.covariance())
            eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
            whiten = torch.linalg.solve_triangular(factor, eye, upper=False).T
            self._frame = whiten, (means - centre) @ whiten, centre
        return self._frame

    def _in_order(self, c: int) -> Tensor:
        """The vectors of a class, oldest first."""
        start, capacity = int(self.starts[c]), int(self.capacities[c])
        count, head = int(self.counters[c]), int(self.heads[c])
        ring = self.rows[start : start + capacity]
        return ring[:count] if count < capacity else torch.roll(ring, -head, 0)

    def _set(self, c: int, kept: Tensor) -> None:
        start, capacity = int(self.starts[c]), int(self.capacities[c])
        self.rows[start : start + capacity] = 0
        self.rows[start : start + len(kept)] = kept
        self.counters[c] = len(kept)
        self.heads[c] = len(kept) % capacity

    def _refresh(self) -> None:
        """Sums and moments from the vectors."""
        owner = torch.repeat_interleave(torch.arange(self.n_classes, device=self.rows.device), self.capacities)
        self.sums.zero_().index_add_(0, owner, self.rows.double())
        self.moments.zero_()
        for chunk in self.rows.split(8192):
            wide = chunk.double()
            self.moments += wide.T @ wide
        self._ready, self._frame, self._most = False, None, self._largest


def pool_of_queue(
    queue: Float[Tensor, "classes capacity dim"], counts: Sequence[int], dim: int, device: torch.device
) -> FeaturePool:
    """The pool of a test from stored queues: of each class what is occupied, no more than the largest class has.

    Raises:
        InputError: another number of classes or another length of the vectors.
    """
    check_queue(queue, len(counts), dim)
    queue = queue[:, : max(counts)].to(device)
    occupied = (queue != 0).any(dim=2)  # (C, slots)
    pool = FeaturePool(occupied.sum(1).tolist(), dim, device)
    pool.fill(queue[occupied], occupied.nonzero()[:, 0])
    return pool


def pool_of_state(state: State, n_classes: int, dim: int, device: torch.device) -> FeaturePool:
    """The pool below `pool.` in a detector's file, as `FeaturePool.state_dict` gave it.

    Raises:
        InputError: it is missing, or its parts do not fit each other.
    """
    names = {"capacities": (n_classes,), "heads": (n_classes,), "counters": (n_classes,), "sums": (n_classes, dim)}
    shapes: dict[str, tuple[int | None, ...]] = {**names, "rows": (None, dim), "moments": (dim, dim)}
    stored = {name: state.tensor(f"pool.{name}", *shape) for name, shape in shapes.items()}
    capacities, heads, counters = (stored[name] for name in ("capacities", "heads", "counters"))
    inside = (heads >= 0) & (heads < capacities) & (counters >= 0) & (counters <= capacities)
    if not bool(inside.all()) or int(capacities.sum()) != len(stored["rows"]):
        raise InputError(f"`pool` has {len(stored['rows'])} rows, expected {capacities.tolist()} in use by class.")
    pool = FeaturePool(capacities.tolist(), dim, device, stored["rows"].dtype)
    pool.load_state_dict(stored)
    return pool


def check_queue(queue: Tensor, n_classes: int, dim: int) -> None:
    """Refuse queues of another number of classes or another length of the vectors.

    Raises:
        InputError: says both shapes.
    """
    if queue.dim() != 3 or (queue.shape[0], queue.shape[2]) != (n_classes, dim):
        raise InputError(
            f"The feature pool has shape {tuple(queue.shape)}; expected ({n_classes}, slots, {dim}) for this network "
            "and these classes."
        )


def capacities_of(counts: Sequence[int], rule: str) -> list[int]:
    """Capacity of each class: its own size (`per_class`), or that of the largest (`max`, as published)."""
    return list(counts) if rule == "per_class" else [max(counts)] * len(counts)
