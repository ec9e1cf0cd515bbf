"""Checkpoints under the published names: `epoch`, `optimizer`, `state_dict`; what the weights tell of their network."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints
from ood_shared.errors import InputError
from torch import Tensor, nn

from know_your_space.networks import MODELS, STEM, WideResNet, build_model

BLOCK_LAYERS, STEM_LAYERS = 6, 4  # of a wide residual network of depth 6 n + 4: three stages of n blocks of two layers


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint of the training command or a released one.

    Raises:
        MissingFileError: it is not there.
        InputError: it holds something else.
    """
    state = checkpoints.load(file)
    weights = checkpoints.weights_in(state, file)
    if "fc.weight" not in weights:
        raise InputError(f"{file} has no `state_dict` with `fc.weight`; expected a checkpoint of the training command.")
    return {**state, "state_dict": weights}


def network_of(file: Path) -> nn.Module:
    """The network of a checkpoint, in eval mode.

    Raises:
        InputError: no network of this package.
    """
    return network_of_weights(read_checkpoint(file)["state_dict"], file)


def network_of_weights(weights: Mapping[str, Tensor], source: object) -> nn.Module:
    """The network of weights, in eval mode; which one it is follows from their names and shapes.

    Args:
        weights: with `fc.weight`.
        source: named in errors.

    Raises:
        InputError: no network of this package.
    """
    classes, features = weights["fc.weight"].shape
    if "block1.layer.0.conv1.weight" in weights:
        blocks = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("block1.layer."))
        network: nn.Module = WideResNet(classes, BLOCK_LAYERS * blocks + STEM_LAYERS, features // (4 * STEM), 0.0)
    else:
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        fitting = next(
            (name for name in MODELS if not name.startswith("wrn") and _shapes(name, classes) == shapes), None
        )
        if fitting is None:
            raise InputError(f"{source} holds a network that is not of this package; expected a wide residual one.")
        network = build_model(fitting, classes)
    checkpoints.load_weights(network, weights, source)
    return network.eval()


@cache  # to make the dozen networks takes longer than to read the file
def _shapes(name: str, classes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a network, without making them."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build_model(name, classes).state_dict().items()}
