"""`mood_dpa.load`: a trained detector from what a training, the bench or the challenge solution left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ood_shared.checkpoints import kept_generators
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import broken, path_of, reading

from mood_dpa.checkpoints import AXIS, load_model
from mood_dpa.config_files import read_config
from mood_dpa.data.intensities import Rule, agreed
from mood_dpa.detector import ImageDetector, VolumeDetector
from mood_dpa.evaluate import load_one_axis
from mood_dpa.predict import Ensemble, OneAxis, load_ensemble
from mood_dpa.scores import DIVISOR, SMALL_AREA
from mood_dpa.scoring_settings import AxisEntry, InferenceSettings, PredictionSettings, with_found_paths
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import MODEL
from mood_dpa.told import Told
from mood_dpa.vgg_weights import load_features
from mood_dpa.within_budget import FEATURES, NATIVE, PREDICTION


@kept_generators()
def load(
    path: str | Path | Sequence[str | Path],
    *,
    axes: int | Sequence[int] | None = None,
    features: str | Path | None = None,
    small_area: float | None = None,
    delete_zero_area: bool | None = None,
    cube: int | None = None,
    threshold: float | None = None,
    rescale: str | None = None,
    device: str = "auto",
) -> ImageDetector | VolumeDetector:
    """The detector that a training left.

    A folder or configuration that says axes, small_area, delete_zero_area and cube decides; other values are refused.

    Args:
        path: a folder of `mood_dpa.bench` or `fit`; a configuration of predict_3d.py (those of submission_data too) or
            of inference_evaluate_3d; or checkpoint_root or `anomaly_detection*.tar` of a training, one or several.
        axes: of trainings: the slicing axis of each, which checkpoints do not tell.
        features: VGG19 weights in place of the file that each model names.
        small_area: of trainings: sum of intensities that a slice must exceed to be looked at; None is 4000.
        delete_zero_area: of trainings: set voxels whose image is not positive to 0; None is False.
        cube: of trainings: side of the cube in which maps are averaged; None is the volume's own size.
        threshold: score above which `predict` says -1.
        rescale: of volumes: how their intensities get to [0, 1], such as `window 40 400`, `minmax`, `percentile 1 99`,
            or `any-range`, which takes them as they are; None is the rule of the training.
        device: where the networks go.

    Raises:
        MissingFileError: a file is not there.
        InputError: it is of something else, an axis has to be named, or what is told means nothing or differs from what
            the files say.
    """
    told, on = Told(axes, small_area, delete_zero_area, cube), resolve_device(device)
    features = None if features is None else path_of(features)
    given = None if rescale is None else Rule.of(rescale, "rescale")
    if isinstance(path, str | Path) or not isinstance(path, Sequence):
        path = path_of(path)
        if path.suffix in (".yaml", ".yml"):
            return _of_config(path, features, threshold, on, given, told)
        if (path / PREDICTION).is_file():
            return _of_config(path / PREDICTION, features, threshold, on, given, told)
        if (path / "configs").is_dir() and (path / "scripts").is_dir():
            configs = sorted(str(entry) for entry in (path / "configs").glob("*.yaml"))
            raise InputError(f"{path} holds several ensembles; pass the configuration of one: {', '.join(configs)}.")
    files = [_model_file(path_of(entry)) for entry in ([path] if isinstance(path, Path) else path)]
    states = [load_checkpoint(file) for file in files]
    trainings = [_config_of(state) for state in states]
    stored = [config.get(AXIS) for config in trainings]
    named = stored if axes is None else told.axes_of(len(files))
    if len(named) != len(files) or not files:
        raise InputError(f"There are {len(files)} models and {len(named)} axes; name as many, at least one.")
    untold = axes is None and stored == [None] and "train_dataset" not in trainings[0]
    if len(files) == 1 and (untold or NATIVE in trainings[0]):
        told.refuse_all(rescale, files[0])
        return _of_images(files[0], features, threshold, on)
    settings = PredictionSettings(
        tuple(map(_entry, files, states, named, [small_area] * len(files))),
        True,
        bool(delete_zero_area),
        cube,
        DIVISOR,
        _features(files[0], stored[0], features),
    )
    return _detector(load_ensemble(settings, on), threshold, on, given)


def _config_of(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a training; empty where it is none, which `load_model` says."""
    config = state.get("config")
    return config if isinstance(config, Mapping) else {}


def _entry(file: Path, state: Mapping[str, Any], axis: Any, small_area: float | None) -> AxisEntry:
    """A model of an ensemble, of what its file says and what is told.

    Raises:
        InputError: it is of images, its axis is not told, or it is damaged.
    """
    if NATIVE in _config_of(state):
        raise InputError(f"{file} is a model of images, not of slices of volumes. Pass it alone.")
    if axis is None:
        raise InputError(f"{file} does not tell its slicing axis; pass axes=0, 1 or 2.")
    if type(axis) is not int or axis not in (0, 1, 2):
        raise broken(file, "trained model", f"its axis is {axis!r}", "Take another file.")
    with reading(file, "trained model", "Take another file."):
        size = int(state.get("resolution", 0))
    return AxisEntry(file, axis, size, SMALL_AREA if small_area is None else small_area)


def _features(file: Path, axis: object, given: Path | None) -> str | None:
    """The file of VGG19's weights: the given one, or that of a run of `fit`, whose axes share it."""
    beside = file.parent.parent / FEATURES
    weights = given or (beside if axis is not None and beside.is_file() else None)
    return str(weights) if weights else None


def _detector(
    scorer: Ensemble | OneAxis, threshold: float | None, on: torch.device, given: Rule | None
) -> VolumeDetector:
    rule = agreed(given, [part.model.origin.rescale for part in scorer.parts])
    return VolumeDetector(scorer, on, threshold, rule=rule)


def _of_config(
    path: Path, features: Path | None, threshold: float | None, on: torch.device, given: Rule | None, told: Told
) -> VolumeDetector:
    """The detector of a configuration of predict_3d.py or inference_evaluate_3d."""
    config = read_config(path)
    scorer: Ensemble | OneAxis
    if "models" in config:
        settings = with_found_paths(PredictionSettings.of(config), path)
        told.refuse_other(settings, path)
        given = given or settings.rule
        scorer = load_ensemble(settings if features is None else replace(settings, features=str(features)), on)
    elif "test_model_path" in config and "apply_along_axis" in config:
        inference = InferenceSettings.of(config)
        told.refuse_other(inference, path)
        given = given or inference.rule
        scorer = load_one_axis(inference, on, features=load_features(features) if features else None)
    else:
        raise InputError(f"{path} is no configuration of predict_3d.py or inference_evaluate_3d: it names no models.")
    return _detector(scorer, threshold, on, given)


def _of_images(file: Path, features: Path | None, threshold: float | None, on: torch.device) -> ImageDetector:
    beside = file.parent / FEATURES
    weights = features or (beside if beside.is_file() else None)
    model = load_model(file, features=load_features(weights, quiet=True)).to(on)
    with reading(file, "trained model", "Take another file."):
        height, width = model.config.get(NATIVE) or (model.resolution, model.resolution)
        return ImageDetector(model, (int(height), int(width)), threshold)


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    model = next((file for file in (path / MODEL, path / "checkpoints" / MODEL) if file.is_file()), None)
    if model is None:
        raise MissingFileError(f"{path} holds no {MODEL}; pass a trained run, its checkpoint_root, or a model file.")
    return model
