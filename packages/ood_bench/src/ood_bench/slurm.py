"""The runs of `ood-bench` as jobs of a SLURM cluster, through submitit.

Every run is a job of its own (`slurm_job`); the nodes and this program see the same folders. A job that is preempted,
reaches its time limit or loses its node is queued again, by SLURM or by this program, and continues as `--resume` does;
after `RETRIES` such times the run has failed. A method that ends with an error is not tried again.

When this program is stopped (Ctrl-C, SIGTERM) it cancels its jobs. When it is killed they go on, and `--resume` takes
them up.
"""

import contextlib
import io
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from ood_shared import files, locks
from ood_shared.errors import InputError
from submitit.core.utils import FailedJobError, FailedSubmissionError

from ood_bench import jobs, processes, slurm_queue, summary
from ood_bench.jobs import FindInterpreter, NoInterpreterError, say
from ood_bench.processes import Outcome
from ood_bench.run_folder import Ended, Run, explain, is_asked
from ood_bench.slurm_job import STARTS, Job, read_starts
from ood_bench.slurm_queue import RETRIES, State

FOLDER, JOB = "slurm", "slurm.json"
POLL_SECONDS = 0.5
QUEUE_SECONDS = 5.0  # between two questions to the cluster
SETTLE_SECONDS = 15.0  # for the result of a job that has left the queue to be seen here

Handle = submitit.Job[Outcome]


@dataclass
class Submitted:
    """A run, the job that it is, and the job's state."""

    run: Run
    place: str
    job: Handle
    submissions: int = 1
    state: State | None = None
    since: float = 0.0

    def note(self, state: State) -> None:
        """Keep the state, and say it when it is a new one."""
        known, self.state = self.state, state
        if known is None or known.code != state.code:
            self.since = time.monotonic()
        if known is None or (known.code, known.node) != (state.code, state.node):
            say(f"{self.place} {self.run}: job {self.job.job_id} {state}")


