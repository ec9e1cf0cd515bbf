"""Where a training run stands, and what its files hold.

`checkpoint.tar` and `resume.tar` carry all that decides the rest of a run, `anomaly_detection.tar` what inference
needs, under the published names where there are such.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ood_shared import checkpoints, distributed
from ood_shared.errors import InputError

if TYPE_CHECKING:
    from mood_dpa.fit import Trainer

CHECKPOINT, RESUME, MODEL = "checkpoint.tar", "resume.tar", "anomaly_detection.tar"
FIRST_BEST = 1e7


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


def model_state(trainer: "Trainer") -> dict[str, Any]:
    """The networks of the stage under way, with what inference has to know of them."""
    at, stage = trainer.at, trainer.stage
    return {
        "niter": at.k,
        "n_iter": at.n_iter,
        "config": dict(trainer.config),
        "stage": stage.kind,
        "resolution": stage.resolution,
        "progress": trainer.progress,
        "enc": trainer.encoder.state_dict(),
        "dec": trainer.decoder.state_dict(),
    }


def run_state(trainer: "Trainer") -> dict[str, Any]:
    """Everything that decides the rest of the run, under the published names where there are such.

    Every rank has to call it: their random states are gathered.
    """
    rng = distributed.gather_objects(checkpoints.rng_state())
    return {
        "config": dict(trainer.config),
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
        "batches": trainer.source.state_dict(),
        "rng": rng,
    }


def restore(trainer: "Trainer", state: Mapping[str, Any], source: object) -> None:
    """Go on from a checkpoint, of this program or of the published one.

    The published one holds neither Adam nor random states: those start anew, and the stage goes on at
    int(T progress).

    Raises:
        InputError: a stage that is not in the plan, or weights of other networks.
    """
    places = [(s.kind, s.resolution) for s in trainer.plan]
    place = (str(state["stage"]), int(state["resolution"]))
    if place not in places:
        raise InputError(f"{source} stopped in stage {place[0]} at {place[1]}, which this configuration lacks.")
    index = places.index(place)
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
    trainer.source.load_state_dict(state["batches"])
    ranks = state["rng"]
    checkpoints.restore_rng_state(ranks[min(distributed.rank(), len(ranks) - 1)])
