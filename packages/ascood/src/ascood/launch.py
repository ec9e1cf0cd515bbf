"""main.py: from its flags to a resolved config, and into the pipeline, in one process or in several."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from ood_shared import distributed
from ood_shared.errors import InputError

from ascood import config as configs
from ascood.commands import run_pipeline
from ascood.overrides import DEFAULT_CONFIGS


def main(options: argparse.Namespace) -> int:
    """The program."""
    config = read_config(options)
    processes = int(configs.get(config, "num_gpus", 1) or 0)
    if int(configs.get(config, "num_machines", 1)) > 1 and not distributed.launched():
        raise InputError(
            "num_machines is above 1: start main.py on every machine with torchrun --nnodes, --node-rank and "
            "--rdzv-endpoint."
        )
    if processes > 1 and not distributed.launched():
        available = torch.cuda.device_count()
        if available >= processes:
            return _start_again(processes)
        print(
            f"warning: num_gpus {processes} was asked for, but there are {available}; running in one process.",
            file=sys.stderr,
        )
    return run_pipeline(options, config)


def read_config(options: argparse.Namespace) -> dict[str, Any]:
    """The resolved config of the flags.

    Raises:
        InputError: neither --config nor --id-data, or what `config.load_config` refuses.
    """
    files: list[str] = list(options.config)
    if options.id_data is None and not files:
        raise InputError("--config is missing: one or more yml files. Or pass --id-data digits for the embedded data.")
    if options.id_data is None:
        return configs.load_config(files, options.overrides)
    files = files or list(DEFAULT_CONFIGS)
    if options.id_data.startswith("folder:"):
        with tempfile.TemporaryDirectory() as folder:
            block = Path(folder) / "folder.yml"
            block.write_text(yaml.safe_dump({"dataset": folder_block(options.id_data)}), encoding="utf-8")
            return configs.load_config([str(block), *files], options.overrides)
    name = (
        options.id_data
        if options.id_data.endswith(".yml")
        else f"configs/datasets/{options.id_data}/{options.id_data}.yml"
    )
    return configs.load_config([name, *files], options.overrides)


def folder_block(id_data: str) -> dict[str, Any]:
    """The `dataset` block of own data in a folder; see `suites.folder_suite` for its layout."""
    from ascood.data.suites import folder_suite

    root = Path(id_data.removeprefix("folder:")).expanduser()
    suite = folder_suite(root)
    split = {"dataset_class": "FolderDataset", "root": str(root), "batch_size": 128}
    sizes = {"pre_size": suite.chain.pre_size, "image_size": suite.chain.image_size}
    splits = {"train": {**split, "shuffle": True}, "test": {**split, "shuffle": False}}
    val = {**splits["test"], "split": "test" if _lacks_val(root) else "val"}
    return {
        "name": suite.name,
        "num_classes": suite.classes,
        **sizes,
        "interpolation": "bilinear",
        "normalization_type": "unknown",
        "split_names": ["train", "val", "test"],
        **splits,
        "val": val,
    }


def _lacks_val(root: Path) -> bool:
    from ascood.data.splits import read_folder

    try:
        read_folder("val", root, "val", 32)
    except InputError:
        return True
    return False


def _start_again(processes: int) -> int:
    """The same command under torchrun, one process for each GPU of this machine, as the original starts them."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    sys.stdout.flush()
    os.execv(sys.executable, [*words, "-m", "ascood", "train", *sys.argv[1:]])
