"""Which kind of value each key of a configuration has, in all of them; a wrong one is said before anything starts."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from mood_dpa.standalone import InputError, one_line

MOST = 2**31 - 1  # of a whole number
MOST_SEED = 2**32 - 1
SIDE = 4096  # pixels or voxels per side


def whole(least: int, most: int = MOST) -> tuple[str, Callable[[Any], bool]]:
    """A whole number in bounds; true and false are none."""
    return f"a whole number from {least} to {most}", lambda value: type(value) is int and least <= value <= most


def number(least: float = -math.inf) -> tuple[str, Callable[[Any], bool]]:
    """A finite number."""

    def fits(value: Any) -> bool:
        try:
            found = float(value)  # YAML reads 10e-6 as text
        except (TypeError, ValueError, OverflowError):
            return False
        return not isinstance(value, bool) and math.isfinite(found) and found >= least

    return f"a number from {least:g} on" if math.isfinite(least) else "a number", fits


TEXT = "a text", lambda value: isinstance(value, str) and value != "" and "\0" not in value
SWITCH = "true or false", lambda value: isinstance(value, bool) or value in (0, 1)
MAPPING = "keys and values", lambda value: isinstance(value, Mapping)
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("checkpoint_root", "log_root", "results_root", "test_model_path", "checkpoint_path"), TEXT),
    **dict.fromkeys(("image_root", "mask_root", "folds_path", "brain_size_path", "finetune_from", "split"), TEXT),
    **dict.fromkeys(("path_to_vgg19_weights", "score_reduction", "type", "loss_type", "dataset_type"), TEXT),
    **dict.fromkeys(("pad_type", "reduction", "base_model", "fine_tune_from"), TEXT),
    **dict.fromkeys(("verbose", "save_inference", "do_not_process_small_area", "delete_zero_area", "mode_3d"), SWITCH),
    **dict.fromkeys(("use_smooth_pg", "normalize_to_vgg_input", "normalize_vgg_input", "imagenet_pretrained"), SWITCH),
    **dict.fromkeys(("use_L1_norm", "use_relative_error", "use_cosine_similarity", "fp16_precision"), SWITCH),
    **dict.fromkeys(("cache", "channels3", "val_drop_last", "normalize", "normalize_latents"), SWITCH),
    "to_tensor": ("true, as networks take no other kind of image", lambda value: value in (True, 1)),
    **dict.fromkeys(("trns_iter", "stab_iter", "fold"), whole(0)),
    **dict.fromkeys(
        ("save_iter", "log_iter", "val_iter", "image_sample_iter", "max_dataset_size", "test_batch_size"), whole(1)
    ),
    **dict.fromkeys(("resize", "resize_3d_for_evaluation", "test_resize", "latent_res"), whole(1, SIDE)),
    **dict.fromkeys(("initial_image_res", "max_image_res"), whole(1, SIDE)),
    **dict.fromkeys(("latent_dim", "image_dim"), whole(1, 1 << 16)),
    **dict.fromkeys(("early_stopping_min_delta", "small_area", "early_stopping_patience", "weight_decay"), number(0)),
    **dict.fromkeys(("adam_kwargs", "batch_sizes", "kwargs", "loss_kwargs", "dataset_kwargs"), MAPPING),
    **dict.fromkeys(("transform_kwargs", "iters_per_res", "weights_per_resolution", "feature_weights"), MAPPING),
    **dict.fromkeys(("s", "filter_brain_size"), number()),
    "img_weight": number(0),
    "out_dim": whole(1, 1 << 16),
    "temperature": ("a number above 0", lambda value: number(0)[1](value) and float(value) > 0),
    "num_workers": whole(0, 1024),
    "random_seed": whole(0, MOST_SEED),
    "divisor": ("a number above 0", lambda value: number(0)[1](value) and float(value) > 0),
}


ADAM: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("a number above 0", lambda value: _real(value) and value > 0),
    "betas": (
        "two numbers from 0 on and below 1",
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) == 2
            and all(_real(entry) and 0 <= entry < 1 for entry in value)
        ),
    ),
    **dict.fromkeys(("eps", "weight_decay"), ("a number from 0 on", lambda value: _real(value) and value >= 0)),
    **dict.fromkeys(("amsgrad", "foreach", "maximize", "capturable", "differentiable", "fused"), SWITCH),
}


def _real(value: Any) -> bool:
    """Whether a value is a finite number, and no text that could be read as one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_kinds(config: Mapping[Any, Any], what: str) -> None:
    """Refuse values of other kinds; empty ones are left to the caller, unknown keys too.

    Raises:
        InputError: names the first, with what was expected.
    """
    for key, value in config.items():
        if value is None or key not in KINDS:
            continue
        wanted, fits = KINDS[key]
        if not fits(value):
            raise InputError(f"{what}: `{key}` is {one_line(repr(value), 60)}; expected {wanted}.")


def check_layer_weights(weights: Mapping[Any, Any], what: str) -> None:
    """Refuse weights of layers that are no numbers from 0 on."""
    wanted, fits = number(0)
    for layer, weight in weights.items():
        if not fits(weight):
            raise InputError(f"{what}: the weight of {layer} is {one_line(repr(weight), 60)}; expected {wanted}.")


def check_widths(value: Any, where: str) -> None:
    """Refuse channels that are no list of whole numbers from 1 on."""
    if not isinstance(value, list | tuple) or not value or not all(whole(1, 1 << 16)[1](entry) for entry in value):
        raise InputError(f"{where} is {one_line(repr(value), 60)}; expected a list of whole numbers from 1 on.")
