"""Networks from config blocks, and the authors' checkpoints into them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints
from ood_shared.errors import InputError, MissingFileError, unknown
from ood_shared.files import read_yaml
from ood_shared.notes import say
from torch import Tensor, nn

from ascood import config as configs
from ascood.data.sources import Suite
from ascood.heads import ASCOODNet, T2FNormNet
from ascood.networks import BACKBONES, make_backbone

WRAPPERS = ("ascood_net", "t2fnorm_net")
WRAPPER_NAMES = ("ASCOODNet", "T2FNormNet")  # of --wrapper-net
WRAP = "Pass --wrapper-net ASCOODNet (or T2FNormNet)."
PUBLISHED = {
    "resnet18-f37072fd.pth": "torchvision's ResNet18_Weights.IMAGENET1K_V1",
    "resnet50_imagenet1k_v1.pth": "torchvision's ResNet50_Weights.IMAGENET1K_V1 (resnet50-0676ba61.pth)",
    "resnet50-0676ba61.pth": "torchvision's ResNet50_Weights.IMAGENET1K_V1",
}


@dataclass(frozen=True)
class NetworkSettings:
    """A `network` block.

    Attributes:
        name: of `BACKBONES` or `WRAPPERS`.
        backbone: inside a wrapper.
        checkpoint: pretrained weights; None for fresh ones.
    """

    name: str
    backbone: "NetworkSettings | None" = None
    checkpoint: Path | None = None

    @classmethod
    def of(cls, block: Any, key: str = "network") -> "NetworkSettings":
        """Of the block that stands under a key of the config.

        Raises:
            InputError: it is not there, or its name is not known.
        """
        if not isinstance(block, Mapping):
            raise InputError("The config lacks `network`. Put a file of configs/networks into --config.")
        name, inner = str(block.get("name")), block.get("backbone")
        if name in WRAPPERS and not isinstance(inner, Mapping):
            raise InputError(f"{key}.name {name} needs the block `{key}.backbone`.")
        if name not in (*BACKBONES, *WRAPPERS):
            raise unknown(f"{key}.name", name, (*BACKBONES, *WRAPPERS))
        if block.get("pretrained") and str(block.get("checkpoint")).lower() == "none":
            raise InputError(f"{key}.pretrained needs a file of weights: name it by {key}.checkpoint.")
        checkpoint = Path(str(block.get("checkpoint"))) if block.get("pretrained") else None
        return cls(name, cls.of(inner, f"{key}.backbone") if name in WRAPPERS else None, checkpoint)


def make_network(settings: NetworkSettings, num_classes: int) -> nn.Module:
    """The network of a `network` block, with pretrained weights where it asks for them.

    Args:
        settings: of the block.
        num_classes: of the data set.

    Raises:
        InputError: a checkpoint that is absent or of which no weight fits.
    """
    if settings.backbone is None:
        network: nn.Module = make_backbone(settings.name, num_classes)
    else:
        backbone = make_network(settings.backbone, num_classes)
        network = ASCOODNet(backbone) if settings.name == "ascood_net" else T2FNormNet(backbone, num_classes)
    if settings.checkpoint is not None:
        load_pretrained(network, settings.checkpoint)
    return network


def wrap(backbone: nn.Module, wrapper: str | None, num_classes: int) -> nn.Module:
    """The backbone inside the network that `--wrapper-net` names."""
    if wrapper is None:
        return backbone
    return ASCOODNet(backbone) if wrapper == "ASCOODNet" else T2FNormNet(backbone, num_classes)


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Load what fits by name; where a shape clashes, all but `fc.weight` and `fc.bias`.

    So ImageNet weights enter a backbone with another number of classes, and the last layer stays fresh.

    Raises:
        MissingFileError: the file is not there; the message says which weights are meant.
        InputError: no weight has a name of the network, or a shape clashes elsewhere.
    """
    if not path.is_file():
        meant = PUBLISHED.get(path.name)
        hint = f" It is {meant}; save its state_dict there." if meant else ""
        raise MissingFileError(
            f"Pretrained weights {path} are missing.{hint} "
            "Or train from scratch with --network.backbone.pretrained False."
        )
    weights = checkpoints.read_weights(path)
    state = network.state_dict()
    fitting = {key: value for key, value in weights.items() if key in state and isinstance(value, Tensor)}
    if not fitting:
        raise InputError(f"{path} holds no weight of this network; its first key is `{next(iter(weights), '')}`.")
    if any(value.shape != state[key].shape for key, value in fitting.items()):
        for key in ("fc.weight", "fc.bias", "backbone.fc.weight", "backbone.fc.bias"):
            fitting.pop(key, None)
    for key, value in fitting.items():
        if value.shape != state[key].shape:
            raise InputError(f"{path}: `{key}` is {tuple(value.shape)}; the network has {tuple(state[key].shape)}.")
        checkpoints.check_tensor(value, state[key], f"{path}: `{key}`")
    network.load_state_dict(fitting, strict=False)


