"""`mood-dpa simclr CONFIG`: pre-train VGG19 on slices, as the first stage of the challenge solution."""

import argparse
import ast
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.devices import autocast, make_scaler, maybe_compile, resolve_device, seed_everything
from ood_shared.errors import InputError, unknown
from ood_shared.runs import Run, refuse_other_settings
from ood_shared.signals import Terminated, deferred_sigterm
from ood_shared.training import RANKS, refuse_other_ranks, save_state, update
from torch import Tensor

from mood_dpa.collapse import CollapseWatch
from mood_dpa.configuration import DATASET_KWARGS, Config, read_config, write_config
from mood_dpa.data.paths import PATHS, resolve
from mood_dpa.data.slices import Images
from mood_dpa.simclr import SimCLR, cosine_rates, nt_xent, two_views, warmed
from mood_dpa.standalone import load_checkpoint, warn_of_slow_bf16

DEFAULTS: Config = {
    "batch_size": 256,
    "epochs": 80,
    "eval_every_n_epochs": 1,
    "log_every_n_steps": 50,
    "weight_decay": 1e-5,
    "fp16_precision": False,
    "T_max_decrease": 10,
    "fine_tune_from": None,
    "epoch_warmup": 1,
    "lr": 3e-4,  # fixed in the published code; VGG19 collapses at it within a few steps (see `collapse`)
    "warmup_steps": 0,  # of a linear rise of the rate; the published code has none
    "model": {"base_model": "vgg19", "out_dim": 256},
    "dataset": {},
    "loss": {"temperature": 0.5, "use_cosine_similarity": True},
}
WHOLE = {  # least value of each key that is a whole number
    **dict.fromkeys(("epochs", "eval_every_n_epochs", "log_every_n_steps", "T_max_decrease"), 1),
    **dict.fromkeys(("warmup_steps", "epoch_warmup"), 0),
    "batch_size": 2,
}
MAY_DIFFER = ("epochs", "log_every_n_steps", "eval_every_n_epochs")  # on resuming
PARAMS = ("s", "input_shape", "num_workers", "valid_size", "train", "val")
RUN, MODEL = "runs", "model.pth"


class Slices:
    """The slices of several data set entries, as one."""

    def __init__(self, entries: list[dict[str, Any]], size: int, seed: int) -> None:
        self.parts = []
        for kwargs in entries:
            # channels3 makes 8-bit RGB of a slice; a grey view with three equal channels is the same, without the copy
            kept = {k: v for k, v in kwargs.items() if k in DATASET_KWARGS and k != "channels3"}
            entry = {"dataset_type": "numpy2d", "dataset_kwargs": kept, "transform_kwargs": {"normalize": False}}
            self.parts.append(Images(entry, seed))
        self.size = size
        self.index = [(part, i) for part, images in enumerate(self.parts) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self.index)

    def read(self, order: list[int], device: torch.device) -> Tensor:
        """Slices (n, 1, 2 size, 2 size) in [0, 1]: enough for crops of `size`, and all of one size."""
        from mood_dpa.data.preprocessing import prepare_slices

        found = []
        for position in order:
            part, i = self.index[position]
            array = torch.from_numpy(self.parts[part].raw(i).copy())[None].to(device)
            found.append(prepare_slices(array, 2 * self.size, normalised=False))
        return torch.cat(found).clamp(0, 1)


def simclr_step(options: argparse.Namespace) -> None:
    """The command."""
    config = simclr_config(read_config(options.config))
    for name in ("train", "val"):
        for entry in config["dataset"]["dataset_params"][name]:
            for path in PATHS:
                if entry.get(path):
                    entry[path] = resolve(str(entry[path]), options.data_dir)
    with distributed.setup(resolve_device(options.device)) as device:
        root = Path(options.output_dir or RUN)
        seed = 0 if options.seed is None else options.seed
        precision = "fp16" if config["fp16_precision"] and options.precision == "fp32" else options.precision
        warn_of_slow_bf16(device, precision)
        train_simclr(config, root / Path(options.config).stem, device, precision, options.compile, seed, options.resume)


def simclr_config(config: Config) -> Config:
    """A SimCLR configuration with defaults, checked."""
    for key in config:
        if key not in DEFAULTS:
            raise unknown("SimCLR configuration: key", str(key), DEFAULTS)
    found = {**DEFAULTS, **config}
    for name in ("weight_decay", "lr"):
        found[name] = _number(name, found[name])
    for name, least in WHOLE.items():
        if type(found[name]) is not int or found[name] < least:  # a bool is no number
            raise InputError(f"{name} is {found[name]!r}; expected a whole number from {least} on.")
    if not found["lr"] > 0:
        raise InputError(f"lr is {found['lr']}; expected a positive number.")
    if found["fine_tune_from"] in ("None", ""):
        found["fine_tune_from"] = None
    params = (found["dataset"] or {}).get("dataset_params") or {}
    for key in params:
        if key not in PARAMS:
            raise unknown("dataset_params: key", str(key), PARAMS)
    for name in ("train", "val"):
        if not params.get(name):
            raise InputError(f"dataset.dataset_params.{name} is empty; name at least one folder of slices.")
        for entry in params[name]:
            for key in ("image_root", "folds_path", "fold", "split"):
                if entry.get(key) is None:
                    raise InputError(f"dataset_params.{name}: an entry lacks `{key}`.")
    return found


def input_size(params: Config) -> int:
    """Pixels of a view; the shipped configuration writes the shape as text."""
    shape = params.get("input_shape", "(96,96,3)")
    found = ast.literal_eval(shape) if isinstance(shape, str) else shape
    return int(found[0])


