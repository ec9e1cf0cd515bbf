"""Two processes train and judge tiny own data as one does, and go on after they were stopped."""

import json
import shutil
from pathlib import Path

import torch
from ood_shared import checkpoints
from ood_shared.testing.ranks import run_ranks

from ..conftest import EVAL, equal, weights_of
from ..conftest import OWN as WORDS

OWN = [*WORDS, "--device", "cpu"]


def two_ranks(*words):
    """What two processes in the working folder leave, as `torchrun` would start them; the first that failed, if any."""
    ranks = run_ranks(words, cwd=Path.cwd())
    return next((rank for rank in ranks if rank.status), ranks[0])


# trains, and keeps each rank's weights; with STOP_AFTER=n in the environment it is told to stop after n batches
EACH_RANK = """
import os, sys, torch
from contextlib import contextmanager
from ascood import cli, commands, loop
from ood_shared import distributed

real, stop = commands.train, int(os.environ.get("STOP_AFTER", 0))

def train(*arguments):
    trained = real(*arguments)
    torch.save(trained[0].state_dict(), f"rank{distributed.rank()}.pt")
    return trained

class Stop:
    calls = 0

    @property
    def requested(self):
        Stop.calls += 1
        return Stop.calls == stop

@contextmanager
def deferred():
    yield Stop()

commands.train = train
if stop:
    loop.deferred_sigterm = deferred
sys.exit(cli.main(sys.argv[1:]))
"""


def test_two_processes_train_and_judge_as_one(own, own_run, done):
    Path("each.py").write_text(EACH_RANK)
    words = ["train", *OWN, "--optimizer.num_epochs", "2"]
    ranks = run_ranks(["each.py", *words, "--output-dir", "two"], cwd=own)
    assert [rank.status for rank in ranks] == [0, 0], ranks
    assert "".join(rank.out for rank in ranks).count("Epoch 001") == 1
    states = [torch.load(f"rank{rank}.pt") for rank in (0, 1)]
    assert equal(states[0], states[1])
    assert equal(states[0], checkpoints.load(Path("two/checkpoint.pt"))["network"])
    assert len(checkpoints.load(Path("two/checkpoint.pt"))["ranks"]) == 2
    shutil.copytree(own_run / "run", "run")
    words = [*EVAL, "--root", "run", "--postprocessor", "iodin,knn", "--save-csv", "--no-cache"]
    done("eval_ood", *words)
    tables = {path.name: path.read_text() for path in Path("run/ood").glob("*.csv")}
    shutil.rmtree("run/ood")
    found = two_ranks("-m", "ascood", "eval_ood", *words)
    assert found.status == 0, found.err
    assert {path.name: path.read_text() for path in Path("run/ood").glob("*.csv")} == tables


def as_earlier_versions_wrote(folder):
    """The checkpoint of several processes as one file for each rank, as it was before they were gathered."""
    path = folder / "checkpoint.pt"
    state = checkpoints.load(path)
    ranks = state.pop("ranks")
    for rank, own in enumerate(ranks):
        network = state["network"] | own.pop("buffers")
        progress = state["progress"] | {"smoothed": own.pop("smoothed")}
        name = "checkpoint.pt" if rank == 0 else f"checkpoint_rank{rank}.pt"
        checkpoints.save(folder / name, {**state, **own, "network": network, "progress": progress})


def test_two_processes_that_were_stopped_go_on_to_the_same_weights(own, run, monkeypatch):
    """In the middle of an epoch, where batch statistics, draws and the smoothed loss differ by rank."""
    Path("each.py").write_text(EACH_RANK)
    Path("small.yml").write_text("dataset:\n  train:\n    batch_size: 2\n")
    files = ["configs/networks/ascood_net.yml", "configs/pipelines/train/train_ascood.yml", "small.yml"]
    words = [
        "train",
        *OWN,
        "--config",
        *files,
        "--optimizer.num_epochs",
        "2",
        "--trainer.trainer_args.ood_type",
        "shuffle",
    ]

    def two(folder, *more):
        return two_ranks("each.py", *words, "--output-dir", folder, *more)

    assert two("whole").status == 0
    monkeypatch.setenv("STOP_AFTER", "2")
    assert two("cut").status != 0
    monkeypatch.delenv("STOP_AFTER")
    progress = checkpoints.load(Path("cut/checkpoint.pt"))["progress"]
    assert (progress["epoch"], progress["batch"]) == (0, 2)
    shutil.copytree("cut", "old")
    as_earlier_versions_wrote(Path("old"))
    error = run(*words, "--output-dir", "cut", "--resume").error
    assert "checkpoint.pt was written by 2 processes, now there is 1." in error
    error = run(*words, "--output-dir", "old", "--resume").error
    assert "checkpoint.pt was written by 2 processes, now there is 1." in error
    for folder in ("cut", "old"):
        found = two(folder, "--resume")
        assert found.status == 0, found.err
        assert equal(weights_of("whole"), weights_of(folder)), folder
        whole, again = (
            [json.loads(line)["train_loss"] for line in Path(at, "metrics.jsonl").read_text().splitlines()]
            for at in ("whole", folder)
        )
        assert whole == again
        assert not list(Path(folder).glob("checkpoint_rank*"))


def test_more_processes_than_wrote_the_checkpoint_are_refused(own, own_run):
    shutil.copytree(own_run / "run/s0", "one")
    words = ["--optimizer.num_epochs", "1", "--trainer.trainer_args.ood_type", "shuffle", "--output-dir", "one"]
    found = two_ranks("-m", "ascood", "train", *OWN, *words, "--resume")
    assert found.status != 0
    assert "checkpoint.pt was written by 1 process, now there are 2." in found.err


RANK_STEPS = """
import contextlib, sys, torch
from ood_shared.training import update
from ascood.heads import ASCOODNet
from ascood.objectives import Pass, base_step
from ascood.testing import Tiny, filled, image
from ood_shared import distributed

def steps(network, halves):
    run = Pass(network, network, contextlib.nullcontext, contextlib.nullcontext, torch.Generator())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for turn in range(3):
        losses = []
        for half in halves:
            images, labels = image((4, 3, 8, 8), 10 * turn + half), torch.tensor([0, 1, 2, 3])
            losses.append(base_step(run, images, labels)["loss"])
        update(network, optimizer, scaler, sum(losses) / len(losses))
    return torch.cat([p.detach().flatten() for p in network.parameters()])

with distributed.setup(torch.device("cpu")):
    network = filled(ASCOODNet(Tiny(4), 0.5), 1).train()
    mine = steps(network, [distributed.rank()] if distributed.launched() else [0, 1])
    if distributed.is_main():
        torch.save(mine, sys.argv[1])
"""


def test_two_processes_take_the_steps_of_one_that_averages_their_gradients(place, process):
    Path("steps.py").write_text(RANK_STEPS)
    assert process("python", "steps.py", "one.pt", cwd=place).status == 0
    found = two_ranks("steps.py", "two.pt")
    assert found.status == 0, found.err
    one, two = (torch.load(name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert torch.allclose(one, two, rtol=1e-4, atol=1e-5), (one - two).abs().max()  # rounding of the averages
