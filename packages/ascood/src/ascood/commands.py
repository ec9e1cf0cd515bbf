"""The pipelines of main.py: train, train_oe, test_acc, test_ood; and the folder that they write to."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ood_shared import distributed
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, unknown

from ascood import config as configs
from ascood import run_files
from ascood.build import network_of_config, to_device
from ascood.data.splits import read_splits, test_chain
from ascood.test_pipeline import test_ood
from ascood.train import Compute, evaluate_network, labels_of, test_batches, train
from ascood.trainers import OUTLIER_TRAINERS, read_arguments
from ascood.training_settings import optimizer_settings

Config = Mapping[str, Any]


def run_pipeline(options: argparse.Namespace, config: Config) -> int:
    """What main.py does with its resolved config."""
    gpus = configs.get(config, "num_gpus", 1)
    gpu = "-1" if gpus == 0 else ("0" if options.device == "auto" and gpus is not None else None)
    with distributed.setup(resolve_device(options.device, gpu)) as device:
        compute = Compute(
            device,
            options.precision,
            options.compile,
            options.log_to,
            options.resume,
            options.sync_bn,
            options.deterministic,
            options.data_dir,
        )
        return _pipeline(config, compute, options)


def test_accuracy(config: Config, compute: Compute) -> float:
    """The pipeline test_acc: accuracy of a pretrained network on the test split."""
    network = to_device(network_of_config(config["network"], int(config["dataset"]["num_classes"])), compute.device)
    splits = read_splits(config, ("test",), compute.data_dir)
    batches = test_batches(config, splits["test"], test_chain(config["dataset"]), "test", compute)
    accuracy = evaluate_network(network, batches, labels_of(batches), compute.precision)[1]
    if distributed.is_main():
        print(f"Test accuracy: {100 * accuracy:.2f}", flush=True)
    return accuracy


test_accuracy.__test__ = False  # type: ignore[attr-defined] # not a test, whatever its name


def _pipeline(config: Config, compute: Compute, options: argparse.Namespace) -> int:
    name = str(configs.get(config, "pipeline.name"))
    pipelines: dict[str, Callable[[], int]] = {
        "train": lambda: _train_pipeline(config, compute, options),
        "train_oe": lambda: _train_pipeline(config, compute, options),
        "test_acc": lambda: int(test_accuracy(config, compute) < 0),
        "test_ood": lambda: _test_ood(config, compute, options),
    }
    if name not in pipelines:
        raise unknown("pipeline.name", name, pipelines)
    return pipelines[name]()


def _folder(config: Config, options: argparse.Namespace) -> Path:
    if options.output_dir is not None:
        return Path(options.output_dir)
    if "output_dir" not in config:
        raise InputError("The config lacks `output_dir`. Put a file of configs/pipelines into --config.")
    return Path(str(config["output_dir"]))


def _open_folder(config: Config, compute: Compute, folder: Path) -> bool:
    """Enter the folder on rank 0 and tell the others; whether the run goes on."""
    goes_on = True
    if distributed.is_main():
        goes_on = run_files.enter_folder(folder, str(configs.get(config, "merge_option", "default")), compute.resume)
        if goes_on and configs.get(config, "save_output", True):
            folder.mkdir(parents=True, exist_ok=True)
            run_files.write_config(folder, config)
    return all(distributed.gather_objects(goes_on))


def _train_pipeline(config: Config, compute: Compute, options: argparse.Namespace) -> int:
    read_arguments(config)  # refuses before a folder is made
    optimizer_settings(config)
    names = ("train", "val", "test") + (("oe",) if configs.get(config, "trainer.name") in OUTLIER_TRAINERS else ())
    read_splits(config, names, compute.data_dir)
    folder = _folder(config, options)
    if not _open_folder(config, compute, folder):
        print(f"{folder} is left as it is.")
        return 0
    log = folder / "log.txt" if distributed.is_main() and configs.get(config, "save_output", True) else None
    with run_files.logged(log, append=compute.resume):
        train(config, folder, compute)
    return 0


def _test_ood(config: Config, compute: Compute, options: argparse.Namespace) -> int:
    folder = _folder(config, options)
    if not _open_folder(config, compute, folder):
        print(f"{folder} is left as it is.")
        return 0
    with run_files.logged(folder / "log.txt" if distributed.is_main() else None, append=False):
        test_ood(config, folder, compute)
    return 0
