"""Whole training runs in float64, through the training loop, against the reference."""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ascood.build import parameter_groups
from ascood.loop import fit
from ascood.objectives import AscoodArgs, Objective, Pass, alpha_at, ascood_step
from ascood.outliers import OOD_TYPES
from ascood.state import Job, Standing
from ascood.testing import check_close, filled, network_of
from ood_shared.testing.golden import Golden, check_each, golden_dir, names

GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
FACTS = GOLDEN.json("facts")
SETTINGS = FACTS["train_steps"]
FILES = sorted({path.name for path in GOLDEN.folder.glob("train_steps_*.npz")})
TYPES = [name.removeprefix("train_steps_").removesuffix(".npz") for name in FILES]


class Recorded:
    """The batches of the reference, in the same order in each epoch."""

    def __init__(self, arrays, dtype):
        self.batches = [
            (torch.from_numpy(arrays[f"x{n}"]).to(dtype), torch.from_numpy(arrays[f"y{n}"]))
            for n in sorted(map(int, names(arrays, "x*", "y*")))
        ]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert not state


@dataclass
class Run:
    """What a run leaves: numbers by step or epoch, and states after those steps whose state the vectors hold."""

    arrays: dict
    hparams: dict
    seen: dict
    smoothed: list
    states: dict


@pytest.mark.parametrize("ood_type", OOD_TYPES)
def test_there_is_a_run_for_every_type(ood_type):
    if ood_type not in TYPES:
        pytest.skip(f"train_steps_{ood_type}.npz is not there")


@functools.cache
def run_of(ood_type, folder):
    arrays = GOLDEN.npz(f"train_steps_{ood_type}")
    hparams = dict(zip(SETTINGS["hparams_order"], arrays["hparams"].tolist(), strict=True))
    dtype = getattr(torch, SETTINGS["dtype"])
    network = network_of({**SETTINGS, "classes": hparams["classes"]})
    filled(network, FACTS["salt"]["train_steps"], dtype)
    network.set_params(SETTINGS["sigma"])
    args = AscoodArgs(
        w=SETTINGS["w"],
        sigma=SETTINGS["sigma"],
        p_inv=SETTINGS["p_inv"],
        ood_type=ood_type,
        alpha_min=SETTINGS["alpha_min"],
        alpha_max=SETTINGS["alpha_max"],
    )
    run = Pass(network, network, contextlib.nullcontext, contextlib.nullcontext, torch.Generator())
    groups = parameter_groups(network, SETTINGS["lr"], SETTINGS["fc_lr_factor"])
    for group in groups:
        group["initial_lr"] = group["lr"]
    optimizer = torch.optim.SGD(
        groups, momentum=SETTINGS["momentum"], weight_decay=SETTINGS["weight_decay"], nesterov=SETTINGS["nesterov"]
    )
    seen = {"id_loss": [], "ood_loss": [], "rates": [], "alphas": []}
    states = {}
    recorded = {int(key.split("/")[0].removeprefix("step")) for key in arrays if key.startswith("step")}

    def keep(at):
        if at in recorded:
            states[at] = {key: value.clone() for key, value in network.state_dict().items()}

    def step(images, labels, outliers, alpha):
        at = len(seen["id_loss"])
        keep(at - 1)
        noise = None if ood_type == "gradient" else torch.from_numpy(arrays[f"noise{at}"])
        losses = ascood_step(run, args, images, labels, alpha, noise)
        for key in ("id_loss", "ood_loss"):
            seen[key].append(losses[key].item())
        seen["rates"].append([group["lr"] for group in optimizer.param_groups])
        seen["alphas"].append(alpha)
        return losses

    objective = Objective(step, lambda epoch, epochs: alpha_at(epoch, epochs, args.alpha_min, args.alpha_max))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    job = Job(
        *(folder, network, optimizer, scaler, Recorded(arrays, dtype), None, objective, lambda: (0.0, 0.0)),
        *(torch.Generator(), hparams["epochs"], SETTINGS["lr"]),
    )
    standing = Standing()
    fit(job, None, standing)

    keep(len(seen["id_loss"]) - 1)
    return Run(arrays, hparams, seen, [record["train_loss"] for record in standing.history], states)


@pytest.fixture(params=TYPES)
def run(request, tmp_path_factory):
    return run_of(request.param, tmp_path_factory.getbasetemp() / request.param)


def numbers(rtol):
    return functools.partial(np.testing.assert_allclose, rtol=rtol, atol=0)


def test_losses_follow_the_reference(run):
    check_each(run.arrays, {key: run.seen[key] for key in ("id_loss", "ood_loss")}, numbers(1e-6))


def test_learning_rates_follow_the_reference(run):
    found = run.seen["rates"]
    numbers(1e-12)(found, run.arrays["lr_steps"][: len(found)])


def test_smoothed_losses_follow_the_reference(run):
    numbers(1e-6)(run.smoothed, run.arrays["epoch_loss_ema"])


def test_alpha_follows_the_reference(run):
    of_epoch = run.seen["alphas"][:: run.hparams["batches_per_epoch"]]
    assert len(of_epoch) == run.hparams["epochs"]
    check_each(run.arrays, {f"alpha_epoch{e}": alpha for e, alpha in enumerate(of_epoch, start=1)}, numbers(1e-12))


def test_states_follow_the_reference(run):
    found = {f"step{at}/{key}": value for at, state in run.states.items() for key, value in state.items()}
    for at in (0, len(run.seen["id_loss"]) - 1):  # those that the description promises
        found |= {} if at in run.states else {f"step{at}/*": None}
    check_each(run.arrays, found, lambda ours, theirs: check_close(ours, theirs, 1e-5))
