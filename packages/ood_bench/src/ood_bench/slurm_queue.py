"""What `ood-bench` asks of SLURM itself: the options of sbatch, the states of jobs, their end.

States come from squeue, as not every cluster keeps accounts for sacct.
"""

import getpass
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from ood_shared.errors import InputError

RETRIES = 3  # of a run that lost its node, was preempted or reached its time limit
MINUTES = {"smoke": 30, "quick": 120, "full": 24 * 60}  # time limit by budget; a job that reaches it is queued again
CPUS = 2
OURS = ("array", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "signal", "wrap")
WAITS = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
RUNS = ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")
ENDS = ("COMPLETING",)
LOST = ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "GONE")  # whether it was started or not
REFUSED = ("CANCELLED", "OUT_OF_MEMORY", "DEADLINE")  # would end in the same way again
POLL_SECONDS = 0.5
CANCEL_SECONDS = 20.0
ANSWER_SECONDS = 60.0


class State(NamedTuple):
    """A job as squeue knows it; `code` is GONE for one that it does not know."""

    code: str
    node: str = ""
    reason: str = ""
    name: str = ""

    def __str__(self) -> str:
        about = self.node or ("" if self.reason in ("", "None") else self.reason)
        return f"{self.code} ({about})" if about else self.code


def read_options(words: Sequence[str], budget: str) -> dict[str, Any]:
    """The parameters for submitit from the flags `--slurm OPTION[=VALUE]`.

    Raises:
        InputError: not the form of an option, or one that ood-bench settles.
    """
    given: dict[str, Any] = {}
    for word in words:
        option = re.fullmatch(r"(?:--)?([a-z][a-z0-9-]+)(?:=(.+))?", word)
        if option is None:
            raise InputError(f"--slurm `{word}` is not an option of sbatch by its long name, such as mem=8G.")
        if option[1] in OURS:
            raise InputError(f"--slurm `{word}`: ood-bench settles {option[1]} itself. Leave it out.")
        given[option[1]] = True if option[2] is None else option[2]
    limit = _minutes(given.pop("time")) if "time" in given else MINUTES[budget]
    again = {} if "no-requeue" in given else {"requeue": True}
    return {"time": limit, "additional_parameters": {"cpus-per-task": CPUS, **again, **given}}


def check() -> None:
    """Raise `InputError` unless there is a cluster that answers."""
    for program in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise InputError(f"--launcher slurm needs `{program}`, which is not found. Run it on a cluster's machine.")
    said = _squeue()
    if said is None or said.returncode != 0:
        words = "no answer" if said is None else " ".join(said.stderr.split()) or f"exit status {said.returncode}"
        raise InputError(f"--launcher slurm: the cluster does not answer squeue: {words}")


def ask() -> dict[str, State] | None:
    """The state of every job of this user that the cluster remembers, by job id; None when it does not answer."""
    said = _squeue()
    if said is None or said.returncode != 0:
        return None
    rows = [line.strip().split("|", 4) for line in said.stdout.splitlines()]
    return {row[0]: State(*row[1:]) for row in rows if len(row) == 5}


def cancel(job_ids: Sequence[str]) -> None:
    """Cancel jobs and wait, but not for long, until they have left their nodes."""
    if not job_ids:
        return
    subprocess.run(["scancel", *job_ids], capture_output=True, timeout=ANSWER_SECONDS)
    deadline = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < deadline:
        queue = ask()
        if queue is not None and not any(goes_on(queue.get(job_id, State("GONE"))) for job_id in job_ids):
            return
        time.sleep(POLL_SECONDS)


def goes_on(state: State) -> bool:
    """Whether the job waits, runs or is just ending."""
    return state.code in (*WAITS, *RUNS, *ENDS)


def _squeue() -> subprocess.CompletedProcess[str] | None:
    command = ["squeue", "--user", getpass.getuser(), "--states=all", "--noheader", "--format=%i|%T|%N|%r|%j"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _minutes(text: str) -> int:
    """A time as sbatch reads it, in minutes, rounded up."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        raise InputError(f"--slurm time={text} is not a time of sbatch, such as 30, 2:00:00 or 1-12:00:00.")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        seconds = int(days) * 86_400 + sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    elif len(parts) == 1:  # minutes
        seconds = parts[0] * 60
    else:  # minutes:seconds or hours:minutes:seconds
        seconds = sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
    if seconds < 60:
        raise InputError(f"--slurm time={text} is less than a minute.")
    return -(-seconds // 60)
