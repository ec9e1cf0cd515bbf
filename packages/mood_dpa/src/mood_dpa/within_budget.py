"""Features, then autoencoders, trained within a budget on images or volumes in memory."""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ood_shared import checkpoints
from ood_shared.devices import autocast, lay_out, make_scaler
from ood_shared.errors import InputError
from ood_shared.training import Compute, update
from torch import Tensor

from mood_dpa.bench import Schedule
from mood_dpa.checkpoints import AXIS, Model, build_families
from mood_dpa.collapse import CollapseWatch
from mood_dpa.config_files import write_config
from mood_dpa.data.record import KEY, Origin
from mood_dpa.data.volume_sets import axis_slices
from mood_dpa.image_scores import to_network
from mood_dpa.loop import DISPLAYED, Trainer
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.predict import AxisModel, Ensemble
from mood_dpa.scores import SliceSelection
from mood_dpa.settings import LoopSettings
from mood_dpa.simclr import SimCLR, nt_xent, simclr_optimizer, two_views, warmed
from mood_dpa.state import MODEL
from mood_dpa.vgg import VGG19
from mood_dpa.vgg_weights import load_features

SIDE = 32
SMALL_SHARE = 100 / 64**2  # of the intensity sum that a slice needs to be scored
SIMCLR_BATCH, SIMCLR_RATE, SIMCLR_WARMUP = 32, 2e-5, 10  # at the published 3e-4 the features collapse: `collapse`
HELD_OUT = 200  # images at most, for the validation loss
FEATURES, PREDICTION = "features.tar", "predict_3d.yaml"
NATIVE = "native"  # in the configuration of a model: images' own size


