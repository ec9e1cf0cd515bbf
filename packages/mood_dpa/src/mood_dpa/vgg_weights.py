"""Weights of VGG19: from a file (torchvision's VGG19, its `features`, or SimCLR's), from torchvision, or random.

Random ones have a fixed seed. Random features compare images, too; a warning says that they are not the published
method.
"""

import functools
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mood_dpa.standalone import InputError, MissingFileError, check_weights, one_line, weights_of
from mood_dpa.vgg import CONVS, VGG19, WIDTHS

RANDOM_SEED = 432  # of the published fallback
CLASSIFIER = ((25088, 4096), (4096, 4096), (4096, 1000))  # drawn between the two draws of the convolutions
CHUNK = 2**20


def load_features(
    path: str | Path | None = None, imagenet_pretrained: bool = False, pad_type: str = "zero", quiet: bool = False
) -> VGG19:
    """VGG19 with weights.

    Args:
        path: file of weights; wins over `imagenet_pretrained`.
        imagenet_pretrained: take torchvision's, downloading them when they are not cached.
        pad_type: `zero`, `reflect` or `replication`.
        quiet: do not warn about random weights.

    Raises:
        MissingFileError: `path` is not there, or torchvision's cannot be downloaded.
        InputError: the file does not hold the 32 tensors of VGG19.
    """
    network = VGG19(pad_type)
    names = list(network.state_dict())
    if path is not None:
        weights = read_weights(Path(path), names, network)
    elif imagenet_pretrained:
        from torchvision.models import VGG19_Weights, vgg19

        try:
            features = vgg19(weights=VGG19_Weights.IMAGENET1K_V1).features.state_dict()
        except OSError as error:
            raise MissingFileError(
                f"VGG19's ImageNet weights could not be downloaded ({one_line(error)}). Name a file of them by "
                "path_to_vgg19_weights, or set imagenet_pretrained to false."
            ) from error
        weights = dict(zip(names, features.values(), strict=True))
    else:
        if not quiet:
            print(
                "warning: no VGG19 weights were given (path_to_vgg19_weights); RANDOM features with a fixed seed are "
                "used, which is not the published method. `mood-dpa simclr` trains some; the README compares both.",
                file=sys.stderr,
            )
        weights = random_weights()
    network.load_state_dict(weights)
    return network.eval()


class SharedFeatures:
    """One VGG19 for all models that were trained with the same.

    Args:
        path: file in place of those that the models name; what else they say of VGG19 stays.
        features: VGG19 in place of everything that the models say.
    """

    def __init__(self, path: str | None = None, features: VGG19 | None = None) -> None:
        self.path, self.features = path, features
        self._known: dict[tuple[str | None, bool, str], VGG19] = {}

    def of(self, model: Path, loss_kwargs: Mapping[str, Any]) -> VGG19:
        """The VGG19 of a model.

        Args:
            model: its file, for messages.
            loss_kwargs: of its loss: path_to_vgg19_weights, imagenet_pretrained, pad_type.

        Raises:
            MissingFileError: the file that the model names is not there, or not that of the configuration.
        """
        if self.features is not None:
            return self.features
        stored = loss_kwargs.get("path_to_vgg19_weights") or None
        if self.path is None and stored is not None and not Path(stored).is_file():
            raise MissingFileError(
                f"{model} was trained with the VGG19 weights {stored}, which are missing; put the file there, or name "
                "a copy by path_to_vgg19_weights in the configuration."
            )
        pad_type = str(loss_kwargs.get("pad_type", "zero"))
        key = (self.path or stored, bool(loss_kwargs.get("imagenet_pretrained", False)), pad_type)
        if key not in self._known:
            self._known[key] = load_features(*key)
        return self._known[key]


def read_weights(path: Path, names: list[str], network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a weight file under our names: by their own names where those are known, else by order.

    Raises:
        MissingFileError: the file is not there.
        InputError: fewer than 32 tensors, or one of another shape than its place has.
    """
    if not path.exists():
        raise MissingFileError(
            f"path_to_vgg19_weights {path} is missing. Train the features (`mood-dpa simclr CONFIG`), name another "
            "file, or leave the entry empty for random features."
        )
    tensors = weights_of(path)
    if all(name in tensors for name in names):
        chosen = [tensors[name] for name in names]
    else:
        chosen = list(tensors.values())[: len(names)]
    if len(chosen) < len(names):
        raise InputError(f"{path} holds {len(chosen)} tensors; VGG19's features have {len(names)}.")
    expected: Mapping[str, Tensor] = network.state_dict()
    weights = dict(zip(names, chosen, strict=True))
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise InputError(
                f"{path} is not of VGG19: `{name}` would be {tuple(value.shape)}, expected "
                f"{tuple(expected[name].shape)}."
            )
    check_weights(network, weights, path)
    return {name: value.float() for name, value in weights.items()}


@functools.cache
def random_weights(seed: int = RANDOM_SEED) -> dict[str, Tensor]:
    """The published random fallback: torchvision's VGG19 under seed 432. No generator of torch's own is touched.

    torchvision draws the convolutions, then the classifier, then the convolutions anew; the classifier's numbers are
    drawn into a buffer and dropped.
    """
    draws = torch.Generator().manual_seed(seed)  # its numbers are those of torch.manual_seed(seed)
    shapes, before = [], 3
    for block, _ in CONVS:
        shapes.append((WIDTHS[block - 1][0], before, 3, 3))
        before = shapes[-1][0]
    buffer = torch.empty(CHUNK)
    for width, inputs, *_ in shapes:
        _skip(width * inputs * 9, buffer, draws)
        _skip(width, buffer, draws)
    for inputs, width in CLASSIFIER:
        _skip(width * inputs, buffer, draws)
        _skip(width, buffer, draws)
    weights = {}
    for (block, conv), shape in zip(CONVS, shapes, strict=True):
        scale = math.sqrt(2.0 / (shape[0] * 9))  # Kaiming, fan out, ReLU
        weights[f"conv{block}_{conv}.weight"] = torch.empty(shape).normal_(0, scale, generator=draws)
        weights[f"conv{block}_{conv}.bias"] = torch.zeros(shape[0])
    return weights


def _skip(count: int, buffer: Tensor, draws: torch.Generator) -> None:
    """Advance the generator by so many uniform numbers."""
    while count > 0:
        buffer[: min(count, len(buffer))].uniform_(generator=draws)
        count -= len(buffer)
