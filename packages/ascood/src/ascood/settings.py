"""What a run of main.py is told, as typed values: `RunConfig` of a resolved config, which nobody behind it reads.

The dictionary itself stays only as text, for config.yml, and as flat keys, for config.json, by which a resumed run is
told what differs.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError, did_you_mean, one_line, unknown
from ood_shared.flags import MOST_WORKERS

from ascood import config as configs
from ascood.build import NetworkSettings
from ascood.data.preprocessing import train_kind
from ascood.data.splits import DatasetSettings
from ascood.data.suites import OutlierSettings
from ascood.scores.catalogue import AnyScore, make_score
from ascood.trainers import TrainerSettings

Config = Mapping[str, Any]
TRAINING = ("train", "train_oe")
PIPELINES = (*TRAINING, "test_acc", "test_ood")
SCHEMES = ("ood", "fsood")
TOP_KEYS = (
    *("exp_name", "output_dir", "save_output", "merge_option", "mark", "seed", "num_gpus", "num_workers", "name"),
    *("num_machines", "machine_rank", "preprocessor", "pipeline", "trainer", "evaluator", "optimizer", "recorder"),
    *("dataset", "network", "ood_dataset", "postprocessor"),
)
OPTIMIZER_KEYS = ("name", "num_epochs", "lr", "fc_lr_factor", "momentum", "weight_decay", "nesterov")
FREE = (  # last parts of keys that may differ when a run goes on
    *("exp_name", "output_dir", "mark", "device", "compile", "log_to", "num_workers", "num_gpus"),
    *("merge_option", "save_output", "folder", "world_size"),
)


@dataclass(frozen=True)
class Optimizer:
    """The `optimizer` block: SGD with a cosine.

    Attributes:
        lr: at the start, of the backbone.
        fc_lr_factor: of the last layer's rate.
        momentum, weight_decay, nesterov: of SGD.
        num_epochs: passes over the training images.
    """

    lr: float = 0.1
    fc_lr_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0005
    nesterov: bool = True
    num_epochs: int = 100

    @classmethod
    def of(cls, block: Config) -> "Optimizer":
        """Of a block; absent values have their defaults.

        Raises:
            InputError: a value is no number, or out of its range.
        """
        if block.get("name", "sgd") != "sgd":
            raise unknown("optimizer.name", str(block["name"]), ("sgd",))
        values = {key: value for key, value in block.items() if key in OPTIMIZER_KEYS and key != "name"}
        for key, value in values.items():
            if key != "nesterov" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                raise InputError(f"optimizer.{key} is {value!r}; expected a number from 0 on.")
        made = cls(**values | {"num_epochs": int(values.get("num_epochs", cls.num_epochs))})
        if not made.momentum < 1:
            raise InputError(f"optimizer.momentum is {made.momentum}; expected a number from 0 on and below 1.")
        if not made.lr > 0 or made.num_epochs < 1:
            raise InputError(
                f"optimizer.lr is {made.lr}, optimizer.num_epochs {values.get('num_epochs')}; expected a rate above 0 "
                "and at least 1 epoch."
            )
        return made


@dataclass(frozen=True)
class Training:
    """What decides the weights, beside data and network.

    Attributes:
        trainer: and its hyper-parameters.
        optimizer: of the weights.
        views: kind of the training chain.
        keep_all: whether the weights of every epoch are kept.
    """

    trainer: TrainerSettings
    optimizer: Optimizer
    views: str
    keep_all: bool

    @classmethod
    def of(cls, config: Config, dataset: str) -> "Training":
        """Of a resolved config; `dataset` is the name of the ID set."""
        return cls(
            TrainerSettings.of(configs.get(config, "trainer") or {}),
            Optimizer.of(configs.get(config, "optimizer") or {}),
            train_kind(dataset, str(configs.get(config, "preprocessor.name", "base"))),
            configs.switch(config, "recorder.save_all_models", False),
        )


@dataclass(frozen=True)
class OodTest:
    """The pipeline test_ood.

    Attributes:
        outliers: the sets.
        score: with its hyper-parameters.
        search: whether they are searched.
        fsood: whether covariate-shifted sets count as ID.
        checkpoint: of the network, for fingerprints.
        save_csv, save_scores: what is written.
    """

    outliers: OutlierSettings
    score: AnyScore
    search: bool
    fsood: bool
    checkpoint: Path
    save_csv: bool
    save_scores: bool

    @classmethod
    def of(cls, config: Config) -> "OodTest":
        """Of a resolved config.

        Raises:
            InputError: no score, or an unknown one, or an unknown scheme.
        """
        name = configs.get(config, "postprocessor.name")
        if name is None:
            raise InputError("The config lacks `postprocessor.name`. Add a file of configs/postprocessors to --config.")
        scheme = str(configs.get(config, "evaluator.ood_scheme", "ood"))
        if scheme not in SCHEMES:
            raise InputError(f"evaluator.ood_scheme `{scheme}` is not known. Known: {', '.join(SCHEMES)}.")
        score = make_score(str(name))
        score.args.update(configs.get(config, "postprocessor.postprocessor_args") or {})
        return cls(
            OutlierSettings.of(config.get("ood_dataset")),
            score,
            configs.switch(config, "postprocessor.APS_mode", False),
            scheme == "fsood",
            Path(str(configs.get(config, "network.checkpoint"))),
            configs.switch(config, "recorder.save_csv", True),
            configs.switch(config, "recorder.save_scores", True),
        )


@dataclass(frozen=True)
class RunConfig:
    """A run of main.py.

    Attributes:
        pipeline: of `PIPELINES`.
        dataset: the ID set.
        network: of the run.
        training: of the training pipelines; None for the others.
        test: of the pipeline test_ood; None for the others.
        seed: of everything that is drawn.
        workers: processes that read files.
        gpus: `num_gpus`; None leaves it open.
        machines: `num_machines`.
        output_dir: the config's folder of the run; None when it names none.
        merge_option: what becomes of a folder that is there.
        save_output: whether config.yml and log.txt are written.
        text: the config as YAML.
        recorded: its values by dotted key, without those that may differ when a run goes on.
    """

    pipeline: str
    dataset: DatasetSettings
    network: NetworkSettings
    training: Training | None
    test: OodTest | None
    seed: int
    workers: int
    gpus: int | None
    machines: int
    output_dir: Path | None
    merge_option: str
    save_output: bool
    text: str
    recorded: Mapping[str, Any]

    @classmethod
    def of(cls, config: Config) -> "RunConfig":
        """Of a resolved config.

        Raises:
            InputError: something that the pipeline needs is missing, or cannot be.
        """
        pipeline = str(configs.get(config, "pipeline.name"))
        if pipeline not in PIPELINES:
            raise unknown("pipeline.name", pipeline, PIPELINES)
        dataset, gpus = DatasetSettings.of(config.get("dataset")), configs.get(config, "num_gpus", 1)
        return cls(
            pipeline,
            dataset,
            NetworkSettings.of(config.get("network")),
            Training.of(config, dataset.name) if pipeline in TRAINING else None,
            OodTest.of(config) if pipeline == "test_ood" else None,
            _count(config, "seed", 0, 0, 2**63 - 1),
            _count(config, "num_workers", 0, 0, MOST_WORKERS),
            None if gpus is None else _count(config, "num_gpus", 1, 0, MOST_WORKERS),
            _count(config, "num_machines", 1, 1, MOST_WORKERS),
            Path(str(config["output_dir"])) if "output_dir" in config else None,
            str(configs.get(config, "merge_option", "default")),
            configs.switch(config, "save_output", True),
            configs.dump(config),
            {
                key: _recordable(configs.get(config, key))
                for key in configs.leaves(config)
                if key.split(".")[-1] not in FREE
            },
        )


def _recordable(value: Any) -> Any:
    """The value as JSON has it: dates, sets and the like, which nothing reads, as text."""
    if isinstance(value, list):
        return [_recordable(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str | dict) else str(value)


def _count(config: Config, key: str, default: int, least: int, most: int) -> int:
    """A whole number of a config, within bounds.

    Raises:
        InputError: it is none, or outside of them.
    """
    value = configs.get(config, key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"{key} is {one_line(value, 80)}; expected a whole number from {least} to {most}.")
    return value


def warn_of_unknown_keys(config: Config) -> None:
    """One line for each key that no pipeline reads, with the nearest that one does: the merger knows no schema."""
    for key in config:
        if key not in TOP_KEYS:
            print(
                f"warning: the config key `{key}` is not used. {did_you_mean(key, TOP_KEYS, shown=6)}", file=sys.stderr
            )
    optimizer, trainer = configs.get(config, "optimizer") or {}, configs.get(config, "trainer.name")
    usual = {"nesterov": True, "fc_lr_factor": 1.0}
    changed = [key for key, value in usual.items() if optimizer.get(key, value) != value]
    for key in changed if trainer != "ascood" else ():
        print(f"warning: optimizer.{key} is not used: it is of the trainer ascood, not of {trainer}.", file=sys.stderr)
    for key in optimizer:
        if key not in OPTIMIZER_KEYS:
            print(f"warning: `optimizer.{key}` is not used. {did_you_mean(key, OPTIMIZER_KEYS)}", file=sys.stderr)
