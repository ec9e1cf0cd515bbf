"""`main.py train`: from a configuration to a trained autoencoder."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from ood_shared import distributed, runs
from ood_shared.checkpoints import load_parts, of_kinds
from ood_shared.devices import seed_everything
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import reading, real_path, refuse_same_folder
from ood_shared.locks import claimed
from ood_shared.training import Compute
from torch import Tensor

from mood_dpa.checkpoints import build_families, note_ignored_options
from mood_dpa.config_files import Config, write_config
from mood_dpa.data.record import joined, origin_of
from mood_dpa.data.slices import Batches, Images
from mood_dpa.loop import DISPLAYED, Trainer
from mood_dpa.losses import make_loss
from mood_dpa.perceptual import PerceptualLoss
from mood_dpa.run_files import IMAGES, Recorder
from mood_dpa.settings import TrainSettings
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import ADVICE, MODEL, PARTS, PARTS_OF_ALL, RESUME, Progress

COMPARE = "Compare its entries with those of configs/."
FREE = ("num_workers", "verbose", "finetune_from")  # may differ when a run goes on


def train(settings: TrainSettings, compute: Compute) -> Progress:
    """Train; leaves checkpoints in checkpoint_root, curves and pictures in log_root.

    Nothing is written before the data and the checkpoint were read.

    Args:
        settings: of the configuration.
        compute: how to compute; `resume` goes on from `resume.tar` in checkpoint_root when there is one.

    Raises:
        InputError: data, weights or a checkpoint that cannot be used; another training writes to these folders.
    """
    folder, logs, config = settings.checkpoint_root, settings.log_root, settings.loop.stored
    seed = seed_everything(settings.random_seed)
    with reading("The configuration", "training configuration", COMPARE):
        note_ignored_options(config)
        families, loss = build_families(config), make_loss(settings.loss_type, settings.loss_kwargs)
    ranks = (distributed.rank(), distributed.world_size())
    train_images, val_images = (Images(part, seed, settings.rule) for part in (settings.train_set, settings.val_set))
    for images in (train_images, val_images):
        if images.volumes != bool(config.get("mode_3d")):
            kind, word = ("nifti3d", "true") if images.volumes else ("numpy2d", "false")
            raise InputError(f"Data sets of {kind} need `mode_3d: {word}`, in train_dataset and val_dataset alike.")
        for root in (folder, logs):
            refuse_same_folder(root, images.root, flag="checkpoint_root or log_root:")
        images.look()
    _warn_of_shared_cases(train_images, val_images)
    origin = joined([train_images.origin, val_images.origin])
    source = Batches(train_images, torch.Generator().manual_seed(seed), compute.device, settings.num_workers, ranks)
    display = source.display(DISPLAYED)
    with reading("The configuration", "training configuration", COMPARE):
        trainer = Trainer(
            settings.loop,
            families,
            loss,
            source,
            lambda: _validation(val_images, settings.val_drop_last, compute.device, ranks, trainer.batch_size),
            display,
            folder,
            compute=compute,
            origin=origin,
        )
        if isinstance(loss, PerceptualLoss):
            for stage in trainer.plan:
                loss.weights_of(stage.resolution)
    resumes = compute.resume and (folder / RESUME).exists()
    state = None if resumes else _to_finetune(settings.finetune_from)
    if not resumes:
        _start(trainer, state, settings.finetune_from)
    with ExitStack() as locks:
        for root in sorted({real_path(root) for root in (folder, logs)}):
            locks.enter_context(claimed(root, below=[IMAGES]))
        if resumes:
            runs.refuse_other_settings(logs, runs_settings(config), FREE)
            state = load_parts(folder / RESUME, PARTS, ADVICE)
            _start(trainer, state, folder / RESUME)
        if distributed.is_main():
            if not compute.resume and (folder / MODEL).exists():
                print(
                    f"warning: {folder} holds the models of another run; this one writes beside them.", file=sys.stderr
                )
            for root in (folder, logs):
                write_config(root / "train_config.yaml", config)
        recorder = Recorder(logs, runs_settings(config), int(state["n_iter"]) if state else 0, settings.verbose)
        trainer.listeners.append(recorder)
        if settings.verbose and distributed.is_main():
            counts = f"{len(train_images)} training and {len(val_images)} validation images"
            print(f"{counts}, seed {seed}, {compute.device}")
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


def _start(trainer: Trainer, state: dict[str, Any] | None, source: Path | None) -> None:
    """Build the networks, new or as a checkpoint has them; what does not fit is said here."""
    if state is None:
        with reading("The configuration", "training configuration", COMPARE):
            trainer.enter()
        return
    before = origin_of(state, source).rescale
    now = trainer.origin.rescale
    if before is not None and now is not None and before != now:
        raise InputError(
            f"{source} was trained on intensities by `{before}`, the images now are by `{now}`. Make them by the same "
            "rule."
        )
    trainer.load_state_dict(state, source)


def _to_finetune(path: Path | None) -> dict[str, Any] | None:
    """The checkpoint of finetune_from; None where the entry is empty."""
    if path is None:
        return None
    if not path.is_file():
        raise MissingFileError(f"finetune_from {path} is missing; leave the entry empty to train from the start.")
    state = load_checkpoint(path)
    for key in ("stage", "resolution", "enc", "dec"):
        if key not in state:
            raise InputError(f"finetune_from {path} is no training checkpoint: it lacks `{key}`.")
    if "display_x" not in state:
        raise InputError(f"finetune_from {path} is a finished model; pass the checkpoint.tar beside it.")
    of_kinds(state, PARTS_OF_ALL, path, ADVICE)
    return state


def _warn_of_shared_cases(train_images: Images, val_images: Images) -> None:
    """One line where images are validated on that are trained on, too: the checkpoint is chosen by them."""
    shared = set(train_images.names) & set(val_images.names)
    if shared and real_path(train_images.root) == real_path(val_images.root) and distributed.is_main():
        print(
            f"warning: {len(shared)} of {len(val_images)} validation images are trained on, too; the checkpoint is "
            "chosen by them. Compare split and fold of train_dataset and val_dataset.",
            file=sys.stderr,
        )


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
