"""A training command as one of several processes; leaves network and queue of each in `rank_<n>.pt`."""

import sys

import torch
from know_your_space import cli, train
from know_your_space.state import Job, Progress
from ood_shared import distributed
from ood_shared.runs import Run

_fit = train.fit


def fit_and_dump(job: Job, run: Run, progress: Progress) -> list[float]:
    """`fit`, and then what this rank ended with."""
    seconds = _fit(job, run, progress)
    state = {"network": job.network.state_dict(), "queue": job.step.queue.state_dict()}
    torch.save(state, f"rank_{distributed.rank()}.pt")
    return seconds


if __name__ == "__main__":
    train.fit = fit_and_dump
    sys.exit(cli.main(["train", *sys.argv[1:]]))