class Tensors:
    """Endless shuffled batches of images in memory."""

    def __init__(self, images: Tensor, generator: torch.Generator, device: torch.device) -> None:
        self.images, self.generator, self.device = images.to(device), generator, device
        self._order, self._at = torch.randperm(len(images), generator=generator), 0

    def take(self, batch_size: int) -> Tensor:
        """The next batch, about [-1, 1]."""
        size = min(batch_size, len(self.images))
        if self._at + size > len(self._order):
            self._order, self._at = torch.randperm(len(self.images), generator=self.generator), 0
        index = self._order[self._at : self._at + size].to(self.device)
        self._at += size
        return to_network(self.images[index])

    def state_dict(self) -> dict[str, Any]:
        """Where the batches stand."""
        return {"order": self._order, "at": self._at, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._order, self._at = state["order"], int(state["at"])
        self.generator.set_state(state["generator"])


def train_on_images(
    images: Tensor,
    native: tuple[int, int],
    schedule: Schedule,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
) -> tuple[Model, float]:
    """One autoencoder for images.

    Args:
        images: uint8 (n, 1, SIDE, SIDE).
        native: their height and width as they were stored; kept with the model.
        schedule: of the budget.
        generator: of all draws.
        compute: how to compute.
        folder: gets `anomaly_detection.tar`, and `features.tar` where features were trained.

    Returns:
        The model, on the device, and the seconds of a step.
    """
    features = pretrained(images, schedule.simclr_steps, generator, compute, folder)
    return fit_autoencoder(
        images, features, schedule, schedule.steps, generator, compute, folder, {NATIVE: list(native)}
    )


def train_on_volumes(
    volumes: list[npt.NDArray[np.float32]],
    shape: tuple[int, ...],
    schedule: Schedule,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    origin: Origin | None = None,
) -> tuple[Ensemble, int, float]:
    """An autoencoder for the slices along each axis.

    Args:
        volumes: in [0, 1].
        shape: of the volumes that are to be scored, of which the least sum of a slice's intensities is a share.
        schedule: of the budget; the axes share its steps.
        generator: of all draws.
        compute: how to compute.
        folder: gets `axis_0` to `axis_2`, `predict_3d.yaml`, and `features.tar` where features were trained.
        origin: of the volumes, kept with the models.

    Returns:
        The ensemble, on the device, the number of slices, and the seconds of a step.
    """
    slices = [torch.cat([axis_slices(volume, axis, SIDE) for volume in volumes]) for axis in range(3)]
    features = pretrained(torch.cat(slices), schedule.simclr_steps, generator, compute, folder)
    parts, seconds, entries = [], 0.0, []
    for axis in range(3):
        at = folder / f"axis_{axis}"
        steps = max(1, schedule.steps // 3)
        model, taken = fit_autoencoder(
            slices[axis], features, schedule, steps, generator, compute, at, {AXIS: axis}, origin
        )
        assert isinstance(model.loss, PerceptualLoss)
        model.loss.reduction, model.loss.volumes = "pixelwise", True
        small = SMALL_SHARE * float(np.prod([n for a, n in enumerate(shape) if a != axis]))
        parts.append(AxisModel(model, axis, SliceSelection(True, SIDE, small, compute.precision)))
        entries.append(
            {"checkpoint_path": f"{at.name}/{MODEL}", "along_axis": axis, "resize": SIDE, "small_area": small}
        )
        seconds = max(seconds, taken)
    prediction = {"do_not_process_small_area": True, "delete_zero_area": True, "resize": None}
    named = FEATURES if (folder / FEATURES).is_file() else None
    write_config(folder / PREDICTION, {**prediction, "path_to_vgg19_weights": named, "models": entries})
    return Ensemble(tuple(parts), None, delete_zero_area=True), sum(map(len, slices)), seconds


def pretrained(
    slices: Tensor, steps: int, generator: torch.Generator, compute: Compute, folder: Path | None = None
) -> VGG19:
    """Features of the first stage: SimCLR on the ID slices, or random ones when the budget has no room for it.

    Args:
        slices: (n, 1, SIDE, SIDE).
        steps: of SimCLR; 0 takes random features.
        generator: of order and views.
        compute: how to compute.
        folder: gets `features.tar` when there are steps.
    """
    if folder is not None:
        (folder / FEATURES).unlink(missing_ok=True)
    if steps == 0:
        print("note: this budget leaves out SimCLR, which needs more steps; the features are random.", file=sys.stderr)
        return load_features(quiet=True)
    network = SimCLR().to(compute.device).train()
    lay_out(network, compute.device)
    optimizer = simclr_optimizer(network, SIMCLR_RATE, 1e-5)
    scaler = make_scaler(compute.device, compute.precision)
    source = Tensors(slices, generator, compute.device)
    watch = CollapseWatch(compute.device, SIMCLR_RATE, SIMCLR_WARMUP, "mood_dpa.within_budget")
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = warmed(SIMCLR_RATE, step, SIMCLR_WARMUP)
        images = source.take(SIMCLR_BATCH) * 0.5 + 0.5
        views = torch.cat(two_views(images, SIDE, generator))
        with autocast(compute.device, compute.precision):
            z = network(views)[1]
        zi, zj = torch.nn.functional.normalize(z.float(), dim=1).chunk(2)
        loss = nt_xent(zi, zj)
        watch.add(loss, zi, zj)
        watch.check(step + 1, now=step + 1 == steps)
        update(network, optimizer, scaler, loss)
    features = VGG19()
    convolutions = list(network.features[0].state_dict().values())
    features.load_state_dict(dict(zip(features.state_dict(), convolutions, strict=True)))
    if folder is not None:
        checkpoints.save(folder / FEATURES, features.state_dict())
    return features.eval()


def fit_autoencoder(
    images: Tensor,
    features: VGG19,
    schedule: Schedule,
    steps: int,
    generator: torch.Generator,
    compute: Compute,
    folder: Path,
    facts: Mapping[str, Any],
    origin: Origin | None = None,
) -> tuple[Model, float]:
    """Train one autoencoder; returns it and the seconds of a step.

    Args:
        images: (n, 1, SIDE, SIDE), uint8 or in the scale of [0, 1].
        features: in whose layers images are compared.
        schedule: of the budget.
        steps: of this one.
        generator: of validation images and batches.
        compute: how to compute.
        folder: gets `anomaly_detection.tar`.
        facts: further entries of the stored configuration.
        origin: of the volumes that the images are slices of.

    Raises:
        InputError: no image.
    """
    if not len(images):
        raise InputError("There is no slice to train on: no slice of the volumes has enough voxels above 0.")
    config = training_config(schedule, steps, facts)
    loss_kwargs = config["image_rec_loss"]["loss_kwargs"]
    loss = PerceptualLoss(**loss_kwargs, use_L1_norm=True, use_relative_error=True, features=features)
    held = max(1, min(len(images) // 10, HELD_OUT))
    order = torch.randperm(len(images), generator=generator)
    source = Tensors(images[order[held:]] if len(images) > 1 else images, generator, compute.device)
    validation = images[order[:held]].to(compute.device)

    def one_pass() -> Iterator[Tensor]:
        return (to_network(part) for part in validation.split(schedule.batch_size))

    trainer = Trainer(
        LoopSettings.of(config),
        build_families(config),
        loss,
        source,
        one_pass,
        to_network(validation[:DISPLAYED]),
        compute=compute,
    )
    started = time.perf_counter()
    trainer.fit()
    seconds = (time.perf_counter() - started) / steps
    state = {"config": config, "stage": "stab", "resolution": SIDE, "progress": 1.0, "niter": steps}
    state |= {"enc": trainer.encoder.state_dict(), "dec": trainer.decoder.state_dict()}
    state |= {} if origin is None else {KEY: origin.stored()}
    checkpoints.save(folder / MODEL, state)
    for net in (trainer.encoder, trainer.decoder):
        net.eval().requires_grad_(False)
    model = Model(trainer.encoder, trainer.decoder, trainer.loss.eval(), SIDE, config, origin or Origin())
    return model, seconds


def training_config(schedule: Schedule, steps: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A training configuration of one stage at SIDE pixels."""
    widths = {"type": "residual9", "kwargs": {"inner_dims": [schedule.width] * 4}}
    weights = {SIDE: {"img_weight": 0, "feature_weights": {schedule.layer: 1}}}
    return {
        **{"max_image_res": SIDE, "initial_image_res": SIDE, "image_dim": 1, "latent_res": 1},
        **{"latent_dim": schedule.latent_dim, "trns_iter": 0, "stab_iter": steps, "iters_per_res": {}},
        **{"log_iter": max(1, steps // 10), "val_iter": max(1, steps // 2), "image_sample_iter": steps + 1},
        **{"early_stopping_patience": 1e9, "early_stopping_min_delta": 0.0, "save_iter": steps + 1},
        **{"batch_sizes": {SIDE: schedule.batch_size}, "adam_kwargs": {"lr": schedule.lr}},
        **{"enc": widths, "dec": widths},
        "image_rec_loss": {
            "loss_type": "relative_perceptual_L1",
            "loss_kwargs": {"weights_per_resolution": weights, "normalize_to_vgg_input": False},
        },
        **facts,
    }
