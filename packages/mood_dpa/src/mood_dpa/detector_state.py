"""An autoencoder of images as data, for `ood_shared.model_file`: both networks, and of VGG19 what its loss looks at.

Random features are kept like trained ones: a file does not hang on how a version draws them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from ood_shared.checkpoints import check_weights
from ood_shared.detector_state import State
from ood_shared.errors import InputError
from ood_shared.process import PRECISIONS
from torch import Tensor

from mood_dpa.checkpoints import Model, build_families
from mood_dpa.detector import ImageDetector
from mood_dpa.losses import make_loss, uses_layers
from mood_dpa.vgg import PADS, VGG19, convolutions_of

KIND = "mood_dpa"  # of a file; the name of the entry point
NETWORK = ("latent_res", "latent_dim", "image_dim", "enc", "dec")  # of a configuration: what the weights follow from
LOCAL = ("path_to_vgg19_weights", "imagenet_pretrained")  # of its loss: where features came from
STAGE, MOST_SIDE = "stab", 1024


def state_of(detector: ImageDetector) -> State:
    """The detector as data.

    Raises:
        InputError: a model inside a transition between two resolutions, or one of volumes.
    """
    model = detector.model
    config, stage = model.config, getattr(model.loss, "stage", STAGE)
    if stage != STAGE or config.get("mode_3d"):
        raise InputError("Only an autoencoder of images after a stage `stab` can be kept in a file.")
    entry = config["image_rec_loss"]
    kwargs = {name: value for name, value in (entry.get("loss_kwargs") or {}).items() if name not in LOCAL}
    settings = {
        **{name: config[name] for name in NETWORK},
        "loss_type": entry["loss_type"],
        "loss_kwargs": kwargs,
        "resolution": model.resolution,
        "native": detector.native,
        "precision": detector.precision,
    }
    tensors = {f"enc.{name}": value for name, value in model.encoder.state_dict().items()}
    tensors |= {f"dec.{name}": value for name, value in model.decoder.state_dict().items()}
    features = getattr(model.loss, "model", None)
    if features is not None:
        for name in convolutions_of(_layers(kwargs)):
            layer = getattr(features, name)
            tensors |= {f"vgg.{name}.weight": layer.weight, f"vgg.{name}.bias": layer.bias}
    return State(KIND, detector.classes, settings, tensors)


def restore(state: State, device: torch.device) -> ImageDetector:
    """The detector of a file.

    Raises:
        InputError: what the file holds makes none.
    """
    config = {name: state.settings[name] for name in NETWORK}
    resolution = state.number("resolution")
    if resolution not in [2**power for power in range(2, MOST_SIDE.bit_length())]:
        raise InputError(f"`resolution` is {resolution}, expected a power of two up to {MOST_SIDE}.")
    side = int(resolution)
    with torch.device("meta"):  # sizes that the weights do not have would fill the memory
        for family, prefix in zip(build_families(config), ("enc.", "dec."), strict=True):
            check_weights(family.net(STAGE, side), state.below(prefix), f"`{prefix[:3]}`")
    encoders, decoders = build_families(config)
    encoder = state.fill(encoders.net(STAGE, side), "enc.").requires_grad_(False)
    decoder = state.fill(decoders.net(STAGE, side), "dec.").requires_grad_(False)
    kwargs = {name: value for name, value in dict(state.settings["loss_kwargs"]).items() if name not in LOCAL}
    config["image_rec_loss"] = {"loss_type": state.settings["loss_type"], "loss_kwargs": kwargs}
    loss = make_loss(str(state.settings["loss_type"]), kwargs, _features(state, kwargs))
    loss.set_stage(STAGE, side)
    loss.set_progress(1.0)
    native = state.native()
    if native is None:
        raise InputError("`native` is null, expected [height, width].")
    model = Model(encoder, decoder, loss.eval(), side, config).to(device)
    return ImageDetector(model, native, precision=state.word("precision", PRECISIONS), classes=state.classes)


def _features(state: State, kwargs: Mapping[str, Any]) -> VGG19 | None:
    if not uses_layers(kwargs):
        return None
    pad = kwargs.get("pad_type", "zero")
    if pad not in PADS:
        raise InputError(f"`pad_type` is {pad!r}, expected one of {', '.join(PADS)}.")
    network = VGG19(pad)
    weights: dict[str, Tensor] = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for name in convolutions_of(_layers(kwargs)):
        for part in (f"{name}.weight", f"{name}.bias"):
            weights[part] = state.tensor(f"vgg.{part}", *weights[part].shape)
    network.load_state_dict(weights)
    return network.eval()


def _layers(kwargs: Mapping[str, Any]) -> list[str]:
    entries = (kwargs.get("weights_per_resolution") or {}).values()
    return [name for entry in entries for name in (entry or {}).get("feature_weights") or {}]