class Grid:
    """Starts runs as jobs and waits for them: the launcher of `--launcher slurm`."""

    def __init__(self, parameters: Mapping[str, Any], folder: Path, find: FindInterpreter) -> None:
        """Nothing is submitted yet.

        Args:
            parameters: of `slurm_queue.read_options`.
            folder: of all files of this ood-bench.
            find: names the Python that a run needs; called here, not on the node.
        """
        self.find = find
        self.name = f"ood-bench-{uuid.uuid4().hex[:8]}"  # tells its jobs from others that had the same number
        self.executor = submitit.SlurmExecutor(folder / FOLDER, max_num_timeout=RETRIES)
        self.executor.update_parameters(job_name=self.name, stderr_to_stdout=True, **parameters)

    def __call__(self, runs: Sequence[Run], resume: bool) -> list[Ended]:
        """How each run ended, in their order."""
        ended: dict[int, Ended] = {}
        waiting: dict[int, Submitted] = {}
        try:
            queue = slurm_queue.ask() or {}
            for number, run in enumerate(runs):
                begun = self._begin(run, f"[{number + 1}/{len(runs)}]", resume, queue)
                if isinstance(begun, Ended):
                    ended[number] = begun
                else:
                    waiting[number] = begun
            self._wait(waiting, ended)
        except BaseException:
            self._cancel(list(waiting.values()))
            raise
        return [ended[number] for number in range(len(runs))]

    def _begin(self, run: Run, place: str, resume: bool, queue: Mapping[str, State]) -> Submitted | Ended:
        """Keep what is finished, take up a job that an earlier ood-bench has left, or submit a new one."""
        left = self._left(run, queue)
        if left is not None:
            if resume and is_asked(run):
                say(f"{place} {run}: job {left.job_id} of an earlier ood-bench is still there, and taken up")
                return Submitted(run, place, left)
            slurm_queue.cancel([left.job_id])
        try:
            with locks.held(run.folder, jobs.PATIENCE_SECONDS):
                kept = jobs.prepare(run, resume)
                if kept is not None:
                    say(f"{place} {run}: finished before, kept")
                    return kept
                for name in (STARTS, JOB):
                    (run.folder / name).unlink(missing_ok=True)
            return Submitted(run, place, self._submit(run))
        except (locks.Busy, NoInterpreterError) as error:
            return jobs.refuse(run, place, error)

    def _left(self, run: Run, queue: Mapping[str, State]) -> Handle | None:
        """The job of this run that an ood-bench which was killed has left waiting or running."""
        path = run.folder / JOB
        if not path.is_file():
            return None
        known = files.read_json(path)
        state = queue.get(known["job"], State("GONE"))
        there = state.name == known["name"] and state.code in (*slurm_queue.WAITS, *slurm_queue.RUNS)
        return submitit.SlurmJob(self.executor.folder, known["job"]) if there else None

    def _submit(self, run: Run) -> Handle:
        job_of_run = Job(run, self.find(run))
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints there what its error says too
                job = self.executor.submit(job_of_run)
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise InputError(f"sbatch refuses the job of {run}: {' '.join(str(error).split())}") from None
        files.write_json(run.folder / JOB, {"job": job.job_id, "name": self.name})
        return job

    def _wait(self, waiting: dict[int, Submitted], ended: dict[int, Ended]) -> None:
        start, asked = time.monotonic(), float("-inf")
        while waiting:
            if time.monotonic() - asked >= QUEUE_SECONDS:
                queue, asked = slurm_queue.ask(), time.monotonic()
                for one in waiting.values() if queue is not None else ():
                    one.note((queue or {}).get(one.job.job_id, State("GONE")))
            for number, one in list(waiting.items()):
                end = self._look(one)
                if end is not None:
                    ended[number] = end
                    del waiting[number]
            if sys.stderr.isatty():
                passed = summary.duration(time.monotonic() - start)
                print(f"\r… {passed}, {len(ended)} ended, {len(waiting)} to come ", end="", file=sys.stderr, flush=True)
            if waiting:
                time.sleep(POLL_SECONDS)

    def _look(self, one: Submitted) -> Ended | None:
        """How the run ended; None while its job goes on, or when it has just been submitted again."""
        starts = read_starts(one.run)
        attempts = max(len(starts), one.submissions)
        if _has_result(one.job):
            error = one.job.exception()
            if error is None:
                return jobs.conclude(one.run, one.place, one.job.result(), attempts)
            return self._fail(one, _cause(str(error)), attempts)
        state = one.state
        if state is None or slurm_queue.goes_on(state) or time.monotonic() - one.since < SETTLE_SECONDS:
            return None
        if not _is_lost(state, started=bool(starts) and starts[-1]["job"] == one.job.job_id):
            return self._fail(one, str(state), attempts)
        if attempts > RETRIES:
            return self._fail(one, f"{state}; started {attempts} times, not tried again", attempts)
        say(f"{one.place} {one.run}: job {one.job.job_id} is lost, {state}; submitted again")
        try:
            one.job, one.state, one.submissions = self._submit(one.run), None, one.submissions + 1
        except NoInterpreterError as no_interpreter:
            return jobs.refuse(one.run, one.place, no_interpreter)
        return None

    def _fail(self, one: Submitted, reason: str, attempts: int) -> Ended:
        """A job that left no outcome of the method; what it printed itself may tell why."""
        printed = one.job.paths.stdout
        said = processes.last_lines(printed) if printed.is_file() else []
        failure = (*explain(one.run, f"job {one.job.job_id}: {reason}"), f"last lines of {printed}:")
        failure += tuple(f"  {line}" for line in said or ["(nothing)"])
        say(f"{one.place} {one.run}: FAILED", *failure)
        return Ended(one.run, None, (), failure, attempts)

    def _cancel(self, given_up: Sequence[Submitted]) -> None:
        left = [one for one in given_up if not _has_result(one.job)]
        if left:
            say(f"cancelling {len(left)} job(s)")
            slurm_queue.cancel([one.job.job_id for one in left])
        for one in left:
            (one.run.folder / JOB).unlink(missing_ok=True)


def _is_lost(state: State, started: bool) -> bool:
    """Whether a job without a result was lost by the cluster: what the method does wrong comes back as a result."""
    return state.code in slurm_queue.LOST or (started and state.code not in slurm_queue.REFUSED)


def _has_result(job: Handle) -> bool:
    folder = job.paths.folder
    with contextlib.suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # a network file system then looks at the folder anew
    return job.paths.result_pickle.exists()


def _cause(trace: str) -> str:
    """The line of a traceback, wrapped in submitit's words, that names the error."""
    lines = [line.strip() for line in trace.split("----------------------\n")[1:2] for line in line.splitlines()]
    return next((line for line in reversed(lines) if line), "no outcome")
