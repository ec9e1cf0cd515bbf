"""`mood_dpa.load`: a trained detector from what a training, the bench or the challenge solution left."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from ood_shared.checkpoints import kept_generators
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError

from mood_dpa.checkpoints import load_model
from mood_dpa.configuration import read_config
from mood_dpa.data.intensities import Rule, agreed
from mood_dpa.detector import ImageDetector, VolumeDetector
from mood_dpa.evaluate import load_one_axis
from mood_dpa.predict import Ensemble, OneAxis, load_ensemble
from mood_dpa.scores import DIVISOR, SMALL_AREA
from mood_dpa.scoring_settings import AxisEntry, InferenceSettings, PredictionSettings, with_found_paths
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import MODEL
from mood_dpa.vgg import load_features
from mood_dpa.within_budget import AXIS, FEATURES, NATIVE, PREDICTION


@kept_generators()
def load(
    path: str | Path | Sequence[str | Path],
    *,
    axes: int | Sequence[int] | None = None,
    features: str | Path | None = None,
    small_area: float = SMALL_AREA,
    delete_zero_area: bool = False,
    cube: int | None = None,
    threshold: float | None = None,
    rescale: str | None = None,
    device: str = "auto",
) -> ImageDetector | VolumeDetector:
    """The detector that a training left.

    Args:
        path: a folder of `mood_dpa.bench` or `fit`; a configuration of predict_3d.py (those of submission_data too) or
            of inference_evaluate_3d; or checkpoint_root or `anomaly_detection*.tar` of a training, one or several.
        axes: of trainings: the slicing axis of each, which checkpoints do not tell.
        features: VGG19 weights in place of the file that each model names.
        small_area: of trainings: sum of intensities that a slice must exceed to be looked at.
        delete_zero_area: of trainings: set voxels whose image is not positive to 0.
        cube: of trainings: side of the cube in which maps are averaged; None is the volume's own size.
        threshold: score above which `predict` says -1.
        rescale: of volumes: how their intensities get to [0, 1], such as `window 40 400`, `minmax`, `percentile 1 99`,
            or `any-range`, which takes them as they are; None is the rule of the training.
        device: where the networks go.

    Raises:
        MissingFileError: a file is not there.
        InputError: it is of something else, or an axis has to be named.
    """
    on = resolve_device(device)
    given = None if rescale is None else Rule.of(rescale, "rescale")
    if isinstance(path, str | Path):
        path = Path(path)
        if path.suffix in (".yaml", ".yml"):
            return _of_config(path, features, threshold, on, given)
        if (path / PREDICTION).is_file():
            return _of_config(path / PREDICTION, features, threshold, on, given)
        if (path / "configs").is_dir() and (path / "scripts").is_dir():
            configs = sorted(str(entry) for entry in (path / "configs").glob("*.yaml"))
            raise InputError(f"{path} holds several ensembles; pass the configuration of one: {', '.join(configs)}.")
    files = [_model_file(Path(entry)) for entry in ([path] if isinstance(path, Path) else path)]
    states = [load_checkpoint(file) for file in files]
    stored = [(state.get("config") or {}).get(AXIS) for state in states]
    named = [axes] * len(files) if isinstance(axes, int) else list(stored if axes is None else axes)
    if len(named) != len(files) or not files:
        raise InputError(f"There are {len(files)} models and {len(named)} axes; name as many, at least one.")
    if axes is None and len(files) == 1 and named == [None] and "train_dataset" not in (states[0].get("config") or {}):
        return _of_images(files[0], features, threshold, on)
    untold = next((file for file, axis in zip(files, named, strict=True) if axis is None), None)
    if untold is not None:
        raise InputError(f"{untold} does not tell its slicing axis; pass axes=0, 1 or 2.")
    models = tuple(
        AxisEntry(file, axis, int(state.get("resolution", 0)), small_area)
        for file, axis, state in zip(files, named, states, strict=True)
        if axis is not None
    )
    if not {entry.axis for entry in models} <= {0, 1, 2}:
        raise InputError(f"axes are {named}; expected 0, 1 or 2.")
    beside = files[0].parent.parent / FEATURES  # of a run of `fit`, whose axes share them
    weights = features or (beside if stored[0] is not None and beside.is_file() else None)
    settings = PredictionSettings(models, True, delete_zero_area, cube, DIVISOR, str(weights) if weights else None)
    return _detector(load_ensemble(settings, on), threshold, on, given)


def _detector(
    scorer: Ensemble | OneAxis, threshold: float | None, on: torch.device, given: Rule | None
) -> VolumeDetector:
    rule = agreed(given, [part.model.origin.rescale for part in scorer.parts])
    return VolumeDetector(scorer, on, threshold, rule=rule)


def _of_config(
    path: Path, features: str | Path | None, threshold: float | None, on: torch.device, given: Rule | None
) -> VolumeDetector:
    """The detector of a configuration of predict_3d.py or inference_evaluate_3d."""
    config = read_config(path)
    scorer: Ensemble | OneAxis
    if "models" in config:
        settings = with_found_paths(PredictionSettings.of(config), path)
        given = given or settings.rule
        scorer = load_ensemble(settings if features is None else replace(settings, features=str(features)), on)
    elif "test_model_path" in config and "apply_along_axis" in config:
        inference = InferenceSettings.of(config)
        given = given or inference.rule
        scorer = load_one_axis(inference, on, features=load_features(features) if features else None)
    else:
        raise InputError(f"{path} is no configuration of predict_3d.py or inference_evaluate_3d: it names no models.")
    return _detector(scorer, threshold, on, given)


def _of_images(file: Path, features: str | Path | None, threshold: float | None, on: torch.device) -> ImageDetector:
    beside = file.parent / FEATURES
    weights = features or (beside if beside.is_file() else None)
    model = load_model(file, features=load_features(weights, quiet=True)).to(on)
    native = model.config.get(NATIVE) or (model.resolution, model.resolution)
    return ImageDetector(model, (int(native[0]), int(native[1])), threshold)


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    model = next((file for file in (path / MODEL, path / "checkpoints" / MODEL) if file.is_file()), None)
    if model is None:
        raise MissingFileError(f"{path} holds no {MODEL}; pass a trained run, its checkpoint_root, or a model file.")
    return model
