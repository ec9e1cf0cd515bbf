"""The configuration of SimCLR: defaults, checks, and typed values."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mood_dpa.config_files import Config
from mood_dpa.configuration import DATASET_KWARGS
from mood_dpa.data.paths import PATHS, resolve
from mood_dpa.kinds import SIDE, check_kinds, whole
from mood_dpa.settings import ImageSet
from mood_dpa.simclr import BASES
from mood_dpa.standalone import InputError, one_line, unknown

DEFAULTS: Config = {
    "batch_size": 256,
    "epochs": 80,
    "eval_every_n_epochs": 1,
    "log_every_n_steps": 50,
    "weight_decay": 1e-5,
    "fp16_precision": False,
    "T_max_decrease": 10,
    "fine_tune_from": None,
    "epoch_warmup": 1,
    "lr": 3e-4,  # fixed in the published code; VGG19 collapses at it within a few steps (see `collapse`)
    "warmup_steps": 0,  # of a linear rise of the rate; the published code has none
    "model": {"base_model": "vgg19", "out_dim": 256},
    "dataset": {},
    "loss": {"temperature": 0.5, "use_cosine_similarity": True},
}
WHOLE = {  # least value of each key that is a whole number
    **dict.fromkeys(("epochs", "eval_every_n_epochs", "log_every_n_steps", "T_max_decrease"), 1),
    **dict.fromkeys(("warmup_steps", "epoch_warmup"), 0),
    "batch_size": 2,
}
PARAMS = ("s", "input_shape", "num_workers", "valid_size", "train", "val")


@dataclass(frozen=True)
class SimclrSettings:
    """A SimCLR training.

    Attributes:
        size: pixels per side of a view.
        strength: of brightness and contrast.
        train: folders of slices.
        val: likewise.
        stored: the configuration as files keep it.
        others: the names are those of the configuration.
    """

    batch_size: int
    epochs: int
    eval_every_n_epochs: int
    log_every_n_steps: int
    weight_decay: float
    fp16_precision: bool
    T_max_decrease: int
    fine_tune_from: str | None
    epoch_warmup: int
    lr: float
    warmup_steps: int
    base_model: str
    out_dim: int
    temperature: float
    cosine: bool
    size: int
    strength: float
    train: tuple[ImageSet, ...]
    val: tuple[ImageSet, ...]
    stored: Config = field(repr=False)

    @classmethod
    def of(cls, content: Config, data_dir: str | None = None) -> "SimclrSettings":
        """Of a configuration, which is checked.

        Args:
            content: of the file.
            data_dir: where relative data paths begin.
        """
        config = simclr_config(content)
        params = config["dataset"]["dataset_params"]
        for entry in [*params["train"], *params["val"]]:
            entry |= {path: resolve(str(entry[path]), data_dir) for path in PATHS if entry.get(path)}
        plain = [name for name in DEFAULTS if name not in ("model", "dataset", "loss")]
        return cls(
            **{name: config[name] for name in plain},
            base_model=config["model"]["base_model"],
            out_dim=int(config["model"]["out_dim"]),
            temperature=float(config["loss"]["temperature"]),
            cosine=bool(config["loss"]["use_cosine_similarity"]),
            size=_input_size(params),
            strength=float(params.get("s", 1)),
            train=tuple(map(_slices, params["train"])),
            val=tuple(map(_slices, params["val"])),
            stored=config,
        )


def simclr_config(config: Config) -> Config:
    """A SimCLR configuration with defaults, checked.

    Raises:
        InputError: names the first key that is unknown, missing or wrong.
    """
    for key in config:
        if key not in DEFAULTS:
            raise unknown("SimCLR configuration: key", str(key), DEFAULTS)
    checked = {**DEFAULTS, **config}
    for name in ("weight_decay", "lr"):
        checked[name] = _number(name, checked[name])
    for name, least in WHOLE.items():
        if not whole(least)[1](checked[name]):
            raise InputError(f"{name} is {one_line(repr(checked[name]), 60)}; expected a whole number from {least} on.")
    if not checked["lr"] > 0:
        raise InputError(f"lr is {checked['lr']}; expected a positive number.")
    if checked["fine_tune_from"] in ("None", ""):
        checked["fine_tune_from"] = None
    check_kinds(checked, "SimCLR configuration")
    for name in ("model", "loss"):
        if not isinstance(checked[name], Mapping):
            keys = ", ".join(DEFAULTS[name])
            raise InputError(f"{name} is {checked[name]!r}; expected keys and values ({keys}), or leave it out.")
    check_kinds(checked["model"], "model")
    check_kinds(checked["loss"], "loss")
    params = (checked["dataset"] or {}).get("dataset_params") or {}
    for key in params:
        if key not in PARAMS:
            raise unknown("dataset_params: key", str(key), PARAMS)
    check_kinds(params, "dataset_params")
    if checked["model"].get("base_model", BASES[0]) not in BASES:
        raise unknown("base_model", str(checked["model"]["base_model"]), BASES)
    for name in ("train", "val"):
        if not params.get(name):
            raise InputError(f"dataset.dataset_params.{name} is empty; name at least one folder of slices.")
        for entry in params[name]:
            check_kinds(entry, f"dataset_params.{name}")
            for key in ("image_root", "folds_path", "fold", "split"):
                if entry.get(key) is None:
                    raise InputError(f"dataset_params.{name}: an entry lacks `{key}`.")
    return checked


def _slices(kwargs: Mapping[str, Any]) -> ImageSet:
    # channels3 makes 8-bit RGB of a slice; a grey view with three equal channels is the same, without the copy
    kept = {key: value for key, value in kwargs.items() if key in DATASET_KWARGS and key != "channels3"}
    return ImageSet.of({"dataset_type": "numpy2d", "dataset_kwargs": kept, "transform_kwargs": {"normalize": False}})


def _input_size(params: Config) -> int:
    """Pixels of a view; the shipped configuration writes the shape as text."""
    shape = params.get("input_shape", "(96,96,3)")
    sides = re.findall(r"-?\d+", shape[:80]) if isinstance(shape, str) else shape
    side = int(sides[0])
    if not 1 <= side <= SIDE:
        raise InputError(f"dataset_params.input_shape is {one_line(shape, 60)}; expected (side, side, 3), 1 to {SIDE}.")
    return side


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # YAML reads 10e-6 as text
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise InputError(f"{name} is {value!r}; expected a number.")
    return number
