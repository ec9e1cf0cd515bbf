"""Schemas of the configuration files: unknown, missing and wrong entries are named before anything starts.

They are those of the challenge solution. Its program ignored unknown keys; here a misspelt key is an error.
"""

import copy
from collections.abc import Mapping
from typing import Any

from mood_dpa.config_files import Config
from mood_dpa.kinds import ADAM, check_kinds, check_widths, whole
from mood_dpa.standalone import InputError, unknown

TRAIN_REQUIRED = (
    *("model_type", "verbose", "random_seed", "finetune_from", "checkpoint_root", "log_root", "max_image_res"),
    *("initial_image_res", "image_dim", "latent_res", "latent_dim", "trns_iter", "stab_iter", "log_iter", "val_iter"),
    *("image_sample_iter", "early_stopping_patience", "early_stopping_min_delta", "num_workers", "batch_sizes"),
    *("adam_kwargs", "train_dataset", "val_dataset", "enc", "dec", "image_rec_loss"),
)
RESCALE = "rescale"  # key of a rule of `data.intensities`
TRAIN_OPTIONAL = {"mode_3d": False, "iters_per_res": {}, "val_drop_last": False, "save_iter": None, RESCALE: None}
INFERENCE_REQUIRED = (
    *("model_type", "verbose", "results_root", "test_model_path", "save_inference", "apply_along_axis"),
    *("score_reduction", "do_not_process_small_area", "delete_zero_area", "test_dataset"),
)
INFERENCE_OPTIONAL = {
    **{"resize_3d_for_evaluation": None, "test_image_rec_loss": None, "small_area": 4000},
    **{RESCALE: None},
}
EVALUATE_REQUIRED = (
    *("verbose", "test_batch_size", "results_root", "test_model_path", "save_inference", "score_reduction"),
    "test_dataset",
)
EVALUATE_OPTIONAL = {"model_type": "dpa", "test_resize": None, "test_image_rec_loss": None, RESCALE: None}
PREDICT_REQUIRED = ("do_not_process_small_area", "delete_zero_area", "models")
PREDICT_OPTIONAL = {"resize": None, "path_to_vgg19_weights": None, "small_area": 4000, "divisor": 100.0, RESCALE: None}
MAY_BE_EMPTY = {"random_seed", "finetune_from"}
DATASET_KEYS = ("dataset_type", "dataset_kwargs", "transform_kwargs")
DATASET_KWARGS = (
    *("image_root", "folds_path", "fold", "split", "mask_root", "return_image_name", "brain_size_path"),
    *("filter_brain_size", "max_dataset_size", "cache", "channels3"),
)
SETS = ("train_dataset", "val_dataset")
DATASET_TYPES = ("numpy2d", "nifti3d")
NETWORK_KWARGS = {
    "enc": ("inner_dims", "norm", "pad_type", "pool"),
    "dec": ("inner_dims", "norm", "pad_type", "upsample_mode", "normalize_latents"),
}


def train_config(config: Config) -> Config:
    """A training configuration with defaults, checked.

    Raises:
        InputError: names the first key that is unknown, missing or wrong.
    """
    checked = _checked(config, TRAIN_REQUIRED, TRAIN_OPTIONAL, "training")
    if checked[RESCALE] is None:
        del checked[RESCALE]  # configurations of runs stay as they were
    for name in SETS:
        check_dataset(checked[name], name)
        resize = (checked[name].get("transform_kwargs") or {}).get("resize")
        if resize != checked["max_image_res"]:
            raise InputError(f"{name}: transform_kwargs.resize is {resize}, expected max_image_res ({_res(checked)}).")
    _check_agreement(checked)
    _check_adam(checked["adam_kwargs"])
    for side, known in NETWORK_KWARGS.items():
        _check_network(checked[side], side, known)
    _check_loss(checked["image_rec_loss"], "image_rec_loss")
    if "mode_3d" in (checked["image_rec_loss"].get("loss_kwargs") or {}):
        raise InputError("image_rec_loss.loss_kwargs holds mode_3d; in training the top-level key mode_3d decides.")
    reduction = (checked["image_rec_loss"].get("loss_kwargs") or {}).get("reduction", "mean")
    if reduction in ("none", "pixelwise"):
        raise InputError(
            f"image_rec_loss.loss_kwargs.reduction is {reduction}; training needs one number: mean or sum."
        )
    sizes = checked["batch_sizes"]
    _check_growing(checked)
    for res in _resolutions(checked):
        if not isinstance(sizes, Mapping) or not whole(1)[1](sizes.get(res)):
            raise InputError(f"batch_sizes has no number for resolution {res}; every power of 2 up to the last needs.")
    return checked


