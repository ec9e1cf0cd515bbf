"""Going on with a run: to the bit from the full checkpoint, or plainly from the published files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError, MissingFileError
from ood_shared.runs import CHECKPOINT, read_settings

from imood.checkpoints import LATEST, load_file, load_into, read_features
from imood.fit import HISTORIES, Job, Progress
from imood.settings import MAY_DIFFER, Settings

PARTS = ("network", "optimizer", "scheduler", "scaler", "pool", "rng", "progress", "seed")


def saved_seed(folder: Path | None) -> int | None:
    """The seed of the run in a folder, when its full checkpoint is there."""
    if folder is None or not (folder / CHECKPOINT).is_file():
        return None
    seed = read_settings(folder).get("seed")
    return seed if isinstance(seed, int) else None


def restore(job: Job, settings: Settings, folder: Path | None) -> Progress:
    """Where the run stands: at the start without a folder, else where the run in it was left.

    With the settings of that run its full checkpoint is taken, and the run goes on to the bit. With other ones, or
    with `latest.pth` (and `id_feats.pth`) alone, weights, optimiser, histories and pool are taken over from the last
    whole epoch; what does not fit is said.

    Raises:
        MissingFileError: the folder holds neither.
        InputError: the file is damaged, or does not fit the network.
    """
    if folder is None:
        return Progress()
    if (folder / CHECKPOINT).is_file():
        other = _difference(folder, settings)
        if other is None:
            return _restore_all(job, folder / CHECKPOINT)
        _say(f"--resume: {folder} was started with {other}; only weights, optimiser and histories are taken over.")
    return _restore_published(job, folder, len(settings.counts))


def _restore_all(job: Job, path: Path) -> Progress:
    state = checkpoints.load_parts(path, PARTS, "Delete it, or start anew.")
    if "cl_loss_weights" in state["network"] and "cl_loss_weights" not in job.network.state_dict():
        job.network.register_buffer("cl_loss_weights", state["network"]["cl_loss_weights"].to(job.device))
    checkpoints.load_weights(job.network, state["network"], path)
    job.optimizer.load_state_dict(state["optimizer"])
    job.scheduler.load_state_dict(state["scheduler"])
    job.scaler.load_state_dict(state["scaler"])
    if job.pool is not None and state["pool"] is not None:
        job.pool.load_state_dict(state["pool"])
    checkpoints.restore_rng_state(state["rng"])
    return Progress(**state["progress"])


def _restore_published(job: Job, folder: Path, n_classes: int) -> Progress:
    path = folder / LATEST
    if not path.is_file():
        raise MissingFileError(f"--resume: {folder} holds neither {CHECKPOINT} nor {LATEST}. Name the folder of a run.")
    state = load_file(path)
    if not isinstance(state, Mapping) or not isinstance(state.get("model"), Mapping):
        raise InputError(f"{path} has no weights under `model`.")
    weights = {name.removeprefix("module."): value for name, value in state["model"].items()}
    for line in load_into(job.network, weights, path, n_classes):
        _say(line)
    for name, target in (("optimizer", job.optimizer), ("scheduler", job.scheduler)):
        try:
            if name == "optimizer":
                target.load_state_dict(state[name])
        except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            _say(f"--resume: the {name} of {path} does not fit ({type(error).__name__}); it starts anew.")
    epoch = state.get("epoch")
    if not isinstance(epoch, int) or epoch < -1:
        raise InputError(f"{path} does not say after which epoch it was written.")
    _set_epoch(job, epoch + 1)
    if job.pool is not None:
        _restore_pool(job, folder)
    histories = {name: [float(value) for value in state.get(name, [])] for name in HISTORIES}
    _say(f"--resume: going on with epoch {epoch + 1} from {path}.")
    return Progress(epoch=epoch + 1, best_overall_acc=float(state.get("best_overall_acc", 0.0)), histories=histories)


def _set_epoch(job: Job, epoch: int) -> None:
    """The learning rate of an epoch, which is a function of its number."""
    scheduler: Any = job.scheduler
    scheduler.last_epoch = epoch
    rates = [base * factor(epoch) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    for group, base, rate in zip(job.optimizer.param_groups, scheduler.base_lrs, rates, strict=True):
        group["initial_lr"], group["lr"] = base, rate
    scheduler._last_lr = rates


def _restore_pool(job: Job, folder: Path) -> None:
    found = read_features(folder)
    if found is None:
        _say(f"--resume: {folder} has no id_feats.pth; the feature pool starts empty.")
    elif job.pool is not None:
        job.pool.load_queue(found[0].to(job.device))


def _difference(folder: Path, settings: Settings) -> str | None:
    """The first setting that differs from those of the run in the folder, in words."""
    before = read_settings(folder)
    for name, value in settings.record().items():
        if name not in MAY_DIFFER and name in before and before[name] != value:
            return f"{name} = {before[name]!r}, now it is {value!r}"
    return None


def _say(line: str) -> None:
    if distributed.is_main():
        print(line, flush=True)
