"""Where a training run stands, and what its files hold.

`checkpoint.tar` and `resume.tar` carry all that decides the rest of a run, `anomaly_detection.tar` what inference
needs, under the published names where there are such.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError
from ood_shared.training import RANKS, refuse_other_ranks, save_state

if TYPE_CHECKING:
    from mood_dpa.loop import Trainer

CHECKPOINT, RESUME, MODEL = "checkpoint.tar", "resume.tar", "anomaly_detection.tar"
FIRST_BEST = 1e7
ADVICE = "Start anew without --resume or finetune_from."


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
        InputError: a stage that is not in the plan, weights of other networks, or another number of processes.
    """
    if "run" in state:
        ranks = state[RANKS] if RANKS in state else _ranks_of_old(state)
        refuse_other_ranks(Path(str(source)), len(ranks), ADVICE)
    stages = [(s.kind, s.resolution) for s in trainer.plan]
    stage = (str(state["stage"]), int(state["resolution"]))
    if stage not in stages:
        raise InputError(f"{source} stopped in stage {stage[0]} at {stage[1]}, which this configuration lacks.")
    index = stages.index(stage)
    if "run" in state:
        trainer.at = Progress(**state["run"])
    else:
        k = int(trainer.plan[index].length * float(state["progress"]))
        best = (float(state["best_val_loss"]), int(state["best_val_iter"]))
        trainer.at = Progress(index, k, int(state["n_iter"]), *best)
    trainer.at.index = index
    trainer.enter()
    for net, name in ((trainer.encoder, "enc"), (trainer.decoder, "dec")):
        checkpoints.load_weights(net, state[name], f"{source}, {name}")
    trainer.display = state["display_x"].to(trainer.compute.device)
    trainer.send_progress()
    if "run" not in state:
        return
    trainer.adam.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    own = ranks[distributed.rank()]
    trainer.source.load_state_dict(own["batches"])
    checkpoints.restore_rng_state(own["rng"])


def _ranks_of_old(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is each rank's own in a checkpoint of an earlier version: random states by rank, batches common to all."""
    return [{"batches": state["batches"], "rng": rng} for rng in state["rng"]]
