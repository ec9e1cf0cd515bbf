"""What the scripts that train and score do with their flags; those that prepare data: `data.commands`.

`predict_3d.py` has a room of its own, `predict_folder`: the challenge's container runs it without `ood_shared`.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ood_shared import distributed
from ood_shared.devices import resolve_device
from ood_shared.files import reading
from ood_shared.training import Compute

from mood_dpa.config_files import Config, read_config
from mood_dpa.data.paths import with_flags
from mood_dpa.evaluate import evaluate, inference_evaluate_3d
from mood_dpa.scoring_settings import EvaluationSettings, InferenceSettings
from mood_dpa.settings import TrainSettings
from mood_dpa.simclr_settings import SimclrSettings
from mood_dpa.simclr_train import train_simclr
from mood_dpa.standalone import warn_of_slow_bf16
from mood_dpa.train import train

SIMCLR_ROOT = "runs"
ADVICE = "Compare its entries with those of configs/."
Settings = TypeVar("Settings")


def train_step(options: argparse.Namespace) -> None:
    """`main.py train`."""
    config = _config(options, options.config, options.seed)
    settings = _typed(TrainSettings.of, config, options.config)
    with distributed.setup(resolve_device(options.device)) as device:
        warn_of_slow_bf16(device, options.precision)
        train(settings, replace(Compute.from_options(options), device=device))


def inference_step(options: argparse.Namespace) -> None:
    """The command inference_evaluate_3d; several configurations are run in turn."""
    for path in _configs(options):
        settings = _typed(InferenceSettings.of, _config(options, path), path)
        device = resolve_device(options.device)
        with distributed.setup(device) as device:
            warn_of_slow_bf16(device, options.precision)
            inference_evaluate_3d(settings, device, options.precision, options.resume, options.pictures)


def evaluate_step(options: argparse.Namespace) -> None:
    """The command evaluate; several configurations are run in turn."""
    for path in _configs(options):
        settings = _typed(EvaluationSettings.of, _config(options, path), path)
        device = resolve_device(options.device)
        warn_of_slow_bf16(device, options.precision)
        evaluate(settings, device, options.precision)


def simclr_step(options: argparse.Namespace) -> None:
    """`mood-dpa simclr`."""
    settings = _typed(
        lambda config: SimclrSettings.of(config, options.data_dir), read_config(options.config), options.config
    )
    with distributed.setup(resolve_device(options.device)) as device:
        root = Path(options.output_dir or SIMCLR_ROOT)
        seed = 0 if options.seed is None else options.seed
        precision = "fp16" if settings.fp16_precision and options.precision == "fp32" else options.precision
        warn_of_slow_bf16(device, precision)
        compute = replace(Compute.from_options(options), device=device, precision=precision)
        train_simclr(settings, root / Path(options.config).stem, compute, seed, options.rescale)


def _config(options: argparse.Namespace, path: str, seed: int | None = None) -> Config:
    """A configuration with what the flags change."""
    config = read_config(path)
    with reading(path, "configuration", ADVICE):
        return with_flags(config, options.output_dir, seed, options.data_dir, options.rescale)


def _typed(settings: Callable[[Config], Settings], config: Config, path: str) -> Settings:
    """Checked settings; an entry of a kind that it cannot have is said in one line."""
    with reading(path, "configuration", ADVICE):
        return settings(config)


def _configs(options: argparse.Namespace) -> Iterable[str]:
    paths = options.config if isinstance(options.config, list) else [options.config]
    return list(paths)