def load_strictly(network: nn.Module, path: Path, wrapper: str | None, advice: str = WRAP) -> None:
    """Load a run's checkpoint by its key names.

    Args:
        network: takes the weights.
        path: of the checkpoint.
        wrapper: name of the head around the backbone.
        advice: what to do about weights with a head that was not asked for.

    Raises:
        InputError: a key or shape differs; where the wrapper is the reason, the message says so.
    """
    weights = checkpoints.read_weights(path)
    wrapped = any(key.startswith("backbone.") for key in weights)
    if wrapped != (wrapper is not None):
        told = advice if wrapped else "Leave --wrapper-net out."
        raise InputError(f"{path} was {'' if wrapped else 'not '}trained with a head around the backbone. {told}")
    if wrapper == "ASCOODNet" and "tau" in weights:
        raise InputError(f"{path} is of a T2FNormNet. Pass --wrapper-net T2FNormNet.")
    if wrapper == "T2FNormNet" and "sigma" in weights:
        raise InputError(f"{path} is of an ASCOODNet. Pass --wrapper-net ASCOODNet.")
    checkpoints.load_weights(network, weights, path)


def open_run(weights: Path, network: str | None, wrapper: str | None, suite: Suite, device: torch.device) -> nn.Module:
    """The network of a run with its best weights, in evaluation mode.

    Args:
        weights: of the run; config.yml lies beside them.
        network: name of the backbone; None takes that of config.yml, or of the suite.
        wrapper: name of the head around it, if any.
        suite: gives the number of classes.
        device: of the network.
    """
    config = read_config(weights.parent)
    trained = configs.get(config or {}, "dataset.name")
    if trained is not None and trained != suite.name:
        say([f"{weights.parent} was trained on {trained}, the ID set is {suite.name}; do their classes agree?"])
    name = network or backbone_in_config(config) or suite.network
    made = wrap(make_backbone(name, suite.classes), wrapper, suite.classes)
    load_strictly(made, weights, wrapper)
    return to_device(made, device).eval()


def read_config(folder: Path) -> dict[str, Any] | None:
    """A run's config.yml; None without a readable one (the published ones are not plain), which one line says."""
    path = folder / "config.yml"
    if not path.is_file():
        return None
    try:
        config = read_yaml(path)
    except InputError as error:
        say([f"{path} is not read: {error}"])
        return None
    return config if isinstance(config, dict) else None


def backbone_in_config(config: Mapping[str, Any] | None) -> str | None:
    """The backbone that a run's config names; None when it names none."""
    for key in ("network.backbone.name", "network.name"):
        name = configs.get(config or {}, key)
        if name in BACKBONES:
            return str(name)
    return None


def identity_of(weights: Path, network: nn.Module, wrapper: str | None) -> dict[str, Any]:
    """What a network is, for fingerprints: hash of its weights and its kind."""
    backbone = getattr(network, "backbone", network)
    name = f"{type(network).__name__}({type(backbone).__name__})"
    return {"weights": checkpoints.sha256(weights), "wrapper": wrapper, "name": name}


def parameter_groups(network: nn.Module, lr: float, fc_lr_factor: float) -> list[dict[str, Any]]:
    """All parameters but the last two in registration order at `lr`, those two (the last layer) at fc_lr_factor lr."""
    parameters = list(network.parameters())
    return [{"params": parameters[:-2], "lr": lr}, {"params": parameters[-2:], "lr": fc_lr_factor * lr}]


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on its device in channels_last, in which convolutions are faster (on a CPU core up to 1.4 times)."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