def inference_config(config: Config) -> Config:
    """A configuration of inference_evaluate_3d with defaults, checked."""
    checked = _checked(config, INFERENCE_REQUIRED, INFERENCE_OPTIONAL, "inference")
    check_dataset(checked["test_dataset"], "test_dataset")
    if checked["apply_along_axis"] not in (0, 1, 2):
        raise InputError(f"apply_along_axis is {checked['apply_along_axis']!r}; expected 0, 1 or 2.")
    _check_reduction(checked)
    if checked["test_dataset"]["dataset_type"] != "nifti3d":
        raise InputError("inference_evaluate_3d needs test_dataset.dataset_type: nifti3d.")
    if checked["test_image_rec_loss"] is not None:
        _check_loss(checked["test_image_rec_loss"], "test_image_rec_loss")
        if not (checked["test_image_rec_loss"].get("loss_kwargs") or {}).get("mode_3d"):
            raise InputError("test_image_rec_loss.loss_kwargs needs mode_3d: true to compare volumes.")
    return checked


def evaluate_config(config: Config) -> Config:
    """A configuration of evaluate with defaults, checked."""
    checked = _checked(config, EVALUATE_REQUIRED, EVALUATE_OPTIONAL, "evaluation")
    check_dataset(checked["test_dataset"], "test_dataset")
    _check_reduction(checked)
    return checked


def predict_config(config: Config) -> Config:
    """A configuration of predict_3d with defaults, checked."""
    checked = _checked(config, PREDICT_REQUIRED, PREDICT_OPTIONAL, "prediction")
    if not isinstance(checked["models"], list) or not checked["models"]:
        raise InputError("models is empty; expected a list of {checkpoint_path, along_axis, resize}.")
    keys = ("checkpoint_path", "along_axis", "resize")
    for position, entry in enumerate(checked["models"]):
        _checked(entry, keys, {"small_area": None}, f"models, entry {position + 1}")
        if entry["along_axis"] not in (0, 1, 2):
            raise InputError(f"models, entry {position + 1}: along_axis is {entry['along_axis']!r}; expected 0, 1, 2.")
    return checked


def check_dataset(entry: Any, name: str) -> None:
    """Check {dataset_type, dataset_kwargs, transform_kwargs}."""
    _checked(entry, ("dataset_type", "dataset_kwargs"), {"transform_kwargs": {}}, name)
    if entry["dataset_type"] not in DATASET_TYPES:
        raise unknown(f"{name}.dataset_type", str(entry["dataset_type"]), DATASET_TYPES)
    optional = dict.fromkeys(DATASET_KWARGS[4:])
    _checked(entry["dataset_kwargs"], DATASET_KWARGS[:4], optional, f"{name}.dataset_kwargs")
    _checked(entry.get("transform_kwargs") or {}, (), dict.fromkeys(("resize", "to_tensor", "normalize")), name)


