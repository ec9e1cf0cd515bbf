"""`main.py train`: from a configuration to a trained autoencoder."""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from ood_shared import distributed, runs
from ood_shared.devices import seed_everything
from ood_shared.errors import InputError, MissingFileError
from ood_shared.training import Compute
from torch import Tensor

from mood_dpa.checkpoints import build_families, note_ignored_options
from mood_dpa.configuration import Config, write_config
from mood_dpa.data.slices import Batches, Images
from mood_dpa.loop import DISPLAYED, Trainer
from mood_dpa.losses import make_loss
from mood_dpa.run_files import Recorder
from mood_dpa.settings import TrainSettings
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import MODEL, RESUME, Progress

FREE = ("num_workers", "verbose", "finetune_from")  # may differ when a run goes on


def train(settings: TrainSettings, compute: Compute) -> Progress:
    """Train; leaves checkpoints in checkpoint_root, curves and pictures in log_root.

    Args:
        settings: of the configuration.
        compute: how to compute; `resume` goes on from `resume.tar` in checkpoint_root when there is one.

    Raises:
        InputError: data, weights or a checkpoint that cannot be used.
    """
    folder, logs, config = settings.checkpoint_root, settings.log_root, settings.loop.stored
    state = _checkpoint(settings, compute.resume)
    seed = seed_everything(settings.random_seed)
    note_ignored_options(config)
    ranks = (distributed.rank(), distributed.world_size())
    train_images, val_images = (Images(part, seed) for part in (settings.train_set, settings.val_set))
    source = Batches(train_images, torch.Generator().manual_seed(seed), compute.device, settings.num_workers, ranks)
    loss = make_loss(settings.loss_type, settings.loss_kwargs)
    if distributed.is_main():
        if not compute.resume and (folder / MODEL).exists():
            print(f"warning: {folder} holds the models of another run; this one writes beside them.", file=sys.stderr)
        for root in (folder, logs):
            write_config(root / "train_config.yaml", config)
    last_step = int(state["n_iter"]) if state else 0
    recorder = Recorder(logs, runs_settings(config), last_step, settings.verbose)
    trainer = Trainer(
        settings.loop,
        build_families(config),
        loss,
        source,
        lambda: _validation(val_images, settings.val_drop_last, compute.device, ranks, trainer.batch_size),
        source.display(DISPLAYED),
        folder,
        listeners=[recorder],
        compute=compute,
    )
    if state is not None:
        trainer.load_state_dict(state, settings.finetune_from or folder / RESUME)
    if settings.verbose and distributed.is_main():
        print(f"{len(train_images)} training and {len(val_images)} validation images, seed {seed}, {compute.device}")
    try:
        progress = trainer.fit()
        trainer.save_resume()
    finally:
        recorder.close()
    distributed.wait_for_all()
    return progress


def runs_settings(config: Config) -> dict[str, Any]:
    """The configuration as JSON keeps it."""
    return {str(key): value if not isinstance(value, dict) else runs_settings(value) for key, value in config.items()}


def _checkpoint(settings: TrainSettings, resume: bool) -> dict[str, Any] | None:
    """The state to go on from."""
    stopped = settings.checkpoint_root / RESUME
    if resume and stopped.is_file():
        runs.refuse_other_settings(settings.log_root, runs_settings(settings.loop.stored), FREE)
        return load_checkpoint(stopped)
    path = settings.finetune_from
    if path is not None:
        if not path.is_file():
            raise MissingFileError(f"finetune_from {path} is missing; leave the entry empty to train from the start.")
        state = load_checkpoint(path)
        for key in ("stage", "resolution", "enc", "dec"):
            if key not in state:
                raise InputError(f"finetune_from {path} is no training checkpoint: it lacks `{key}`.")
        if "display_x" not in state:
            raise InputError(f"finetune_from {path} is a finished model; pass the checkpoint.tar beside it.")
        return state
    return None


def _validation(
    images: Images, drop_last: bool, device: torch.device, ranks: tuple[int, int], batch_size: int
) -> Iterator[Tensor]:
    """One pass in order; every rank takes its part of each batch."""
    rank, count = ranks
    for start in range(0, len(images), batch_size):
        index = list(range(start, min(start + batch_size, len(images))))
        if drop_last and len(index) < batch_size:
            return
        if index[rank::count]:
            yield images.read(index[rank::count], device)
