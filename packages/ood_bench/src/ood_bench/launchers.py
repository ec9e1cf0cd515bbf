"""How `ood-bench` starts its runs: one after the other or several at a time here, or as jobs of a cluster (`slurm`)."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import util
from typing import Any

from ood_shared.devices import cpu_count, resolve_device
from ood_shared.errors import InputError, not_installed, one_line
from ood_shared.signals import undisturbed

from ood_bench import slurm_queue
from ood_bench.isolated import own_interpreters
from ood_bench.jobs import FindInterpreter, Interpreter, perform, this_interpreter
from ood_bench.methods import Source
from ood_bench.run_folder import Ended, Run
from ood_bench.settings import Comparison

Launch = Callable[[Sequence[Run], bool], list[Ended]]
MOST_JOBS = 4  # unless asked for: at the budget `quick` a run may need 2.6 GiB
THREADS = "OMP_NUM_THREADS"


def settled(asked: Comparison, runs: int) -> Comparison:
    """The same with numbers of runs at a time and of threads, where the flags leave them open.

    On the CPU of this machine a run has one thread, whatever the number of cores: sums in another order end in another
    network, and so the same command prints the same on a larger machine. A GPU has one run at a time.

    Args:
        asked: by the flags.
        runs: methods times seeds.

    Raises:
        InputError: `--jobs` for a cluster, more threads than cores, a variable that is no number, a device that is not
            there.
    """
    if asked.launcher != "local":
        if asked.jobs is not None:
            raise InputError("--jobs is for --launcher local; a cluster runs as many at a time as it has room for.")
        return replace(asked, jobs=1)
    if resolve_device(asked.device).type != "cpu":
        return replace(asked, jobs=asked.jobs or 1)
    cores = cpu_count()
    if asked.threads is not None and asked.threads > cores:
        raise InputError(f"--threads {asked.threads}: this process has {cores} core(s). Pass at most {cores}.")
    threads = asked.threads or min(_given_threads(), cores)
    return replace(asked, jobs=asked.jobs or max(1, min(MOST_JOBS, cores // threads, runs)), threads=threads)


def _given_threads() -> int:
    """What `OMP_NUM_THREADS` says, of the outermost level; 1 where it is not set."""
    word = os.environ.get(THREADS, "").split(",")[0].strip() or "1"
    if not (word.isascii() and word.isdecimal() and int(word)):
        raise InputError(f"{THREADS} is `{one_line(word, 40)}`; expected a number from 1. Unset it, or pass --threads.")
    return int(word)


def choose_launcher(asked: Comparison, chosen: Sequence[Source]) -> Launch:
    """What starts the runs: takes them and whether to resume, returns how each ended.

    Args:
        asked: by the flags, `settled`.
        chosen: the methods that will run.

    Raises:
        InputError: something that the flags need is not there.
    """
    find = own_interpreters(chosen) if asked.isolated else this_interpreter
    if asked.launcher == "local":
        if asked.slurm:
            raise InputError(f"--slurm {asked.slurm[0]} is for --launcher slurm, but the launcher is local.")
        if asked.jobs is not None and asked.jobs > 1:
            return partial(side_by_side, jobs=asked.jobs, find=find)
        return partial(one_after_the_other, find=find)
    parameters = slurm_queue.read_options(asked.slurm, asked.budget)
    if util.find_spec("submitit") is None:
        raise not_installed("--launcher slurm", "submitit", "slurm", "ood-bench")
    slurm_queue.check()
    from ood_bench.slurm import Grid

    return Grid(parameters, asked.output_dir, find)


def retries(asked: Comparison, ended: Sequence[Ended]) -> dict[str, Any]:
    """For the report: how often a run may be started again, and which were."""
    if asked.launcher == "local":
        return {}
    again = {str(end.run): f"{end.attempts} times" for end in ended if end.attempts > 1}
    return {"retries": f"at most {slurm_queue.RETRIES}, of a run whose job is lost", "started again": again or "none"}


def one_after_the_other(runs: Sequence[Run], resume: bool, find: FindInterpreter = this_interpreter) -> list[Ended]:
    """Every run on this machine, in order."""
    return [perform(run, f"[{number}/{len(runs)}]", resume, find) for number, run in enumerate(runs, 1)]


def side_by_side(runs: Sequence[Run], resume: bool, jobs: int, find: FindInterpreter = this_interpreter) -> list[Ended]:
    """As many runs at a time as asked for; when this program is told to end, all of them are.

    Args:
        runs: in the order in which they start, and in which they are returned.
        resume: keep what is finished.
        jobs: runs at a time.
        find: names the Python that a run needs; asked by one run at a time.
    """
    stop, one = threading.Event(), threading.Lock()

    def found(run: Run) -> Interpreter:
        with one:
            return find(run)

    pool, due = ThreadPoolExecutor(jobs), []
    try:
        for number, run in enumerate(runs, 1):
            due.append(pool.submit(perform, run, f"[{number}/{len(runs)}]", resume, found, stop))
        return [future.result() for future in due]
    finally:
        stop.set()
        with undisturbed():
            pool.shutdown(cancel_futures=True)
