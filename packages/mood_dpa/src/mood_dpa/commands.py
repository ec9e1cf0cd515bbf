"""What the scripts that train and score do with their flags; those that prepare data: `data.commands`.

`predict_3d.py` has a room of its own, `predict.predict_step`: the challenge's container runs it without `ood_shared`.
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ood_shared import distributed
from ood_shared.devices import resolve_device
from ood_shared.training import Compute

from mood_dpa.configuration import read_config
from mood_dpa.data.paths import with_flags
from mood_dpa.evaluate import evaluate, inference_evaluate_3d
from mood_dpa.scoring_settings import EvaluationSettings, InferenceSettings
from mood_dpa.settings import TrainSettings
from mood_dpa.simclr_settings import SimclrSettings
from mood_dpa.simclr_train import train_simclr
from mood_dpa.standalone import warn_of_slow_bf16
from mood_dpa.train import train

SIMCLR_ROOT = "runs"


def train_step(options: argparse.Namespace) -> None:
    """`main.py train`."""
    config = with_flags(read_config(options.config), options.output_dir, options.seed, options.data_dir)
    settings = TrainSettings.of(config)
    with distributed.setup(resolve_device(options.device)) as device:
        warn_of_slow_bf16(device, options.precision)
        train(settings, replace(Compute.from_options(options), device=device))


def inference_step(options: argparse.Namespace) -> None:
    """The command inference_evaluate_3d; several configurations are run in turn."""
    for path in _configs(options):
        settings = InferenceSettings.of(with_flags(read_config(path), options.output_dir, data_dir=options.data_dir))
        device = resolve_device(options.device)
        with distributed.setup(device) as device:
            warn_of_slow_bf16(device, options.precision)
            inference_evaluate_3d(settings, device, options.precision, options.resume, options.pictures)


def evaluate_step(options: argparse.Namespace) -> None:
    """The command evaluate; several configurations are run in turn."""
    for path in _configs(options):
        settings = EvaluationSettings.of(with_flags(read_config(path), options.output_dir, data_dir=options.data_dir))
        device = resolve_device(options.device)
        warn_of_slow_bf16(device, options.precision)
        evaluate(settings, device, options.precision)


def simclr_step(options: argparse.Namespace) -> None:
    """`mood-dpa simclr`."""
    settings = SimclrSettings.of(read_config(options.config), options.data_dir)
    with distributed.setup(resolve_device(options.device)) as device:
        root = Path(options.output_dir or SIMCLR_ROOT)
        seed = 0 if options.seed is None else options.seed
        precision = "fp16" if settings.fp16_precision and options.precision == "fp32" else options.precision
        warn_of_slow_bf16(device, precision)
        compute = replace(Compute.from_options(options), device=device, precision=precision)
        train_simclr(settings, root / Path(options.config).stem, compute, seed)


def _configs(options: argparse.Namespace) -> Iterable[str]:
    paths = options.config if isinstance(options.config, list) else [options.config]
    return list(paths)
