"""Weights from this code's and from published checkpoints, without running what a file might hold.

Old checkpoints keep NumPy numbers in their histories: exactly the types that rebuild those are allowed besides tensors.
Prefixes of wrappers are taken off, and heads of other methods that do not fit are left out by name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from ood_shared import checkpoints
from ood_shared.backbone import NETWORKS as COMMON_NETWORKS
from ood_shared.errors import InputError
from ood_shared.files import atomic_path
from torch import Tensor, nn

from imood.networks import WIDTH, Network, build
from imood.scores import fitting

CLASSIFIERS = ("linear", "fc")
HEADS = ("aux_linear.", "projection.", "lambda_linear.", "cl_loss_weights")
MAX_QUEUE_BYTES = 2 << 30  # a larger feature queue (ImageNet has 10 GB) is in the full checkpoint only
LATEST, BEST, FEATURES, PLAIN_FEATURES = "latest.pth", "best_clean_acc.pth", "id_feats.pth", "id_feat_plain.pt"


class Form(NamedTuple):
    """What a state dict says about its network."""

    n_outputs: int
    width: int
    bottleneck: bool


def form_of(state: Mapping[str, Tensor], source: object) -> Form:
    """Outputs of the classifier, channels of the first stage, and whether it is a ResNet50.

    Raises:
        InputError: there is no classifier, or the network is one of `ood-bench`, whose weights do not say enough.
    """
    if {"conv.weight", "fc.weight"} <= set(state) and "conv1.weight" not in state:
        raise InputError(
            f"{source} holds a common network ({' or '.join(COMMON_NETWORKS)}) of imood.fit or a bench. Pass the "
            "folder that was written with it to imood.load: it says the classes and how images are prepared."
        )
    classifier = next((state[f"{name}.weight"] for name in CLASSIFIERS if f"{name}.weight" in state), None)
    if classifier is None or "conv1.weight" not in state:
        raise InputError(f"{source} has no classifier `linear` or `fc`; it is not a checkpoint of this method.")
    if not classifier.numel() or not state["conv1.weight"].numel():
        raise InputError(
            f"{source} has a classifier or first layer of no width; it is not a checkpoint of this method."
        )
    return Form(
        len(classifier), len(state["conv1.weight"]) if "linear.weight" in state else WIDTH, "fc.weight" in state
    )


def architecture_of(state: Mapping[str, Tensor], form: Form) -> str:
    """ResNet18, ResNet34 or ResNet50, by the number of blocks."""
    if form.bottleneck:
        return "ResNet50"
    return "ResNet34" if "layer1.2.conv1.weight" in state else "ResNet18"


def load_network(path: Path, model: str | None, n_classes: int) -> tuple[Network, list[str]]:
    """The network of a checkpoint, in eval mode on the CPU, and lines about what did not fit.

    Args:
        path: of the file.
        model: name of the network; None reads it from the weights.
        n_classes: C.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is damaged or hostile, or of another network.
    """
    state = checkpoints.read_weights(path)
    if model in COMMON_NETWORKS:
        network = build(model, n_classes, len(state["fc.weight"]) if "fc.weight" in state else n_classes)
        return network.eval(), load_into(network, state, path, n_classes)
    form = form_of(state, path)
    model = model or architecture_of(state, form)
    if form.bottleneck != (model == "ResNet50"):
        stored = "ResNet50" if form.bottleneck else "ResNet18 or ResNet34"
        raise InputError(f"{path} is of a {stored}, --model is {model}. Pass --model {stored.split()[0]}.")
    network = build(model, n_classes, form.n_outputs, form.width)
    notes = load_into(network, state, path, n_classes)
    return network.eval(), notes


def load_into(network: Network, state: Mapping[str, Tensor], source: object, n_classes: int) -> list[str]:
    """Load what fits, and return a line for everything that did not.

    Missing and additional keys are tolerated and listed, auxiliary heads of another shape are left out.

    Raises:
        InputError: the classifier or the trunk has another shape; says which metrics fit.
    """
    own, kept, notes = network.state_dict(), {}, []
    for name, value in state.items():
        if name not in own:
            if name == "cl_loss_weights":
                network.register_buffer("cl_loss_weights", value.clone())
            else:
                notes.append(f"{source}: `{name}` is not part of this network and was left out.")
        elif value.shape == own[name].shape:
            checkpoints.check_tensor(value, own[name], f"{source}: `{name}`")
            kept[name] = value
        elif name.startswith(HEADS):
            shapes = f"{tuple(value.shape)} instead of {tuple(own[name].shape)}"
            notes.append(f"{source}: `{name}` has shape {shapes} and was left out.")
        else:
            raise _misfit(name, value, own[name], source, n_classes)
    missing = [name for name in own if name not in state and name != "cl_loss_weights"]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        trunk = [name for name in missing if not name.startswith(HEADS)]
        if trunk:
            raise InputError(f"{source} does not fit this network: it lacks `{trunk[0]}`{more}. See --model.")
        notes.append(f"{source} lacks `{missing[0]}`{more}; the initial values stay.")
    network.load_state_dict(kept, strict=False)
    return notes


def read_features(folder: Path) -> tuple[Tensor, str] | None:
    """The feature queue of a folder and the name of its file; None when there is none.

    Raises:
        InputError: the file holds no tensor.
    """
    for name in (FEATURES, PLAIN_FEATURES):
        if (folder / name).is_file():
            queue = checkpoints.load_value(folder / name)
            if not isinstance(queue, Tensor):
                raise InputError(f"{folder / name} holds a {type(queue).__name__}; expected the queue as one tensor.")
            checkpoints.check_tensor(queue, torch.empty(0), str(folder / name))
            return queue, name
    return None


def save_tensor(path: Path, value: Tensor) -> None:
    """Write a bare tensor, atomically; the same tensor gives the same bytes, as the name is not part of them."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(value, file)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a bare state dict, atomically."""
    checkpoints.save(path, network.state_dict())


def _misfit(name: str, value: Tensor, own: Tensor, source: object, n_classes: int) -> InputError:
    if name.split(".")[0] in CLASSIFIERS:
        metrics = ", ".join(fitting(len(value), n_classes))
        advice = (
            f"Test it with --ood_metric {metrics}." if metrics else f"It was trained on other than {n_classes} classes."
        )
        return InputError(f"{source} has a classifier of {len(value)} outputs, this run needs {len(own)}. {advice}")
    return InputError(
        f"{source} does not fit this network: `{name}` is {tuple(value.shape)}, expected {tuple(own.shape)}. "
        "See --model."
    )
