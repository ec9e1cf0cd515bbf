"""Anomaly map and score of a volume, from one model per axis as `predict_3d.py`, or of one axis.

The challenge's container runs this with `ood_shared` absent: see `standalone`. What is done with a folder of volumes:
`predict_folder`.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mood_dpa.checkpoints import Model, load_model
from mood_dpa.data.preprocessing import trilinear
from mood_dpa.data.volumes import Volume
from mood_dpa.losses import uses_layers
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.scores import DIVISOR, SliceSelection, axis_map, combine, unseen
from mood_dpa.scoring_settings import PredictionSettings
from mood_dpa.standalone import (
    InputError,
    MissingFileError,
    reading,
)
from mood_dpa.vgg import VGG19
from mood_dpa.vgg_weights import SharedFeatures


@dataclass(frozen=True)
class AxisModel:
    """A model and the axis that it slices along; a line says it when its training's slices were cut along another."""

    model: Model
    axis: int
    selection: SliceSelection

    def __post_init__(self) -> None:
        learned = self.model.axis
        if learned not in (None, self.axis):
            print(
                f"warning: a model of slices along axis {learned} is used along axis {self.axis}; is that meant?",
                file=sys.stderr,
                flush=True,
            )


@dataclass(frozen=True)
class OneAxis:
    """What `inference_evaluate_3d` does with a volume: the map of one model as it is.

    Attributes:
        part: the model.
        delete_zero_area: set voxels whose image is not positive to 0.
        reduction: of the map to the score, `max` or `mean`.
    """

    part: AxisModel
    delete_zero_area: bool
    reduction: str = "max"

    @property
    def parts(self) -> tuple[AxisModel, ...]:
        """All models."""
        return (self.part,)

    @torch.inference_mode()
    def predict(self, image: npt.NDArray[Any], device: torch.device) -> tuple[Tensor, float]:
        """As `Ensemble.predict`."""
        volume = on_device(image, device)
        voxels = axis_map(volume, self.part.model, self.part.axis, self.part.selection, tuple(volume.shape))
        if self.delete_zero_area:
            voxels = voxels * (volume > 0)
        return voxels, reduced(voxels.cpu().numpy(), self.reduction)


def reduced(voxels: npt.NDArray[np.floating], reduction: str) -> float:
    """The score of a map: its `max` or `mean`."""
    return _no_nan(float(voxels.max() if reduction == "max" else voxels.mean()))


def _no_nan(score: float) -> float:
    """The score; the images are finite, and no division is by 0, so that only weights make it NaN.

    Raises:
        InputError: it is NaN.
    """
    if math.isnan(score):
        raise InputError("The score is NaN: the weights of the model are broken. Train it again.")
    return score


def on_device(image: npt.NDArray[Any], device: torch.device) -> Tensor:
    """float32 (n0, n1, n2), column by column as NIfTI files hold it: the last bit of a sum depends on the layout."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32, order="F")).to(device)


@dataclass(frozen=True)
class Ensemble:
    """What `predict_3d` does with a volume: the mean of the maps of several models, and its maximum.

    Attributes:
        cube: side of the cube in which the maps are averaged; None is the volume's own size.
        delete_zero_area: set voxels whose image is not positive to 0.
        divisor: of the averaged map.
    """

    models: tuple[AxisModel, ...]
    cube: int | None
    delete_zero_area: bool
    divisor: float = DIVISOR

    @property
    def parts(self) -> tuple[AxisModel, ...]:
        """All models."""
        return self.models

    @torch.inference_mode()
    def predict(self, image: npt.NDArray[Any], device: torch.device) -> tuple[Tensor, float]:
        """Map of the image's size, and the score: the largest value of the averaged map.

        Args:
            image: (n0, n1, n2) in [0, 1].
            device: of the models.
        """
        volume = on_device(image, device)
        shape = tuple(volume.shape)
        target = shape if self.cube is None else (self.cube,) * 3
        maps = [axis_map(volume, part.model, part.axis, part.selection, target) for part in self.models]
        mean = combine(maps, self.divisor)
        if not self.delete_zero_area:
            return trilinear(mean, shape), _no_nan(float(mean.max()))
        cut = trilinear(mean, shape) * (volume > 0)
        return cut, _no_nan(float(cut.max()))


def load_ensemble(
    settings: PredictionSettings, device: torch.device, precision: str = "fp32", features: VGG19 | None = None
) -> Ensemble:
    """The models of a prediction configuration, on the device, sharing their VGG19.

    Args:
        settings: of the prediction.
        device: of the models.
        precision: of their networks.
        features: VGG19 in place of the one that each model was trained with.

    Raises:
        MissingFileError: names the first model or weight file that is not there.
        InputError: a model that was not trained with a perceptual loss.
    """
    for entry in settings.models:
        if not entry.model.is_file():
            raise MissingFileError(f"Model {entry.model} (axis {entry.axis}) is missing; put the trained one there.")
    named = settings.features
    shared = SharedFeatures(named, features)

    def features_of(path: Path, loss_kwargs: Mapping[str, Any]) -> VGG19 | None:
        return shared.of(path, loss_kwargs) if named or uses_layers(loss_kwargs) else None

    parts = []
    for entry in settings.models:
        model = load_model(entry.model, volumes=True, choose_features=features_of)
        if not isinstance(model.loss, PerceptualLoss):
            raise InputError(f"{entry.model} was not trained with a perceptual loss.")
        model.loss.absolute = model.loss.relative = True
        model.loss.reduction = "pixelwise"
        refuse_whole_volumes(model, entry.model)
        refuse_other_size(model, entry.size, entry.model)
        selection = SliceSelection(settings.skip_small, entry.size, entry.small_area, precision)
        parts.append(AxisModel(model.to(device), entry.axis, selection))
    return Ensemble(tuple(parts), settings.cube, settings.delete_zero_area, settings.divisor)


@torch.inference_mode()
def refuse_other_size(model: Model, size: int | None, path: Path) -> None:
    """Refuse slices of a size that the networks cannot take, before a volume is read; warn of one that they can.

    None is the volume's own size.

    Raises:
        InputError: names the model and the size that it was trained with.
    """
    if size in (None, model.resolution) or model.config.get("mode_3d"):
        return
    advice = f"`resize` is {size}, the model was trained with {model.resolution}."
    with reading(path, f"model of slices of {size} pixels", advice):
        image = torch.zeros(1, int(model.config["image_dim"]), size, size)
        if model.reconstruct(image).shape != image.shape:
            raise InputError(f"{path} does not give slices of {size} pixels back in their size. {advice}")
    print(f"warning: {path}: {advice} Scores of slices of another size may mean little.", file=sys.stderr)


def refuse_whole_volumes(model: Model, path: Path) -> None:
    """Refuse a model that knows volumes as a whole, where slices are to be compared."""
    if model.config.get("mode_3d"):
        raise InputError(f"{path} was trained on whole volumes (mode_3d), not on slices. `evaluate` scores by it.")


def trained_axes(models: Sequence[AxisModel]) -> list[str]:
    """Where the axes of the training's volumes pointed, as far as the models tell."""
    return sorted({code for part in models for code in part.model.origin.axes})


def say_unseen(volume: Volume, models: Sequence[AxisModel]) -> None:
    """One line about a volume of which few slices, or none, are looked at."""
    voxels = on_device(volume.data, torch.device("cpu"))
    line = unseen(voxels, [(part.axis, part.selection) for part in models], volume.name)
    if line:
        print(f"warning: {line}", file=sys.stderr, flush=True)
