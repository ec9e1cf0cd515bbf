"""`main.py inference_evaluate_3d` and `main.py evaluate`: maps, scores, and how well they find the anomalies."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from ood_shared import files
from ood_shared.errors import InputError
from torch import Tensor

from mood_dpa.checkpoints import Model, load_model
from mood_dpa.data.directions import Directions
from mood_dpa.data.intensities import agreed, refuse_other_slices
from mood_dpa.data.preprocessing import trilinear
from mood_dpa.data.slices import Images
from mood_dpa.data.volume_queue import Writer, own_share, read_ahead, skip
from mood_dpa.data.volumes import Volume, codes_of, read_volume, write_volume
from mood_dpa.evaluation_results import finish
from mood_dpa.figures import Planes, planes_of
from mood_dpa.map_origin import keep_origin, make_way, origin_of
from mood_dpa.predict import (
    AxisModel,
    OneAxis,
    reduced,
    refuse_other_size,
    refuse_whole_volumes,
    say_unseen,
)
from mood_dpa.ranking import Metrics, Ranking
from mood_dpa.scores import SliceSelection
from mood_dpa.scoring_settings import EvaluationSettings, InferenceSettings
from mood_dpa.standalone import autocast
from mood_dpa.vgg import VGG19


def inference_evaluate_3d(
    settings: InferenceSettings,
    device: torch.device,
    precision: str = "fp32",
    resume: bool = False,
    pictures: bool = True,
    features: VGG19 | None = None,
) -> dict[str, Metrics]:
    """Score every test volume along one axis, write the results, and measure them.

    Leaves in results_root `sample/<name>.txt`, on request `pixel/<name>`, `scores.csv`, `result.json`, overlays and
    `report.html`.

    Args:
        settings: of the configuration.
        device: of the networks.
        precision: of the networks.
        resume: take maps that were written before, by this model in this way, instead of computing them; only with
            save_inference.
        pictures: draw overlays.
        features: VGG19 in place of the configuration's.

    Raises:
        InputError: the maps to go on with are of another model, or were made in another way.
    """
    root = settings.results_root
    scorer = load_one_axis(settings, device, precision, features)
    learned = scorer.part.model.origin
    rule = agreed(settings.rule, [learned.rescale])
    images = Images(settings.test_set, seed=0, rule=rule)
    _refuse_own_folder(root, images)
    if images.masks is None:
        _no_masks()
    origin = origin_of(settings, rule, precision) if settings.save_inference else {}
    if settings.save_inference:
        make_way(root, images.names, origin, resume)
    target = settings.cube
    pixels, failed = Ranking(), list[str]()
    samples: list[tuple[str, bool, float]] = []
    drawn: list[Planes] = []
    directions = Directions(learned.axes)
    paths = own_share([images.path(name) for name in images.names])
    with Writer() as write:
        for volume in read_ahead(paths, failed, rule=rule, directions=directions):
            try:
                mask = _mask_of(volume, images)
            except InputError as error:
                skip(failed, volume.name, error)
                continue
            say_unseen(volume, [scorer.part])
            voxels, score = _map_of(volume, scorer, root, device, resume)
            write(files.write_text, root / "sample" / f"{volume.name}.txt", str(np.float32(score)))
            if settings.save_inference:
                keep_origin(root, origin)
                write(write_volume, root / "pixel" / volume.name, voxels, volume)
            if pictures:
                shown = mask if (mask > 0.5).any() else None
                drawn.append(planes_of(volume, voxels, shown, score))
            if target is not None:
                mask, voxels = (trilinear(torch.from_numpy(a), (target,) * 3).numpy() for a in (mask, voxels))
            pixels.add(mask > 0.5, voxels)
            samples.append((volume.name, bool(mask.sum() > 0), score))
    directions.say()
    return finish(root, pixels, samples, drawn, failed, len(images), precision)


def evaluate(
    settings: EvaluationSettings, device: torch.device, precision: str = "fp32", features: VGG19 | None = None
) -> dict[str, Metrics]:
    """Score slices (or cubes) one by one, with maps of their own, and measure them.

    Leaves in results_root `sample/<name>.txt`, on request `pixel/<name>.npy` (NIfTI for volumes), and `scores.csv`.
    """
    root = settings.results_root
    model = _model(settings, features, volumes=settings.test_set.volumes)
    refuse_other_size(model, settings.test_set.size, settings.model)
    model.to(device)
    _refuse_other_kind(settings, bool(model.config.get("mode_3d")))
    if settings.test_set.volumes:
        images = Images(settings.test_set, seed=0, rule=agreed(settings.rule, [model.origin.rescale]))
    else:
        images = Images(settings.test_set, seed=0, rule=settings.rule)
        refuse_other_slices(images.origin.rescale, model.origin.rescale, images.root)
    _refuse_own_folder(root, images)
    pixels, failed = Ranking(), list[str]()
    samples: list[tuple[str, bool, float]] = []
    size = settings.batch_size
    for start in range(0, len(images), size):
        index, arrays, masks = list[int](), list[npt.NDArray[np.floating]](), list[npt.NDArray[np.floating]]()
        for position in range(start, min(start + size, len(images))):
            try:
                array, mask = images.raw(position), images.mask(position)
            except InputError as error:
                skip(failed, images.names[position], error)
                continue
            index, arrays, masks = [*index, position], [*arrays, array], [*masks, mask]
        if not index:
            continue
        maps = _maps(model, images.prepare(arrays, device), device, precision)
        for position, anomaly_map, mask in zip(index, maps, masks, strict=True):
            name = images.names[position]
            if mask.shape != anomaly_map.shape:
                mask = trilinear(torch.from_numpy(mask), anomaly_map.shape).numpy()
            score = reduced(anomaly_map, settings.reduction)
            files.write_text(root / "sample" / f"{name}.txt", str(np.float32(score)))
            if settings.save_inference:
                _save_map(root / "pixel", name, anomaly_map, images)
            pixels.add(mask > 0, anomaly_map)
            samples.append((name, bool(mask.sum() > 0), score))
    return finish(root, pixels, samples, [], failed, len(images), precision)


def _refuse_other_kind(settings: EvaluationSettings, of_volumes: bool) -> None:
    """Refuse slices where the model knows volumes as a whole, and the other way round."""
    if of_volumes and not settings.test_set.volumes:
        raise InputError("The model was trained on volumes (mode_3d); test_dataset.dataset_type must be nifti3d.")
    if settings.test_set.volumes and not of_volumes:
        raise InputError(
            f"{settings.model} was trained on slices; test_dataset.dataset_type must be numpy2d. Volumes are scored by "
            "inference_evaluate_3d."
        )


def load_one_axis(
    settings: InferenceSettings, device: torch.device, precision: str = "fp32", features: VGG19 | None = None
) -> OneAxis:
    """The model of a configuration of inference_evaluate_3d, and what is done with it."""
    model = _model(settings, features, volumes=True)
    refuse_whole_volumes(model, settings.model)
    refuse_other_size(model, settings.test_set.size, settings.model)
    model.to(device)
    selection = SliceSelection(settings.skip_small, settings.test_set.size, settings.small_area, precision)
    return OneAxis(AxisModel(model, settings.axis, selection), settings.delete_zero_area, settings.reduction)


def _mask_of(volume: Volume, images: Images) -> npt.NDArray[np.float32]:
    """The mask of a volume, of its shape; voxels above 0.5 are anomalous.

    Raises:
        InputError: another shape or direction of axes, or values that no mask has.
    """
    assert images.masks is not None
    found = read_volume(images.masks / volume.name)
    mask, low, high = found.data, float(found.data.min()), float(found.data.max())
    if mask.shape != volume.data.shape:
        raise InputError(f"{volume.name}: mask {mask.shape} and image {volume.data.shape} differ in shape.")
    axes, of_image = codes_of(found.affine), codes_of(volume.affine)
    if axes != of_image:
        print(
            f"warning: {volume.name}: the axes of the mask point to {axes}, those of the image to {of_image}; they are "
            "laid on each other voxel by voxel.",
            file=sys.stderr,
            flush=True,
        )
    if low < 0 or 0 < high <= 0.5:
        raise InputError(
            f"{volume.name}: the mask has values from {low:g} to {high:g}; expected 0, and 1 where there is an anomaly."
        )
    return mask


def _refuse_own_folder(root: Path, images: Images) -> None:
    """Refuse results that would replace what they were made of."""
    inputs = [images.root, *([images.masks] if images.masks else [])]
    for folder in (root / "pixel", root / "sample", root / "pictures"):
        files.refuse_same_folder(folder, *inputs, flag="results_root:")


def _no_masks() -> None:
    raise InputError("test_dataset.dataset_kwargs has no mask_root; the evaluation needs the masks.")


def _model(settings: InferenceSettings | EvaluationSettings, features: VGG19 | None, volumes: bool) -> Model:
    model = load_model(settings.model, settings.test_loss, None, features, volumes)
    model.loss.reduction = "pixelwise"
    return model


def _map_of(
    volume: Volume, scorer: OneAxis, root: Path, device: torch.device, resume: bool
) -> tuple[npt.NDArray[np.float32], float]:
    """The map of a volume, computed or read, and the score."""
    saved = root / "pixel" / volume.name
    if resume and saved.is_file():
        voxels = read_volume(saved).data
        return voxels, reduced(voxels, scorer.reduction)
    computed, score = scorer.predict(volume.data, device)
    return computed.cpu().numpy(), score


@torch.inference_mode()
def _maps(model: Model, images: Tensor, device: torch.device, precision: str) -> npt.NDArray[np.float32]:
    """Maps of a batch, without the channel axis."""
    with autocast(device, precision):
        rebuilt = model.reconstruct(images)
        maps: Tensor = model.loss(images, rebuilt.float())
    return maps.float().mean(1).cpu().numpy()


def _save_map(folder: Path, name: str, anomaly_map: npt.NDArray[np.float32], images: Images) -> None:
    if images.volumes:
        volume = read_volume(images.path(name))
        whole = trilinear(torch.from_numpy(anomaly_map), volume.data.shape).numpy()
        write_volume(folder / name, whole, volume)
        return
    with files.atomic_path(folder / name) as temporary, temporary.open("wb") as file:
        np.save(file, anomaly_map)
