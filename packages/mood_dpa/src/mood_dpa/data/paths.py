"""Where a configuration's paths point: flags of the command line, and the embedded subjects."""

import copy
from pathlib import Path

from mood_dpa.config_files import Config
from mood_dpa.configuration import RESCALE
from mood_dpa.data.intensities import Rule

EMBEDDED = "embedded:"
PATHS = ("image_root", "mask_root", "folds_path", "brain_size_path")


def with_flags(
    config: Config,
    output_dir: str | None = None,
    seed: int | None = None,
    data_dir: str | None = None,
    rescale: Rule | None = None,
) -> Config:
    """A configuration with the command line's wishes.

    `--output-dir DIR` puts checkpoints to DIR/checkpoints, logs to DIR/logs and results to DIR/results; `--data-dir` is
    where relative data paths begin; `--seed` replaces random_seed, `--rescale` or
    `--any-range` the key rescale. A path that begins with `embedded:` lies in the
    folder of the embedded subjects, which are made when they are not there.
    """
    changed = copy.deepcopy(config)
    for key, name in (("checkpoint_root", "checkpoints"), ("log_root", "logs"), ("results_root", "results")):
        if output_dir is not None and key in changed:
            changed[key] = str(Path(output_dir) / name)
    if seed is not None and "random_seed" in changed:
        changed["random_seed"] = seed
    if rescale is not None:
        changed[RESCALE] = str(rescale)
    for key in ("train_dataset", "val_dataset", "test_dataset"):
        entry = changed.get(key)
        kwargs = entry.get("dataset_kwargs") if isinstance(entry, dict) else None
        if not isinstance(kwargs, dict):
            continue
        for name in PATHS:
            if kwargs.get(name):
                kwargs[name] = resolve(str(kwargs[name]), data_dir)
    return changed


def resolve(path: str, data_dir: str | None) -> str:
    """One data path."""
    if path.startswith(EMBEDDED):
        return str(embedded_folder(data_dir) / path.removeprefix(EMBEDDED))
    if data_dir is not None and not Path(path).is_absolute():
        return str(Path(data_dir) / path)
    return path


def embedded_folder(data_dir: str | None) -> Path:
    """The folder of the embedded subjects, made on first use."""
    from mood_dpa.data.subjects import DemoSet, ensure_subjects

    folder = Path(data_dir or "data") / "mni152_subjects"
    ensure_subjects(folder, DemoSet())
    return folder
