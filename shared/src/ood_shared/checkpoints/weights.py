"""State dicts: found in the wrappings that people save them in, and checked before a network takes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ood_shared.checkpoints.storage import load
from ood_shared.errors import InputError, one_line

WRAPPINGS = ("state_dict", "model", "network", "model_state_dict", "net", "weights")  # keys that hold a state dict
PREFIX = "module."  # of a network saved inside DataParallel


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file: bare, or under one of `WRAPPINGS`; a `module.` in front of all names is taken off.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no checkpoint (see `load`), or holds no weights.
    """
    return weights_in(load(path), path)


def weights_in(content: Mapping[str, Any], source: object) -> dict[str, Tensor]:
    """The state dict in what a file holds; as `read_weights`.

    Raises:
        InputError: there are no weights in it; `source` names it.
    """
    state: Any = content
    while not _is_state(state):
        state = next((state[name] for name in WRAPPINGS if isinstance(state.get(name), Mapping)), None)
        if state is None:
            raise InputError(
                f"{source} holds no weights; expected a state dict, or a dictionary with one under `state_dict` or "
                f"`model`. Found: {one_line(', '.join(map(str, content)) or 'nothing', 120)}."
            )
    if all(name.startswith(PREFIX) for name in state):
        return {name.removeprefix(PREFIX): value for name, value in state.items()}
    return dict(state)


def load_weights(module: nn.Module, weights: Mapping[str, Any], source: object) -> None:
    """Load a state dict strictly; errors as `check_weights`."""
    check_weights(module, weights, source)
    module.load_state_dict(dict(weights))


def check_weights(module: nn.Module, weights: Any, source: object) -> None:
    """Refuse a state dict that is not exactly the module's, or not of finite numbers; `source` names it in errors.

    Raises:
        InputError: a key is missing or too many, a shape or the kind of number differs, a value is not finite, or a
            variance of a batch normalisation is negative; the first difference is quoted.
    """
    if not isinstance(weights, Mapping):
        raise InputError(f"{source} holds a {type(weights).__name__} where weights should be.")
    expected = module.state_dict()
    missing = [key for key in expected if key not in weights]
    extra = [key for key in weights if key not in expected]
    if missing or extra:
        difference = f"lacks `{missing[0]}`" if missing else f"has `{extra[0]}`, which the network does not have"
        raise InputError(
            f"{source} does not fit this network: it {difference} ({len(missing)} keys missing, {len(extra)} too many)."
        )
    for key, tensor in expected.items():
        value = weights[key]
        if not isinstance(value, Tensor) or value.shape != tensor.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"{source} does not fit this network: `{key}` is {shape}, expected {tuple(tensor.shape)}.")
        check_tensor(value, tensor, f"{source}: `{key}`")
        if key.rpartition(".")[2] == "running_var" and bool((value < 0).any()):
            raise InputError(f"{source}: `{key}` holds variances below 0. The file is damaged; take another.")


def check_tensor(value: Tensor, like: Tensor, where: str) -> None:
    """Refuse a tensor that could not stand for `like`: another kind of number, not dense, no values, or not finite.

    Raises:
        InputError: it is; `where` names it.
    """
    if value.layout != torch.strided or value.is_quantized:
        kind = "quantized" if value.is_quantized else f"stored as {str(value.layout).removeprefix('torch.')}"
        raise InputError(f"{where} is {kind}; expected a dense tensor.")
    if value.device.type == "meta":
        raise InputError(f"{where} has a shape but no values. Save the weights from a network that has them.")
    if value.is_floating_point() != like.is_floating_point() or value.is_complex() != like.is_complex():
        found, expected = (str(tensor.dtype).removeprefix("torch.") for tensor in (value, like))
        raise InputError(f"{where} is of {found}, expected {expected}.")
    if (value.is_floating_point() or value.is_complex()) and not bool(value.float().isfinite().all()):
        raise InputError(f"{where} holds NaN or an infinity. The training that wrote it had failed; take another file.")


def _is_state(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