def _checked(config: Any, required: tuple[str, ...], optional: Mapping[str, Any], what: str) -> Config:
    if not isinstance(config, Mapping):
        raise InputError(f"{what}: found {config!r}, expected keys and values.")
    for key in config:
        if key not in required and key not in optional:
            raise unknown(f"{what} configuration: key", str(key), [*required, *optional])
    for key in required:
        if key not in config:
            raise InputError(f"{what} configuration: the key `{key}` is missing.")
        if config[key] is None and key not in MAY_BE_EMPTY:
            raise InputError(f"{what} configuration: `{key}` is empty; fill it in.")
    for key, usual in optional.items():
        if key in config and config[key] is None and usual is not None and usual != {}:
            raise InputError(f"{what} configuration: `{key}` is empty; fill it in, or leave it out ({usual}).")
    check_kinds(config, f"{what} configuration")
    if config.get("model_type", "dpa") != "dpa":
        raise InputError(f"model_type is {config['model_type']!r}; only dpa is known.")
    return {**copy.deepcopy(dict(optional)), **config}


def _check_growing(config: Config) -> None:
    for name, value in ((name, config[name]) for name in ("initial_image_res", "max_image_res", "latent_res")):
        if not isinstance(value, int) or value < 1 or value & (value - 1):
            raise InputError(f"{name} is {value!r}; it must be a power of 2.")
    resolutions = _resolutions(config)
    for at, lengths in (config["iters_per_res"] or {}).items():
        if at not in resolutions:
            raise InputError(f"iters_per_res: {at!r} is no resolution of this training; it has {resolutions}.")
        for kind in lengths if isinstance(lengths, Mapping) else [repr(lengths)]:
            if kind not in ("trns", "stab"):
                raise InputError(f"iters_per_res: {at} has `{kind}`; known are trns and stab.")
            if not whole(0)[1](lengths[kind]):
                raise InputError(
                    f"iters_per_res: {at}, {kind} is {lengths[kind]!r}; expected a whole number from 0 on."
                )


def _resolutions(config: Config) -> list[int]:
    """From the first to the last, powers of 2."""
    found, res = [], config["initial_image_res"]
    while res <= config["max_image_res"]:
        found.append(res)
        res *= 2
    return found


def _check_agreement(config: Config) -> None:
    """Refuse sets that are prepared in two ways, or with other channels than the networks have."""
    ways = [(config[name].get("transform_kwargs") or {}).get("normalize", True) for name in SETS]
    if ways[0] != ways[1]:
        raise InputError(f"transform_kwargs.normalize is {ways[0]} in {SETS[0]} and {ways[1]} in {SETS[1]}; take one.")
    for name in SETS:
        channels = 3 if config[name]["dataset_kwargs"].get("channels3") else 1
        if config["image_dim"] != channels:
            raise InputError(f"image_dim is {config['image_dim']}, the images of {name} have {channels} channel(s).")


def _check_adam(kwargs: Mapping[str, Any]) -> None:
    for name, value in kwargs.items():
        if name not in ADAM:
            raise unknown("adam_kwargs: key", str(name), list(ADAM))
        wanted, fits = ADAM[name]
        if not fits(value):
            raise InputError(f"adam_kwargs: {name} is {value!r}; expected {wanted}.")


def _check_network(entry: Any, side: str, known: tuple[str, ...]) -> None:
    _checked(entry, ("type", "kwargs"), {}, side)
    if "inner_dims" not in entry["kwargs"]:
        raise InputError(f"{side}.kwargs has no inner_dims.")
    check_widths(entry["kwargs"]["inner_dims"], f"{side}.kwargs.inner_dims")
    for key in entry["kwargs"]:
        if key not in known:
            raise unknown(f"{side}.kwargs: key", str(key), known)
    check_kinds(entry["kwargs"], f"{side}.kwargs")


def _check_loss(entry: Any, name: str) -> None:
    _checked(entry, ("loss_type",), {"loss_kwargs": {}}, name)


def _check_reduction(config: Config) -> None:
    if config["score_reduction"] not in ("max", "mean"):
        raise unknown("score_reduction", str(config["score_reduction"]), ("max", "mean"))


def _res(config: Config) -> Any:
    return config["max_image_res"]
