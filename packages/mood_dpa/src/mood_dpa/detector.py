"""Trained detectors of images and of volumes; `mood_dpa.load` and `mood_dpa.fit` give one."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from ood_shared.datasets import resize
from ood_shared.detector import BATCH, Outputs, outputs_of, within_threshold
from ood_shared.detector_state import State
from ood_shared.devices import module_device
from ood_shared.images import Images
from torch import Tensor

from mood_dpa.checkpoints import Model
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import NONE, Rule
from mood_dpa.data.user_volumes import OneVolume, Volumes, as_volume, volumes_of
from mood_dpa.data.volumes import Volume, as_image
from mood_dpa.image_scores import image_scores
from mood_dpa.predict import Ensemble, OneAxis, say_unseen, trained_axes


@dataclass(frozen=True, eq=False)
class ImageDetector:
    """An autoencoder of images; see `ood_shared.detector.Detector`.

    Attributes:
        model: on its device.
        native: height and width of the ID images as they were stored; larger images are reduced to it first.
        threshold: score above which an image is called OOD; None where none was set.
        precision: of the passes.
        classes: none; nothing tells classes apart.
    """

    model: Model = field(repr=False)
    native: tuple[int, int]
    threshold: float | None = None
    precision: str = "fp32"
    classes: tuple[str, ...] = ()

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The relative perceptual error of each image, higher = more OOD."""
        return outputs_of(self, images, self.prepare, batch_size)[0]

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """0 for each image, -1 beyond the threshold."""
        return _within(self.score(images, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores of images (n, 1, R, R), uint8 or floats in the scale of [0, 1], and no classes; on the CPU."""
        return image_scores(self.model, images, module_device(self.model.encoder), self.precision, batch_size), None

    def prepare(self, pixels: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k 1 r r"]:
        """Images of any size and colour as the bench resizes them."""
        return resize(pixels, (self.model.resolution,) * 2, channels=1, native=self.native)

    def state(self) -> State:
        """The detector as data, for `ood_shared.model_file`; `detector_state.restore` makes it again."""
        from mood_dpa.detector_state import state_of  # which knows this class

        return state_of(self)


@dataclass(frozen=True, eq=False)
class VolumeDetector:
    """Autoencoders of slices along one or several axes of a volume; see `ood_shared.detector.Detector`.

    Attributes:
        scorer: `predict.Ensemble`, as predict_3d.py takes it, or `predict.OneAxis`, as inference_evaluate_3d does.
        device: of its models.
        threshold: score above which a volume is called OOD; None where none was set.
        classes: none; nothing tells classes apart.
        rule: how intensities get to [0, 1]; `none` wants them there. See `data.intensities`.
    """

    scorer: Ensemble | OneAxis = field(repr=False)
    device: torch.device
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    rule: Rule = NONE

    def score(self, volumes: Volumes, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each volume, higher = more OOD.

        Args:
            volumes: an array (d, h, w), (array, affine), a nibabel image, a path of NIfTI or of a DICOM series, or a
                list of them; in [0, 1] unless the rule brings them there.
            batch_size: means nothing here: a volume's slices belong together.
        """
        directions = Directions(trained_axes(self.scorer.parts))
        scores = []
        for volume in volumes_of(volumes, self.rule):
            if volume.header is not None:  # arrays are taken to point as the training's volumes
                directions.add(volume.name, volume.affine)
            say_unseen(volume, self.scorer.parts)
            scores.append(self.scorer.predict(volume.data, self.device)[1])
        directions.say()
        return np.array(scores)

    def predict(self, volumes: Volumes, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """0 for each volume, -1 beyond the threshold."""
        return _within(self.score(volumes, batch_size), self.threshold)

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores of volumes (n, d, h, w) in [0, 1], and no classes; on the CPU."""
        return torch.from_numpy(self.score(list(images), batch_size)), None

    def map(self, volume: OneVolume) -> Float[np.ndarray, "d h w"]:
        """The score of each voxel, on the volume's own grid."""
        return self._mapped(volume)[0]

    def map_image(self, volume: OneVolume) -> Any:
        """`map` as a nibabel image with the volume's affine; `.to_filename("map.nii.gz")` writes it."""
        return as_image(*self._mapped(volume))

    def _mapped(self, volume: OneVolume) -> tuple[np.ndarray, Volume]:
        """The map, and the volume as it was looked at."""
        given = as_volume(volume, rule=self.rule)
        say_unseen(given, self.scorer.parts)
        return self.scorer.predict(given.data, self.device)[0].cpu().numpy(), given


def _within(scores: Float[np.ndarray, " n"], threshold: float | None) -> Int64[np.ndarray, " n"]:
    return within_threshold(scores, np.zeros(len(scores), np.int64), threshold)
