"""How `ood-bench` starts its runs: one after the other on this machine, or each as a job of a cluster (`slurm`)."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError

from ood_bench import slurm_queue
from ood_bench.isolated import own_interpreters
from ood_bench.jobs import Ended, FindInterpreter, Run, perform, this_interpreter
from ood_bench.methods import Source

Launch = Callable[[Sequence[Run], bool], list[Ended]]


def choose_launcher(options: argparse.Namespace, chosen: Sequence[Source], folder: Path) -> Launch:
    """What starts the runs: takes them and whether to resume, returns how each ended.

    Args:
        options: `launcher`, `slurm`, `isolated` and `budget` are read.
        chosen: the methods that will run.
        folder: of all files.

    Raises:
        InputError: something that the flags need is not there.
    """
    find = own_interpreters(chosen) if options.isolated else this_interpreter
    if options.launcher == "local":
        if options.slurm:
            raise InputError(f"--slurm {options.slurm[0]} is for --launcher slurm, but the launcher is local.")
        return partial(one_after_the_other, find=find)
    parameters = slurm_queue.read_options(options.slurm, options.budget)
    if util.find_spec("submitit") is None:
        raise InputError("--launcher slurm needs submitit. Install it: pip install 'ood-shared[slurm]'")
    slurm_queue.check()
    from ood_bench.slurm import Grid

    return Grid(parameters, folder, find)


def retries(options: argparse.Namespace, ended: Sequence[Ended]) -> dict[str, Any]:
    """For the report: how often a run may be started again, and which were."""
    if options.launcher == "local":
        return {}
    again = {str(end.run): f"{end.attempts} times" for end in ended if end.attempts > 1}
    return {"retries": f"at most {slurm_queue.RETRIES}, of a run whose job is lost", "started again": again or "none"}


def one_after_the_other(runs: Sequence[Run], resume: bool, find: FindInterpreter = this_interpreter) -> list[Ended]:
    """Every run on this machine, in order."""
    return [perform(run, f"[{number}/{len(runs)}]", resume, find) for number, run in enumerate(runs, 1)]
