"""Configurations as typed values: the words of a YAML file are read here, once, after `configuration` checked them.

What a run stores (`train_config.yaml`, `config.json`, the `config` of its checkpoints) stays the mapping that was read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mood_dpa.config_files import Config
from mood_dpa.configuration import RESCALE, train_config
from mood_dpa.data.intensities import Rule


@dataclass(frozen=True)
class ImageSet:
    """A data set entry: which images of a folder, and how they are prepared.

    Attributes:
        volumes: NIfTI volumes, else slices.
        image_root: their folder.
        folds_path: the folds file.
        fold: the test fold.
        split: `train`, `val` or `all`.
        mask_root: folder of the masks.
        brain_size_path: CSV of slices' sizes, for `filter_brain_size`.
        filter_brain_size: least size of a slice.
        max_dataset_size: most images, chosen at random.
        cache: keep the prepared images in memory.
        channels3: three channels, by way of 8-bit images.
        size: pixels per side that they are brought to; None leaves them.
        normalised: to [-1, 1], else [0, 1].
    """

    volumes: bool
    image_root: Path
    folds_path: Path
    fold: int
    split: str
    mask_root: Path | None = None
    brain_size_path: Path | None = None
    filter_brain_size: float | None = None
    max_dataset_size: int | None = None
    cache: bool = False
    channels3: bool = False
    size: int | None = None
    normalised: bool = True

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "ImageSet":
        """Of {dataset_type, dataset_kwargs, transform_kwargs}."""
        kwargs, transform = entry["dataset_kwargs"], entry.get("transform_kwargs") or {}
        least = kwargs.get("filter_brain_size")
        return cls(
            volumes=entry["dataset_type"] == "nifti3d",
            image_root=Path(kwargs["image_root"]),
            folds_path=Path(kwargs["folds_path"]),
            fold=int(kwargs["fold"]),
            split=kwargs["split"],
            mask_root=_path(kwargs.get("mask_root")),
            brain_size_path=_path(kwargs.get("brain_size_path")),
            filter_brain_size=None if least is None else float(least),
            max_dataset_size=kwargs.get("max_dataset_size"),
            cache=bool(kwargs.get("cache")),
            channels3=bool(kwargs.get("channels3")),
            size=transform.get("resize"),
            normalised=transform.get("normalize", True),
        )


@dataclass(frozen=True)
class LoopSettings:
    """What the training loop goes by; the names are those of the configuration.

    Attributes:
        stored: the configuration as files keep it.
    """

    initial_image_res: int
    max_image_res: int
    trns_iter: int
    stab_iter: int
    iters_per_res: Mapping[int, Mapping[str, int]]
    log_iter: int
    val_iter: int
    image_sample_iter: int
    save_iter: int
    early_stopping_patience: float
    early_stopping_min_delta: float
    batch_sizes: Mapping[int, int]
    adam_kwargs: Mapping[str, Any]
    stored: Config = field(repr=False)

    @classmethod
    def of(cls, config: Config) -> "LoopSettings":
        """Of a training configuration; `save_iter` is `val_iter` where it is empty."""
        names = [name for name in cls.__dataclass_fields__ if name not in ("stored", "save_iter", "iters_per_res")]
        given = {name: config[name] for name in names}
        every, lengths = config.get("save_iter") or config["val_iter"], config.get("iters_per_res") or {}
        return cls(**given, save_iter=every, iters_per_res=lengths, stored=config)


@dataclass(frozen=True)
class TrainSettings:
    """A training; the names are those of the configuration.

    Attributes:
        loss_type: of `perceptual.make_loss`.
        loss_kwargs: likewise.
        rule: how intensities of volumes get to [0, 1]; None wants them there.
    """

    loop: LoopSettings
    checkpoint_root: Path
    log_root: Path
    random_seed: int | None
    num_workers: int
    verbose: bool
    finetune_from: Path | None
    train_set: ImageSet
    val_set: ImageSet
    val_drop_last: bool
    loss_type: str
    loss_kwargs: Mapping[str, Any]
    rule: Rule | None = None

    @classmethod
    def of(cls, content: Config) -> "TrainSettings":
        """Of a configuration of `main.py train`, which is checked."""
        config = train_config(content)
        loss = config["image_rec_loss"]
        kwargs = dict(loss.get("loss_kwargs") or {})
        if config["mode_3d"]:
            kwargs["mode_3d"] = True
        return cls(
            loop=LoopSettings.of(config),
            checkpoint_root=Path(config["checkpoint_root"]),
            log_root=Path(config["log_root"]),
            random_seed=config["random_seed"],
            num_workers=int(config["num_workers"]),
            verbose=bool(config["verbose"]),
            finetune_from=_path(config["finetune_from"]),
            train_set=ImageSet.of(config["train_dataset"]),
            val_set=ImageSet.of(config["val_dataset"]),
            val_drop_last=bool(config["val_drop_last"]),
            loss_type=loss["loss_type"],
            loss_kwargs=kwargs,
            rule=rule_in(config),
        )


def rule_in(config: Config) -> Rule | None:
    """The rule that a configuration names under `rescale`."""
    words = config.get(RESCALE)
    return None if words is None else Rule.of(words, RESCALE)


def _path(text: Any) -> Path | None:
    return Path(text) if text else None
