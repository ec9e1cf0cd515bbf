"""`mood-dpa simclr CONFIG`: pre-train VGG19 on slices, as the first stage of the challenge solution."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import (
    autocast,
    lay_out,
    make_scaler,
    maybe_compile,
    seed_everything,
    send,
    tuned_convolutions,
)
from ood_shared.errors import InputError
from ood_shared.locks import claimed
from ood_shared.runs import Run, refuse_other_settings
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import RANKS, Compute, refuse_other_ranks, save_state, update
from torch import Tensor

from mood_dpa.collapse import CollapseWatch
from mood_dpa.config_files import write_config
from mood_dpa.data.intensities import Rule
from mood_dpa.data.slices import Images
from mood_dpa.settings import ImageSet
from mood_dpa.simclr import SimCLR, cosine_rates, nt_xent, simclr_optimizer, two_views, warmed
from mood_dpa.simclr_settings import SimclrSettings
from mood_dpa.standalone import load_checkpoint
from mood_dpa.state import refuse_other_moments

MAY_DIFFER = ("epochs", "log_every_n_steps", "eval_every_n_epochs")  # on resuming
MODEL = "model.pth"
PARTS = {
    **{"network": Mapping, "optimizer": Mapping, "scaler": Mapping, "generator": Tensor, "epoch": int},
    "best": (int, float),
}


class Slices:
    """The slices of several data set entries, as one."""

    def __init__(self, sets: Sequence[ImageSet], size: int, seed: int, rule: Rule | None = None) -> None:
        self.parts = [Images(part, seed, rule) for part in sets]
        self.size = size
        self.index = [(part, i) for part, images in enumerate(self.parts) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self.index)

    def read(self, order: list[int], device: torch.device) -> Tensor:
        """Slices (n, 1, 2 size, 2 size) in [0, 1]: enough for crops of `size`, and all of one size."""
        from mood_dpa.data.preprocessing import prepare_slices

        arrays = [self.parts[part].raw(i) for part, i in (self.index[position] for position in order)]
        alike = len({(array.shape, array.dtype) for array in arrays}) == 1
        stacks = [np.stack(arrays)] if alike else [array[None] for array in arrays]
        slices = [send(torch.from_numpy(stack.copy()), device) for stack in stacks]
        return torch.cat([prepare_slices(part, 2 * self.size, normalised=False) for part in slices]).clamp(0, 1)


def train_simclr(
    settings: SimclrSettings,
    folder: Path,
    compute: Compute,
    seed: int = 0,
    rule: Rule | None = None,
) -> float:
    """Train; leaves the best weights in `folder/checkpoints/model.pth`.

    That file is what `path_to_vgg19_weights` takes (the solution calls a copy simclr_exp_1.tar). `rule` is `any-range`
    or None: slices have to lie in [0, 1]. Nothing is written before slices and checkpoint were read.

    Returns:
        The best validation loss.

    Raises:
        InputError: too few slices; the loss became NaN; the features collapsed. What was saved before is kept.
    """
    seed_everything(seed)
    size = settings.size
    train, val = (Slices(part, size, seed, rule) for part in (settings.train, settings.val))
    batch = min(settings.batch_size, len(train))
    if min(batch, len(val)) < 2:
        raise InputError(f"SimCLR needs at least 2 slices to train and to validate, found {len(train)} and {len(val)}.")
    for images in (*train.parts, *val.parts):
        images.look()
    with claimed(folder, folder / "checkpoints" / MODEL):
        return _train(settings, folder, compute, seed, train, val)


def _train(settings: SimclrSettings, folder: Path, compute: Compute, seed: int, train: Slices, val: Slices) -> float:
    """The training, in a folder that no other one writes to."""
    device, precision = compute.device, compute.precision
    size, rank, world = settings.size, distributed.rank(), distributed.world_size()
    batch = min(settings.batch_size, len(train))
    network = SimCLR(settings.base_model, settings.out_dim).to(device)
    lay_out(network, device)  # on a CPU 512 channels of 2 x 2 pixels are slower channels last
    best_path = folder / "checkpoints" / MODEL
    if settings.fine_tune_from:
        source = folder.parent / settings.fine_tune_from / "checkpoints" / MODEL
        if source.is_file():
            checkpoints.load_weights(network, load_checkpoint(source), source)
        else:
            print(f"note: fine_tune_from {source} is missing; training starts from scratch.", file=sys.stderr)
    rate, decay = settings.lr, settings.weight_decay
    optimizer = simclr_optimizer(network, rate, decay)
    scaler, generator = make_scaler(device, precision), torch.Generator().manual_seed(seed)
    views = torch.Generator().manual_seed(seed * 1000 + rank)  # every rank has views of its own
    steps = len(train) // batch
    epochs = settings.epochs
    warmup = settings.warmup_steps
    rates = cosine_rates(epochs, steps, settings.epoch_warmup, settings.T_max_decrease, rate)
    watch = CollapseWatch(device, rate, warmup, "the configuration")
    first, done, best = 0, 0, float("inf")  # whole epochs, steps of the next one, best validation loss
    state_path = folder / "checkpoint.pt"
    if compute.resume and state_path.exists():
        refuse_other_settings(folder, {"seed": seed, **settings.stored}, MAY_DIFFER)
        state = checkpoints.load_parts(state_path, PARTS)
        ranks = state[RANKS] if RANKS in state else _ranks_of_old(state)
        refuse_other_ranks(state_path, len(ranks), "Start anew without --resume.")
        checkpoints.load_weights(network, state["network"], state_path)
        with checkpoints.restoring(state_path):
            optimizer.load_state_dict(state["optimizer"])
            refuse_other_moments(optimizer)
            scaler.load_state_dict(state["scaler"])
            generator.set_state(state["generator"])
            first, best = int(state["epoch"]), float(state["best"])
            done = int(state.get("step", 0))  # older checkpoints are of whole epochs
            own = ranks[rank]
            views.set_state(own["views"])
            if "watch" in own:  # older checkpoints have none
                watch.load_state_dict(own["watch"])
    distributed.broadcast(network)
    run = Run(folder, {"seed": seed, **settings.stored}, log_to="tensorboard", last_step=first * steps + done)
    if distributed.is_main():
        write_config(folder / "checkpoints" / "config.yaml", settings.stored)
    forward = maybe_compile(network, compute.compile)

    def loss_of(order: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        one, two = two_views(train_or_val.read(order, device), size, views, settings.strength)
        with autocast(device, precision):
            zi, zj = forward(one)[1], forward(two)[1]
        zi, zj = _unit(zi, zj)
        return nt_xent(zi, zj, settings.temperature, settings.cosine), zi, zj

    def save(epoch: int, step: int, drawn: Tensor) -> None:
        """Where the training stands: whole epochs, steps of the next one, and the generator before its order."""
        common = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
        common |= {"scaler": scaler.state_dict(), "generator": drawn, "epoch": epoch, "step": step}
        save_state(state_path, common, {"views": views.get_state(), "watch": watch.state_dict()})

    with deferred_sigterm() as stop, tuned_convolutions():
        for epoch in range(first, epochs):
            train_or_val, drawn = train, generator.get_state()
            network.train()
            for number, order in enumerate(_batches(len(train), batch, generator, rank, world)):
                if number < done:
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = warmed(rates[epoch], epoch * steps + number, warmup)
                loss, zi, zj = loss_of(order)
                watch.add(loss, zi, zj)
                update(network, optimizer, scaler, loss)
                at = epoch * steps + number + 1
                if at % settings.log_every_n_steps == 0 or number + 1 == steps:
                    run.log({"epoch": at, "train_loss": float(loss.detach())})
                watch.check(at, now=number + 1 == steps)
                if distributed.on_any_rank(stop.requested, device):
                    save(epoch, number + 1, drawn)
                    raise Terminated
            done = 0
            if (epoch + 1) % settings.eval_every_n_epochs == 0 or epoch + 1 == epochs:
                train_or_val = val
                value = _validate(network, loss_of, len(val), min(batch, len(val)))
                if value < best:
                    best = value
                    if distributed.is_main():
                        checkpoints.save(best_path, network.state_dict())
                run.log({"epoch": (epoch + 1) * steps, "validation_loss": value, "cosine_lr_decay": rates[epoch]})
                if distributed.is_main():
                    print(f"epoch {epoch + 1}/{epochs}  validation loss {value:.4f}", flush=True)
            save(epoch + 1, 0, generator.get_state())
    run.close()
    return best


def _ranks_of_old(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What is each rank's own in a checkpoint of an earlier version: views by rank, one count for all, if any."""
    counts = {"watch": state["watch"]} if "watch" in state else {}
    return [{"views": views, **counts} for views in state["views"]]


def _unit(zi: Tensor, zj: Tensor) -> tuple[Tensor, Tensor]:
    return torch.nn.functional.normalize(zi.float(), dim=1), torch.nn.functional.normalize(zj.float(), dim=1)


def _batches(n: int, batch: int, generator: torch.Generator, rank: int, world: int) -> Iterator[list[int]]:
    order = torch.randperm(n, generator=generator)
    for start in range(0, n - batch + 1, batch):
        own: list[int] = order[start : start + batch][rank::world].tolist()
        yield own


@torch.no_grad()
def _validate(network: torch.nn.Module, loss_of: Any, n: int, batch: int) -> float:
    """Mean loss over whole batches, with random views as in training. A loss that is no number is an error."""
    network.eval()
    losses = [loss_of(list(range(start, start + batch)))[0] for start in range(0, n - batch + 1, batch)]
    value = float(torch.stack(losses).mean())
    if value != value:
        raise InputError("The SimCLR loss became NaN. Lower the learning rate or take --precision fp32.")
    return value
