"""Trained models: built from a configuration, written and read under the published keys."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mood_dpa.data.record import Origin, origin_of
from mood_dpa.layers import Layers
from mood_dpa.losses import PlainLoss, make_loss
from mood_dpa.networks import DecoderFamily, EncoderFamily, StageNet
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.standalone import InputError, check_weights, load_checkpoint, reading
from mood_dpa.vgg import VGG19

Loss = PerceptualLoss | PlainLoss
MODEL_KEYS = ("config", "stage", "resolution", "enc", "dec")
AXIS = "axis"  # in the configuration of a model of `fit` or the bench: the slicing axis


@dataclass
class Model:
    """A trained autoencoder and its loss, for scoring.

    Attributes:
        encoder, decoder: in eval mode.
        loss: compares real slices with reconstructed ones; map reduction is chosen by the caller.
        resolution: pixels per side that the networks take.
        config: of the training.
        origin: how the training's volumes were rescaled, and where their axes pointed, as far as the file tells.
    """

    encoder: StageNet
    decoder: StageNet
    loss: Loss
    resolution: int
    config: Mapping[str, Any]
    origin: Origin = field(default_factory=Origin)

    @property
    def axis(self) -> int | None:
        """The axis that the training's slices were cut along; None where the file does not tell it."""
        told = self.config.get(AXIS)
        return self.origin.slicing if told is None else told

    def to(self, device: torch.device) -> "Model":
        """All parts on a device, in the memory format that is faster there."""
        for part in (self.encoder, self.decoder, self.loss):
            lay_out(part.to(device), device)
        return self

    def reconstruct(self, images: Tensor) -> Tensor:
        """(n, c, R, R) -> (n, c, R, R)."""
        rebuilt: Tensor = self.decoder(self.encoder(images))
        return rebuilt


def lay_out(part: nn.Module, device: torch.device) -> None:
    """Convolutions of slices channels last, where that is faster: on CUDA and, by a quarter to a third, on CPUs.

    SimCLR's step is the exception: with 512 channels of 2 x 2 pixels it is slower so on a CPU.
    """
    if device.type in ("cuda", "cpu") and not any(p.ndim == 5 for p in part.parameters()):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def build_families(config: Mapping[str, Any]) -> tuple[EncoderFamily, DecoderFamily]:
    """Encoders and decoders of every stage that a training configuration describes."""
    dims = 3 if config.get("mode_3d") else 2
    common = {name: config[name] for name in ("latent_res", "latent_dim", "image_dim")}
    encoder, decoder = config["enc"], config["dec"]
    options = {name: encoder["kwargs"][name] for name in ("pool",) if name in encoder["kwargs"]}
    encoders = EncoderFamily(
        encoder["type"], list(encoder["kwargs"]["inner_dims"]), **common, layers=_layers(encoder, dims), **options
    )
    options = {name: decoder["kwargs"][name] for name in ("upsample_mode",) if name in decoder["kwargs"]}
    decoders = DecoderFamily(
        decoder["type"], list(decoder["kwargs"]["inner_dims"]), **common, layers=_layers(decoder, dims), **options
    )
    return encoders, decoders


def note_ignored_options(config: Mapping[str, Any]) -> None:
    """Warn about entries of a configuration that have no effect, as in the published program."""
    if config["dec"]["kwargs"].get("normalize_latents"):
        print("warning: dec.kwargs.normalize_latents has no effect and never had.", file=sys.stderr)
    lowest = 4 if config["latent_res"] == 1 else config["latent_res"]
    used = (config["max_image_res"] // lowest).bit_length()
    for side, which in (("enc", "first"), ("dec", "last")):
        surplus = len(config[side]["kwargs"]["inner_dims"]) - used
        if surplus > 0:
            print(
                f"warning: {side}.kwargs.inner_dims has {surplus} entries too many; the {which} are not used.",
                file=sys.stderr,
            )


def load_model(
    path: Path,
    test_loss: Mapping[str, Any] | None = None,
    vgg_path: str | None = None,
    features: VGG19 | None = None,
    volumes: bool = False,
    choose_features: Callable[[Path, Mapping[str, Any]], VGG19 | None] | None = None,
) -> Model:
    """A trained model.

    Args:
        path: `anomaly_detection*.tar`, of this program or of the published one.
        test_loss: {loss_type, loss_kwargs} in place of the stored loss.
        vgg_path: VGG19 weights in place of the stored path.
        features: VGG19 in place of a file.
        volumes: compare slices as parts of one volume (3D mode).
        choose_features: gives VGG19 for the path of the model and the arguments of its loss, in place of `features`.

    Raises:
        MissingFileError: the model or its VGG19 weights are not there.
        InputError: the file is of something else.
    """
    state = load_checkpoint(path)
    lacking = [key for key in MODEL_KEYS if key not in state]
    if lacking:
        raise InputError(f"{path} is no trained model: it lacks `{lacking[0]}`.")
    with reading(path, "trained model", "Take another file."):
        return _model_of(state, path, test_loss, vgg_path, features, volumes, choose_features)


def _model_of(
    state: Mapping[str, Any],
    path: Path,
    test_loss: Mapping[str, Any] | None,
    vgg_path: str | None,
    features: VGG19 | None,
    volumes: bool,
    choose_features: Callable[[Path, Mapping[str, Any]], VGG19 | None] | None,
) -> Model:
    """The model of a file's content; arguments as of `load_model`."""
    config, stage, res = state["config"], str(state["stage"]), int(state["resolution"])
    encoders, decoders = build_families(config)
    encoder, decoder = encoders.net(stage, res), decoders.net(stage, res)
    for net, name in ((encoder, "enc"), (decoder, "dec")):
        _load_net(net, state[name], path, name)
    entry = test_loss or config["image_rec_loss"]
    kwargs = dict(entry.get("loss_kwargs") or {})
    if vgg_path is not None and entry["loss_type"] not in ("l1", "l2"):
        kwargs["path_to_vgg19_weights"] = vgg_path
    if volumes:
        kwargs["mode_3d"] = True
    if choose_features is not None:
        features = choose_features(path, kwargs)
    loss = make_loss(entry["loss_type"], kwargs, features)
    loss.set_stage(stage, res)
    progress = float(state.get("progress", 1.0))
    for part in (encoder, decoder, loss):
        part.set_progress(progress)
    encoder.eval().requires_grad_(False)
    decoder.eval().requires_grad_(False)
    return Model(encoder, decoder, loss.eval(), res, config, origin_of(state, path))


def _layers(entry: Mapping[str, Any], dims: int) -> Layers:
    kwargs = entry["kwargs"]
    return Layers(kwargs.get("norm", "none"), kwargs.get("pad_type", "zero"), dims)


def _load_net(net: StageNet, weights: Any, path: Path, name: str) -> None:
    """The weights that the network has; published files hold those of other stages, too."""
    expected = net.state_dict()
    given = weights if isinstance(weights, Mapping) else {}
    kept = {key: given[key] for key in expected if key in given}
    check_weights(net, kept, f"{path}, {name}")
    net.load_state_dict(kept)
