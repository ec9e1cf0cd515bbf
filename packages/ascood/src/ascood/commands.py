"""What main.py does with its flags: a config of them, then one of the pipelines train, train_oe, test_acc, test_ood."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ood_shared import checkpoints, distributed, files
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.files import path_of
from ood_shared.training import Compute

from ascood import config as configs
from ascood import run_files
from ascood.build import make_network, to_device
from ascood.data.splits import read_splits
from ascood.data.suites import suite_of
from ascood.data.user_folder import folder_block
from ascood.evaluator import Evaluator
from ascood.overrides import DEFAULT_CONFIGS
from ascood.settings import RunConfig, warn_of_unknown_keys
from ascood.tables import as_csv, as_text, cells
from ascood.train import Opened, evaluate_network, labels_of, split_names, test_batches, train


def main(options: argparse.Namespace) -> int:
    """The program."""
    resolved = read_config(options)
    config = RunConfig.of(resolved)
    if config.machines > 1 and not distributed.launched():
        raise InputError(
            "num_machines is above 1: start main.py on every machine with torchrun --nnodes, --node-rank and "
            "--rdzv-endpoint."
        )
    processes = config.gpus or 0
    if processes > 1 and not distributed.launched():
        available = torch.cuda.device_count()
        if available >= processes:
            return _start_again(processes)
        print(
            f"warning: num_gpus {processes} was asked for, but there are {available}; running in one process.",
            file=sys.stderr,
        )
    if config.training is not None:
        warn_of_unknown_keys(resolved)
    gpu = "-1" if config.gpus == 0 else ("0" if options.device == "auto" and config.gpus is not None else None)
    folder = config.output_dir if options.output_dir is None else Path(options.output_dir)
    with distributed.setup(resolve_device(options.device, gpu)) as device:
        compute = Compute(device, options.precision, options.compile, options.log_to, options.resume, options.data_dir)
        if config.pipeline == "test_acc":
            test_accuracy(config, compute)
            return 0
        if folder is None:
            raise InputError("The config lacks `output_dir`. Put a file of configs/pipelines into --config.")
        if config.test is not None:
            if _may_write(config, folder, compute.resume):
                test_ood(config, folder, compute, partial(_opened, config, folder, True))
            return 0
        read_splits(config.dataset, split_names(config), compute.data_dir)  # refuses before anybody is asked
        if _may_write(config, folder, compute.resume):
            opened = partial(_opened, config, folder, config.save_output)
            train(config, folder, compute, options.sync_bn, options.deterministic, opened)
    return 0


def read_config(options: argparse.Namespace) -> dict[str, Any]:
    """The resolved config of the flags.

    Raises:
        InputError: neither --config nor --id-data, or what `config.load_config` refuses.
    """
    yml_files: list[str] = list(options.config)
    if options.id_data is None and not yml_files:
        raise InputError("--config is missing: one or more yml files. Or pass --id-data digits for the embedded data.")
    if options.id_data is None:
        return configs.load_config(yml_files, options.overrides)
    yml_files = yml_files or list(DEFAULT_CONFIGS)
    if options.id_data.startswith("folder:"):
        block = folder_block(path_of(options.id_data.removeprefix("folder:")))
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "folder.yml"
            file.write_text(yaml.safe_dump({"dataset": block}), encoding="utf-8")
            return configs.load_config([str(file), *yml_files], options.overrides)
    name = (
        options.id_data
        if options.id_data.endswith(".yml")
        else f"configs/datasets/{options.id_data}/{options.id_data}.yml"
    )
    return configs.load_config([name, *yml_files], options.overrides)


def test_accuracy(config: RunConfig, compute: Compute) -> float:
    """The pipeline test_acc: accuracy of a pretrained network on the test split."""
    network = to_device(make_network(config.network, config.dataset.classes), compute.device)
    splits = read_splits(config.dataset, ("test",), compute.data_dir)
    batches = test_batches(config, splits["test"], "test", compute.device)
    accuracy = evaluate_network(network, batches, labels_of(batches), compute.precision)[1]
    if distributed.is_main():
        print(f"Test accuracy: {100 * accuracy:.2f}", flush=True)
    return accuracy


def test_ood(config: RunConfig, folder: Path, compute: Compute, opened: Opened) -> None:
    """The pipeline test_ood: one network, one score, `ood.csv` and `scores/<set>.npz` in the run folder.

    Args:
        config: of the pipeline.
        folder: for ood.csv (rows are appended to an existing one) and the scores.
        compute: device and the like.
        opened: entered when all is scored, before anything is written.
    """
    test = config.test
    assert test is not None  # of this pipeline
    suite = suite_of(config.dataset, test.outliers, compute.data_dir)
    network = to_device(make_network(config.network, suite.classes), compute.device).eval()
    identity = {"weights": checkpoints.sha256(test.checkpoint) if test.checkpoint.is_file() else None}
    evaluator = Evaluator(network, suite, None, compute.device, identity, 200, config.workers, compute.precision)
    arrays, _ = evaluator.score_all(test.score, test.fsood, test.search)
    rows = cells([evaluator.table(arrays, test.fsood)], spread=False)
    if not distributed.is_main():
        return
    with opened(0):
        print(as_text(rows, f"{test.score.name}, percent"), flush=True)
        if test.save_csv:
            append_rows(folder / "ood.csv", rows)
        if test.save_scores:
            for key in evaluator.keys(test.fsood):
                with files.atomic_path(folder / "scores" / f"{key.rsplit('/', 1)[-1]}.npz") as temporary:
                    parts: dict[str, Any] = {part: arrays[f"{key}/{part}"] for part in ("pred", "conf", "label")}
                    np.savez(temporary, **parts)


test_accuracy.__test__ = test_ood.__test__ = False  # type: ignore[attr-defined] # no tests, whatever their names


def append_rows(path: Path, rows: list[list[str]]) -> None:
    """Rows of `dataset` and the five metrics, after those that are there."""
    before = files.read_text(path, "a table of scores") if path.exists() else None
    files.write_text(path, (before or "") + as_csv(rows, None if before else "dataset"))


def _may_write(config: RunConfig, folder: Path, resume: bool) -> bool:
    """Whether the run may write into its folder: rank 0 asks, and tells the others."""
    goes_on = not distributed.is_main() or run_files.enter_folder(folder, config.merge_option, resume)
    if all(distributed.gather_objects(goes_on)):
        return True
    print(f"{folder} is left as it is.")
    return False


@contextlib.contextmanager
def _opened(config: RunConfig, folder: Path, log: bool, epochs: int) -> Iterator[None]:
    """Rank 0 keeps config.yml, and log.txt of what is printed inside the block, after that of the finished epochs."""
    writes = distributed.is_main()
    if writes and config.save_output:
        files.write_text(folder / "config.yml", config.text)
    with run_files.logged(folder / "log.txt" if writes and log else None, epochs):
        yield


def _start_again(processes: int) -> int:
    """The same command under torchrun, one process for each GPU of this machine, as the original starts them."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    sys.stdout.flush()
    os.execv(sys.executable, [*words, "-m", "ascood", "train", *sys.argv[1:]])
