"""When SimCLR has collapsed: every view has the same features, the loss is that of chance, and no gradient leads out.

VGG19 has no batch norm and its inputs are all positive, so the gradients of all weights of a filter have one sign, and
Adam moves all of them by the whole rate. At the published 3e-4 a few updates outgrow the random weights: every filter
becomes a local mean, all views point the same way (mean cosine 1), and at cosine 1 the loss of Chen et al. (2020), eq.
1, is ln(2N - 1) with gradient 0.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from ood_shared import distributed
from ood_shared.errors import InputError
from torch import Tensor

NEAR = 1e-3  # relative distance from ln(2N - 1) that counts as chance
ALIKE = 0.9999  # mean cosine of all pairs of views; a network that has not begun to learn is near chance, too, at 0.99
PATIENCE = 10  # steps


class CollapseWatch:
    """Counts steps without contrast, on the device; `check` waits for the device and stops a run that has collapsed.

    Args:
        device: of the losses.
        rate: learning rate, for the message.
        warmup_steps: of the rate, for the message.
        where: names what holds `lr` and `warmup_steps`, for the message.
    """

    def __init__(self, device: torch.device, rate: float, warmup_steps: int, where: str) -> None:
        self.device, self.rate, self.warmup_steps, self.where = device, rate, warmup_steps, where
        self._stuck = torch.zeros((), dtype=torch.int64, device=device)
        self._longest = torch.zeros_like(self._stuck)
        self._seen, self._chance = 0, 0.0

    @torch.no_grad()
    def add(self, loss: Tensor, zi: Float[Tensor, "n d"], zj: Float[Tensor, "n d"]) -> None:
        """Count one step.

        Args:
            loss: NT-Xent of the step.
            zi: views of length 1.
            zj: the other views.
        """
        self._chance = math.log(2 * len(zi) - 1)
        cosine = torch.cat([zi, zj]).mean(0).square().sum()  # of the mean vector: the mean over all pairs
        chance = ((loss - self._chance).abs() < NEAR * self._chance) & (cosine > ALIKE)  # one pair alone: never
        self._stuck = (self._stuck + 1) * chance
        self._longest = torch.maximum(self._longest, self._stuck)
        self._seen += 1

    def check(self, step: int, now: bool = False) -> None:
        """Stop a run that stood still for `PATIENCE` steps; looks every so many steps only, or `now`.

        Raises:
            InputError: it has collapsed; the message says what to change.
        """
        if not now and self._seen % PATIENCE:
            return
        if distributed.on_any_rank(int(self._longest) >= PATIENCE, self.device):
            raise InputError(
                f"SimCLR has collapsed by step {step}: for {PATIENCE} steps the loss was within {100 * NEAR:g} % of "
                f"ln(2N-1) = {self._chance:.4f}, all views have the same features, and no gradient leads out. Lower lr "
                f"(now {self.rate:g}; 2e-5 works for VGG19) or raise warmup_steps (now {self.warmup_steps}) in "
                f"{self.where}, and begin anew in another --output-dir; what was saved before is kept."
            )

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"stuck": int(self._stuck), "longest": int(self._longest), "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from counts."""
        self._stuck.fill_(int(state["stuck"]))
        self._longest.fill_(int(state["longest"]))
        self._seen = int(state["seen"])
