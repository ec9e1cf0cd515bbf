"""Outliers made of features: VOS and NPOS, drawn around the pooled ID features of each class.

While the pool is not full they are standard normal. Source: Du et al., VOS, ICLR 2022; Tao et al., NPOS, ICLR 2023;
constants as in the published code of ImOOD. Distances are brute force, no search library is needed.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from ood_shared.devices import send
from ood_shared.errors import unknown
from torch import Tensor

from imood.pool import FeaturePool

KINDS = ("VOS", "NPOS")
PER_CLASS = 10
NOISE_SCALE = 2.0


class Outliers:
    """A new set of synthetic outliers for each step: 10 for each class.

    Args:
        kind: `VOS`: class mean plus low-density noise; `NPOS`: a boundary point plus the noise that goes farthest.
    """

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise unknown("--ood_aux_dataset", kind, KINDS)
        self.kind = kind

    @torch.no_grad()
    def __call__(self, pool: FeaturePool | None, generator: torch.Generator) -> Float[Tensor, "rows dim"]:
        """(10 C, D) features on the pool's device."""
        if pool is None:
            raise ValueError("synthetic outliers need the feature pool")
        dim = pool.rows.shape[1]
        if not pool.ready:
            drawn = torch.randn(PER_CLASS * pool.n_classes, dim, generator=generator)
            return send(drawn, pool.rows.device).to(pool.rows)
        size = pool.largest
        factor = torch.linalg.cholesky(_noise_covariance(pool)).to(pool.rows)
        if self.kind == "VOS":
            noise = _noise(factor, PER_CLASS * size, generator)
            rare = (noise @ torch.linalg.inv(factor).T).square().sum(1)  # the larger, the lower the density
            noise = noise[rare.topk(max(PER_CLASS, size // 5)).indices]
            means = (pool.sums / pool.counters.unsqueeze(1)).to(noise)
            order = [torch.randperm(len(noise), generator=generator)[:PER_CLASS] for _ in means]
            chosen = noise[send(torch.stack(order), noise.device)]  # (C, rows, D)
            return (means.unsqueeze(1) + chosen).flatten(0, 1)
        return self._npos(pool, _noise(factor, 2 * size, generator), size, generator)

    def _npos(self, pool: FeaturePool, noise: Tensor, size: int, generator: torch.Generator) -> Tensor:
        rank = int(torch.randint(0, max(1, size // 5), (1,), generator=generator))  # shared by all classes
        drawn = []
        for queue in pool.per_class():
            k = max(1, min(size // 3, len(queue) - 1))
            unit = F.normalize(queue, dim=1)
            within = torch.cdist(unit, unit).kthvalue(min(k + 1, len(queue)), dim=1).values  # the point itself is first
            start = queue[within.argsort(descending=True)[min(rank, len(queue) - 1)]]
            moved = start + noise
            far = torch.cdist(F.normalize(moved, dim=1), unit).kthvalue(min(k, len(queue)), dim=1).values
            drawn.append(moved[far.topk(min(PER_CLASS, len(moved))).indices])
        return torch.cat(drawn)


def _noise_covariance(pool: FeaturePool) -> Tensor:
    """10 X^T X / len(X) + 0.1 in every entry + 1.1 I, X the class-centred pool; float64."""
    eye = torch.eye(pool.rows.shape[1], dtype=torch.float64, device=pool.rows.device)
    return 10 * pool.covariance(ridge=0.0) + 0.1 + 1.1 * eye


def _noise(factor: Tensor, count: int, generator: torch.Generator) -> Tensor:
    drawn = send(torch.randn(count, len(factor), generator=generator), factor.device).to(factor)
    return NOISE_SCALE * (drawn @ factor.T)
