"""Whole training runs in float64, through the training loop, against the reference."""

import contextlib
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
from ood_shared.testing.golden import Golden, golden_dir, names

GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
FACTS = GOLDEN.json("facts")
SETTINGS = FACTS["train_steps"]
TYPES = [name.removeprefix("train_steps_") for name in (p.stem for p in GOLDEN.folder.glob("train_steps_*.npz"))]


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


def test_there_is_a_run_for_every_type():
    assert sorted(TYPES) == sorted(OOD_TYPES)


@pytest.mark.parametrize("ood_type", sorted(TYPES))
def test_a_whole_run_follows_the_reference(ood_type, tmp_path):
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

    def step(images, labels, outliers, alpha):
        at = len(seen["id_loss"])
        if at == 1:
            states[0] = {key: value.clone() for key, value in network.state_dict().items()}
        noise = torch.from_numpy(arrays[f"noise{at}"]) if f"noise{at}" in arrays else None
        losses = ascood_step(run, args, images, labels, alpha, noise)
        for key in ("id_loss", "ood_loss"):
            seen[key].append(losses[key].item())
        seen["rates"].append([group["lr"] for group in optimizer.param_groups])
        seen["alphas"].append(alpha)
        return losses

    objective = Objective(step, lambda epoch, epochs: alpha_at(epoch, epochs, args.alpha_min, args.alpha_max))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    job = Job(
        *(tmp_path, network, optimizer, scaler, Recorded(arrays, dtype), None, objective, lambda: (0.0, 0.0)),
        *(torch.Generator(), hparams["epochs"], SETTINGS["lr"]),
    )
    standing = Standing()
    fit(job, None, standing)

    for key in ("id_loss", "ood_loss"):
        assert np.allclose(seen[key], arrays[key], rtol=1e-6, atol=0), key
    assert np.allclose(seen["rates"], arrays["lr_steps"][: len(seen["rates"])], rtol=1e-12, atol=0)
    smoothed = [record["train_loss"] for record in standing.history]
    assert np.allclose(smoothed, arrays["epoch_loss_ema"], rtol=1e-6, atol=0)
    per_epoch = hparams["batches_per_epoch"]
    for epoch in range(1, hparams["epochs"] + 1):
        assert np.isclose(seen["alphas"][(epoch - 1) * per_epoch], arrays[f"alpha_epoch{epoch}"], rtol=1e-12)
    states[len(seen["id_loss"]) - 1] = network.state_dict()
    compared = 0
    for number, state in states.items():
        for key, value in state.items():
            check_close(value, arrays[f"step{number}/{key}"], 1e-5)
            compared += 1
    assert compared == sum(key.startswith("step") for key in arrays)