def train_simclr(
    config: Config,
    folder: Path,
    device: torch.device,
    precision: str = "fp32",
    compiled: bool = False,
    seed: int = 0,
    resume: bool = False,
) -> float:
    """Train; leaves the best weights in `folder/checkpoints/model.pth`.

    That file is what `path_to_vgg19_weights` takes (the solution calls a copy simclr_exp_1.tar).

    Returns:
        The best validation loss.

    Raises:
        InputError: too few slices; the loss became NaN; the features collapsed. What was saved before is kept.
    """
    seed_everything(seed)
    params = config["dataset"]["dataset_params"]
    size, rank, world = input_size(params), distributed.rank(), distributed.world_size()
    train, val = (Slices(params[name], size, seed) for name in ("train", "val"))
    batch = min(int(config["batch_size"]), len(train))
    if min(batch, len(val)) < 2:
        raise InputError(f"SimCLR needs at least 2 slices to train and to validate, found {len(train)} and {len(val)}.")
    network = SimCLR(config["model"]["base_model"], int(config["model"]["out_dim"])).to(device)
    best_path = folder / "checkpoints" / MODEL
    if config["fine_tune_from"]:
        source = folder.parent / str(config["fine_tune_from"]) / "checkpoints" / MODEL
        if source.is_file():
            checkpoints.load_weights(network, load_checkpoint(source), source)
        else:
            print(f"note: fine_tune_from {source} is missing; training starts from scratch.", file=sys.stderr)
    optimizer = torch.optim.Adam(network.parameters(), config["lr"], weight_decay=config["weight_decay"])
    scaler, generator = make_scaler(device, precision), torch.Generator().manual_seed(seed)
    views = torch.Generator().manual_seed(seed * 1000 + rank)  # every rank has views of its own
    steps = len(train) // batch
    epochs = int(config["epochs"])
    rate, warmup = config["lr"], int(config["warmup_steps"])
    rates = cosine_rates(epochs, steps, int(config["epoch_warmup"]), int(config["T_max_decrease"]), rate)
    watch = CollapseWatch(device, rate, warmup, "the configuration")
    first, best = 0, float("inf")
    state_path = folder / "checkpoint.pt"
    if resume and state_path.is_file():
        refuse_other_settings(folder, {"seed": seed, **config}, MAY_DIFFER)
        state = load_checkpoint(state_path)
        ranks = state[RANKS] if RANKS in state else _ranks_of_old(state)
        refuse_other_ranks(state_path, len(ranks), "Start anew without --resume.")
        checkpoints.load_weights(network, state["network"], state_path)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        generator.set_state(state["generator"])
        first, best = int(state["epoch"]), float(state["best"])
        own = ranks[rank]
        views.set_state(own["views"])
        if "watch" in own:  # older checkpoints have none
            watch.load_state_dict(own["watch"])
    distributed.broadcast(network)
    run = Run(folder, {"seed": seed, **config}, log_to="tensorboard", last_step=first * steps)
    if distributed.is_main():
        write_config(folder / "checkpoints" / "config.yaml", config)
    forward = maybe_compile(network, compiled)

    def loss_of(order: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        one, two = two_views(train_or_val.read(order, device), size, views, float(params.get("s", 1)))
        with autocast(device, precision):
            zi, zj = forward(one)[1], forward(two)[1]
        zi, zj = _unit(zi, zj)
        settings = config["loss"]
        return nt_xent(zi, zj, float(settings["temperature"]), bool(settings["use_cosine_similarity"])), zi, zj

    with deferred_sigterm() as stop:
        for epoch in range(first, epochs):
            train_or_val = train
            network.train()
            for number, order in enumerate(_batches(len(train), batch, generator, rank, world)):
                for group in optimizer.param_groups:
                    group["lr"] = warmed(rates[epoch], epoch * steps + number, warmup)
                loss, zi, zj = loss_of(order)
                watch.add(loss, zi, zj)
                update(network, optimizer, scaler, loss)
                at = epoch * steps + number + 1
                if at % int(config["log_every_n_steps"]) == 0 or number + 1 == steps:
                    run.log({"epoch": at, "train_loss": float(loss.detach())})
                watch.check(at, now=number + 1 == steps)
                if distributed.on_any_rank(stop.requested, device):
                    raise Terminated  # goes on from the last whole epoch
            if (epoch + 1) % int(config["eval_every_n_epochs"]) == 0 or epoch + 1 == epochs:
                train_or_val = val
                value = _validate(network, loss_of, len(val), min(batch, len(val)))
                if value < best:
                    best = value
                    if distributed.is_main():
                        checkpoints.save(best_path, network.state_dict())
                run.log({"epoch": (epoch + 1) * steps, "validation_loss": value, "cosine_lr_decay": rates[epoch]})
                if distributed.is_main():
                    print(f"epoch {epoch + 1}/{epochs}  validation loss {value:.4f}", flush=True)
            common = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "best": best}
            common |= {"scaler": scaler.state_dict(), "generator": generator.get_state(), "epoch": epoch + 1}
            save_state(state_path, common, {"views": views.get_state(), "watch": watch.state_dict()})
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
        found: list[int] = order[start : start + batch][rank::world].tolist()
        yield found


def _number(name: str, value: object) -> float:
    try:
        found = float(value)  # type: ignore[arg-type] # YAML reads 10e-6 as text
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise InputError(f"{name} is {value!r}; expected a number.")
    return found


@torch.no_grad()
def _validate(network: torch.nn.Module, loss_of: Any, n: int, batch: int) -> float:
    """Mean loss over whole batches, with random views as in training. A loss that is no number is an error."""
    network.eval()
    losses = [loss_of(list(range(start, start + batch)))[0] for start in range(0, n - batch + 1, batch)]
    value = float(torch.stack(losses).mean())
    if value != value:
        raise InputError("The SimCLR loss became NaN. Lower the learning rate or take --precision fp32.")
    return value
