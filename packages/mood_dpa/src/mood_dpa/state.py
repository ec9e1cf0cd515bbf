"""Where a training run stands, and what its files hold.

`checkpoint.tar` and `resume.tar` carry all that decides the rest of a run, `anomaly_detection.tar` what inference
needs, under the published names where there are such.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ood_shared import checkpoints, distributed
from ood_shared.checkpoints import restoring
from ood_shared.errors import InputError
from ood_shared.training import RANKS, refuse_other_ranks, save_state
from torch import Tensor

from mood_dpa.data.record import KEY

if TYPE_CHECKING:
    from mood_dpa.loop import Trainer

CHECKPOINT, RESUME, MODEL = "checkpoint.tar", "resume.tar", "anomaly_detection.tar"
FIRST_BEST = 1e7
ADVICE = "Start anew without --resume or finetune_from."
NUMBER = (int, float)
PARTS_OF_ALL = {  # of published checkpoints, too
    **{"stage": str, "resolution": int, "progress": NUMBER, "n_iter": int, "best_val_loss": NUMBER},
    **{"best_val_iter": int, "display_x": Tensor, "enc": Mapping, "dec": Mapping},
}
PARTS = {**PARTS_OF_ALL, "optimizer": Mapping, "run": Mapping, "scaler": Mapping}


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        index: number of the stage, in the plan.
        k: finished iterations of the stage.
        n_iter: finished iterations of the run.
    """

    index: int = 0
    k: int = 0
    n_iter: int = 0
    best_val_loss: float = FIRST_BEST
    best_val_iter: int = 0
    stopped: bool = False


def save_model(trainer: "Trainer") -> None:
    """Write the networks of the stage under way, with what inference has to know of them; nothing without a folder."""
    if trainer.folder is None or not distributed.is_main():
        return
    at, stage = trainer.at, trainer.stage
    state = {
        "niter": at.k,
        "n_iter": at.n_iter,
        "config": dict(trainer.settings.stored),
        "stage": stage.kind,
        "resolution": stage.resolution,
        "progress": trainer.progress,
        KEY: trainer.origin.stored(),
        "enc": trainer.encoder.state_dict(),
        "dec": trainer.decoder.state_dict(),
    }
    for name in (f"anomaly_detection_res_{stage.resolution}_iter_{at.n_iter}.tar", MODEL):
        checkpoints.save(trainer.folder / name, state)


def save_run(trainer: "Trainer", name: str) -> None:
    """Write everything that decides the rest of the run, under the published names where there are such.

    Every rank has to call it: what is each rank's own is gathered. Nothing is written without a folder.
    """
    if trainer.folder is None:
        return
    common = {
        "config": dict(trainer.settings.stored),
        "stage": trainer.stage.kind,
        "resolution": trainer.stage.resolution,
        "progress": trainer.progress,
        KEY: trainer.origin.stored(),
        "n_iter": trainer.at.n_iter,
        "best_val_loss": trainer.at.best_val_loss,
        "best_val_iter": trainer.at.best_val_iter,
        "display_x": trainer.display,
        "optimizer": trainer.adam.state_dict(),
        "enc": trainer.encoder.state_dict(),
        "dec": trainer.decoder.state_dict(),
        "mix_res_module": {},
        "run": asdict(trainer.at),
        "scaler": trainer.scaler.state_dict(),
    }
    own = {"batches": trainer.source.state_dict(), "rng": checkpoints.rng_state()}
    save_state(trainer.folder / name, common, own)


def restore(trainer: "Trainer", state: Mapping[str, Any], source: object) -> None:
    """Go on from a checkpoint, of this program or of the published one.

    The published one holds neither Adam nor random states: those start anew, and the stage goes on at
    int(T progress).

    Raises:
        InputError: a stage that is not in the plan, weights of other networks, a part that does not fit, or another
            number of processes.
    """
    with restoring(source, ADVICE):
        if "run" in state:
            ranks = state[RANKS] if RANKS in state else _ranks_of_old(state)
            refuse_other_ranks(Path(str(source)), len(ranks), ADVICE)
        stages = [(s.kind, s.resolution) for s in trainer.plan]
        stage = (str(state["stage"]), int(state["resolution"]))
        if stage not in stages:
            raise InputError(f"{source} stopped in stage {stage[0]} at {stage[1]}, which this configuration lacks.")
        index = stages.index(stage)
        if "run" in state:
            trainer.at = Progress(**{field.name: state["run"][field.name] for field in fields(Progress)})
        else:
            k = int(trainer.plan[index].length * float(state["progress"]))
            best = (float(state["best_val_loss"]), int(state["best_val_iter"]))
            trainer.at = Progress(index, k, int(state["n_iter"]), *best)
        trainer.at.index = index
        _refuse_odd(trainer.at)
        trainer.enter()
        for net, name in ((trainer.encoder, "enc"), (trainer.decoder, "dec")):
            checkpoints.load_weights(net, state[name], f"{source}, {name}")
        if state["display_x"].shape[1:] != trainer.display.shape[1:]:
            shapes = [tuple(images.shape) for images in (state["display_x"], trainer.display)]
            raise InputError(f"{source} shows images {shapes[0]}, this run {shapes[1]}. {ADVICE}")
        trainer.display = state["display_x"].to(trainer.compute.device)
        trainer.send_progress()
        if "run" not in state:
            return
        trainer.adam.load_state_dict(state["optimizer"])
        refuse_other_moments(trainer.adam)
        trainer.scaler.load_state_dict(state["scaler"])
        own = ranks[distributed.rank()]
        trainer.source.load_state_dict(own["batches"])
        checkpoints.restore_rng_state(own["rng"])


def _refuse_odd(at: Progress) -> None:
    """Refuse a place that no run can stand at."""
    whole = all(type(value) is int and value >= 0 for value in (at.k, at.n_iter, at.best_val_iter))
    if not whole or not isinstance(at.best_val_loss, NUMBER) or type(at.stopped) is not bool:
        raise ValueError(f"it stands at {at}")


def refuse_other_moments(adam: torch.optim.Optimizer) -> None:
    """Refuse moments of other parameters, which would show in the first step only."""
    for parameter, moments in adam.state.items():
        for name, value in moments.items():
            if name != "step" and (not isinstance(value, Tensor) or value.shape != parameter.shape):
                raise ValueError(f"`optimizer` has {name} of another shape than {tuple(parameter.shape)}")
            if isinstance(value, Tensor) and not bool(value.isfinite().all()):
                raise ValueError(f"`optimizer` has {name} that is not finite")


def _ranks_of_old(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is each rank's own in a checkpoint of an earlier version: random states by rank, batches common to all."""
    return [{"batches": state["batches"], "rng": rng} for rng in state["rng"]]
