"""Configurations of what scores, as typed values: inference_evaluate_3d, evaluate, predict_3d; see `settings`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mood_dpa.config_files import Config
from mood_dpa.configuration import evaluate_config, inference_config, predict_config
from mood_dpa.data.intensities import Rule
from mood_dpa.settings import ImageSet, rule_in

WORKSPACE = "/workspace"  # of the challenge's container


@dataclass(frozen=True)
class InferenceSettings:
    """A configuration of inference_evaluate_3d.

    Attributes:
        test_loss: {loss_type, loss_kwargs} in place of the model's own.
        axis: along which volumes are sliced.
        reduction: of a map to the score, `max` or `mean`.
        skip_small: leave out slices whose intensities sum to no more than `small_area`.
        delete_zero_area: set voxels whose image is not positive to 0.
        cube: side of the cube in which maps are compared with masks; None is the volume's own size.
        rule: how intensities get to [0, 1]; None is that of the training.
    """

    results_root: Path
    model: Path
    test_loss: Mapping[str, Any] | None
    axis: int
    reduction: str
    skip_small: bool
    small_area: float
    delete_zero_area: bool
    save_inference: bool
    cube: int | None
    test_set: ImageSet
    rule: Rule | None = None

    @classmethod
    def of(cls, content: Config) -> "InferenceSettings":
        """Of a configuration, which is checked."""
        config = inference_config(content)
        return cls(
            results_root=Path(config["results_root"]),
            model=Path(config["test_model_path"]),
            test_loss=config["test_image_rec_loss"],
            axis=int(config["apply_along_axis"]),
            reduction=config["score_reduction"],
            skip_small=bool(config["do_not_process_small_area"]),
            small_area=float(config["small_area"]),
            delete_zero_area=bool(config["delete_zero_area"]),
            save_inference=bool(config["save_inference"]),
            cube=config["resize_3d_for_evaluation"],
            test_set=ImageSet.of(config["test_dataset"]),
            rule=rule_in(config),
        )


@dataclass(frozen=True)
class EvaluationSettings:
    """A configuration of `main.py evaluate`; attributes as of `InferenceSettings`."""

    results_root: Path
    model: Path
    test_loss: Mapping[str, Any] | None
    batch_size: int
    reduction: str
    save_inference: bool
    test_set: ImageSet
    rule: Rule | None = None

    @classmethod
    def of(cls, content: Config) -> "EvaluationSettings":
        """Of a configuration, which is checked."""
        config = evaluate_config(content)
        return cls(
            results_root=Path(config["results_root"]),
            model=Path(config["test_model_path"]),
            test_loss=config["test_image_rec_loss"],
            batch_size=int(config["test_batch_size"]),
            reduction=config["score_reduction"],
            save_inference=bool(config["save_inference"]),
            test_set=ImageSet.of(config["test_dataset"]),
            rule=rule_in(config),
        )


@dataclass(frozen=True)
class AxisEntry:
    """A model of an ensemble: its file, slicing axis, size of its slices, and the sum that a slice must exceed."""

    model: Path
    axis: int
    size: int | None
    small_area: float


@dataclass(frozen=True)
class PredictionSettings:
    """A configuration of predict_3d.py.

    Attributes:
        models: at least one.
        skip_small: leave out slices whose intensities sum to no more than `small_area`.
        delete_zero_area: set voxels whose image is not positive to 0.
        cube: side of the cube in which maps are averaged; None is the volume's own size.
        divisor: of the averaged map.
        features: VGG19 weights in place of the files that the models name.
        rule: how intensities get to [0, 1]; None is that of the training.
    """

    models: tuple[AxisEntry, ...]
    skip_small: bool
    delete_zero_area: bool
    cube: int | None
    divisor: float
    features: str | None
    rule: Rule | None = None

    @classmethod
    def of(cls, content: Config) -> "PredictionSettings":
        """Of a configuration, which is checked."""
        config = predict_config(content)
        entries = []
        for entry in config["models"]:
            own = entry.get("small_area")
            least = float(config["small_area"] if own is None else own)
            entries.append(AxisEntry(Path(entry["checkpoint_path"]), int(entry["along_axis"]), entry["resize"], least))
        named = config["path_to_vgg19_weights"]
        return cls(
            models=tuple(entries),
            skip_small=bool(config["do_not_process_small_area"]),
            delete_zero_area=bool(config["delete_zero_area"]),
            cube=config["resize"],
            divisor=float(config["divisor"]),
            features=str(named) if named else None,
            rule=rule_in(config),
        )


def with_found_paths(settings: PredictionSettings, path: Path) -> PredictionSettings:
    """A prediction whose files are looked for beside its configuration, too.

    A path counts from the working folder; where nothing is there, from the folder of the configuration, so that a
    folder of models can be moved, and a path below /workspace, as in the challenge's container, from the folder
    above it.

    Args:
        settings: of the configuration.
        path: of its file.
    """

    def found(name: Path) -> Path:
        nearer = [name, path.parent / name]
        if name.is_relative_to(WORKSPACE):
            nearer.append(path.parent.parent / name.relative_to(WORKSPACE))
        return next((other for other in nearer if other.exists()), name)

    models = tuple(replace(entry, model=found(entry.model)) for entry in settings.models)
    features = None if settings.features is None else str(found(Path(settings.features)))
    return replace(settings, models=models, features=features)
