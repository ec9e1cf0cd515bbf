"""Optimizers by torch's fastest implementation of their step, which follows from where the weights lie.

On a CUDA device Adam, AdamW and SGD take one kernel for a whole step (`fused`), the others one for each operation on
all weights (`foreach`); elsewhere torch's own choice stands. Implementations agree up to rounding. A state dict names
the one that wrote it, and torch would take that over. Here a run that changes from a GPU to a CPU, or back, goes on by
the implementation of the device that it has now.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
FUSED = (Adam, AdamW, SGD)  # of torch.optim, those with one kernel for a step
CHOICES = ("fused", "foreach")  # torch's names of the implementations, in an optimizer's groups
CHOSEN = (*CHOICES, "differentiable")  # a caller who names one of these has chosen


def implementation(kind: type[Optimizer], devices: Iterable[torch.device]) -> dict[str, bool]:
    """Which implementation of a step to ask for, as arguments of the optimizer; none where torch's choice stands.

    Args:
        kind: the optimizer.
        devices: of all weights.

    >>> implementation(torch.optim.SGD, [torch.device("cuda", 0)])
    {'fused': True}
    >>> implementation(torch.optim.SGD, [torch.device("cpu")])
    {}
    """
    types = {device.type for device in devices}
    if types != {"cuda"}:
        return {}
    return {"fused": True} if issubclass(kind, FUSED) else {"foreach": True}


def make(kind: type[Kind], parameters: Iterable[Tensor] | Iterable[dict[str, Any]], **settings: Any) -> Kind:
    """An optimizer whose step fits the device of its weights, also when it goes on from a state dict of another one.

    Args:
        kind: of `torch.optim`.
        parameters: on their device already, or groups of them.
        settings: of the optimizer; one that names an implementation is left as it is.
    """
    given: list[Any] = list(parameters)
    weights = [weight for part in given for weight in (part["params"] if isinstance(part, dict) else [part])]
    if not any(name in settings for name in CHOSEN):
        settings |= implementation(kind, [weight.device for weight in weights])
    optimizer = kind(given, **settings)
    optimizer.register_load_state_dict_pre_hook(_keep_implementation)
    return optimizer


def _keep_implementation(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
    """The state dict with this optimizer's implementation, which also says where torch puts the counts of steps."""
    groups, stored = optimizer.param_groups, state["param_groups"]
    if len(groups) != len(stored):
        return None  # torch says so
    kept = [{name: group[name] for name in CHOICES if name in group} for group in groups]
    changed = [
        {name: value for name, value in old.items() if name not in CHOICES} | own
        for old, own in zip(stored, kept, strict=True)
    ]
    return {**state, "param_groups": changed}
