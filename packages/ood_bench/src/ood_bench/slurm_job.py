"""What runs on a node of the cluster: one run of `ood-bench`, which may be ended there and started again."""

import os
import platform
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from ood_shared import files, locks
from ood_shared.errors import InputError
from ood_shared.signals import Terminated
from submitit.core.utils import DelayedSubmission

from ood_bench import jobs, run_folder
from ood_bench.jobs import Interpreter
from ood_bench.processes import Outcome
from ood_bench.run_folder import Run
from ood_bench.slurm_queue import RETRIES

STARTS = "starts.json"
LOCK_SECONDS = 120.0  # a file server keeps the lock of a lost node for a while


@dataclass
class Job:
    """What submitit pickles and calls on a node. Queued again, it continues where the folder shows that it was."""

    run: Run
    interpreter: Interpreter

    def __call__(self) -> Outcome:
        """Run the method, unless the folder has its result already."""
        signal.signal(signal.SIGTERM, _terminate)
        with locks.held(self.run.folder, LOCK_SECONDS) as lock:
            if not run_folder.is_asked(self.run):
                raise InputError(f"{self.run.folder} has another request by now; this job does nothing.")
            starts = [*read_starts(self.run), _this_start()]
            files.write_json(self.run.folder / STARTS, starts)
            if len(starts) > 1 + RETRIES:
                raise RuntimeError(f"started {len(starts) - 1} times without coming to an end; not tried again")
            if run_folder.finished(self.run) is not None:
                return run_folder.read_outcome(self.run)
            return jobs.execute(self.run, self.interpreter, lock, None)

    def checkpoint(self) -> DelayedSubmission:
        """What is queued again; submitit asks shortly before the time limit or a preemption."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it comes next, and the method is being ended already
        return DelayedSubmission(self)


def read_starts(run: Run) -> list[dict[str, Any]]:
    """Job, node and time of every start of a run on a node."""
    path = run.folder / STARTS
    return list(files.read_json(path)) if path.is_file() else []


def _this_start() -> dict[str, Any]:
    node = os.environ.get("SLURMD_NODENAME") or platform.node()
    return {"job": os.environ.get("SLURM_JOB_ID"), "node": node, "at": time.strftime("%FT%TZ", time.gmtime())}


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """End the method and leave without a result: the cluster ends this job, and may queue it again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
