"""What a training config may hold: known keys, the optimizer's values, and what a resumed run must not change."""

import sys
from collections.abc import Mapping
from typing import Any

from ood_shared.errors import InputError, did_you_mean, unknown

from ascood import config as configs

Config = Mapping[str, Any]
TOP_KEYS = (
    *("exp_name", "output_dir", "save_output", "merge_option", "mark", "seed", "num_gpus", "num_workers", "name"),
    *("num_machines", "machine_rank", "preprocessor", "pipeline", "trainer", "evaluator", "optimizer", "recorder"),
    *("dataset", "network", "ood_dataset", "postprocessor"),
)
OPTIMIZER_KEYS = ("name", "num_epochs", "lr", "fc_lr_factor", "momentum", "weight_decay", "nesterov")
FREE = (  # last parts of keys that may differ when a run goes on
    *("exp_name", "output_dir", "mark", "device", "compile", "log_to", "num_workers", "num_gpus"),
    *("merge_option", "save_output", "folder"),
)


def warn_of_unknown_keys(config: Config) -> None:
    """One line for each key that no pipeline reads, with the nearest that one does: the merger knows no schema."""
    for key in config:
        if key not in TOP_KEYS:
            print(
                f"warning: the config key `{key}` is not used. {did_you_mean(key, TOP_KEYS, shown=6)}", file=sys.stderr
            )
    for key in configs.get(config, "optimizer") or {}:
        if key not in OPTIMIZER_KEYS:
            print(f"warning: `optimizer.{key}` is not used. {did_you_mean(key, OPTIMIZER_KEYS)}", file=sys.stderr)


def optimizer_settings(config: Config) -> dict[str, Any]:
    """The values of the `optimizer` block, checked, with the defaults of those that are absent."""
    block = configs.get(config, "optimizer") or {}
    if block.get("name", "sgd") != "sgd":
        raise unknown("optimizer.name", str(block["name"]), ("sgd",))
    settings = {
        "lr": 0.1,
        "fc_lr_factor": 1.0,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "nesterov": True,
        "num_epochs": 100,
    }
    settings |= {key: block[key] for key in settings if key in block}
    for key, value in settings.items():
        if key != "nesterov" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise InputError(f"optimizer.{key} is {value!r}; expected a number from 0 on.")
    if not settings["lr"] > 0 or int(settings["num_epochs"]) < 1:
        raise InputError(
            f"optimizer.lr is {settings['lr']}, optimizer.num_epochs {settings['num_epochs']}; expected a rate above 0 "
            "and at least 1 epoch."
        )
    return settings


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as flat keys, so that a resumed run can be told which one differs."""
    flat = {key: configs.get(settings["config"], key) for key in configs.leaves(settings["config"])}
    flat = {key: value for key, value in flat.items() if key.split(".")[-1] not in FREE}
    return {**flat, "precision": settings["precision"], "world_size": settings["world_size"]}
