"""One method with one seed, from its start to its checked result; what happens is said on standard error.

A new request first clears the run's folder (`run_folder`); the process of the method holds the folder's lock, too.
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ood_shared import files, locks

from ood_bench import processes, summary
from ood_bench.guard import GRACE_SECONDS
from ood_bench.processes import Outcome
from ood_bench.run_folder import (
    OUTCOME,
    REQUEST,
    Ended,
    Run,
    clear,
    differing,
    explain,
    finished,
    is_asked,
    read_request,
    remove_results,
    request_of,
    results_of,
)

PATIENCE_SECONDS = GRACE_SECONDS + 5  # for the method of an ood-bench that was killed, which is ended then


@dataclass(frozen=True)
class Interpreter:
    """A Python that has a run's package, and the variables of the environment that it must not see."""

    python: str
    without: tuple[str, ...] = ()


class NoInterpreterError(Exception):
    """The environment of a package could not be made: the reason, and in `log` what the attempt said."""

    def __init__(self, reason: str, log: str) -> None:
        super().__init__(reason)
        self.log = log


FindInterpreter = Callable[[Run], Interpreter]


def this_interpreter(run: Run) -> Interpreter:
    """The Python that runs ood-bench, for every run."""
    return Interpreter(sys.executable)


def perform(
    run: Run, place: str, resume: bool, find: FindInterpreter = this_interpreter, stop: threading.Event | None = None
) -> Ended:
    """Run it here, or with --resume take the result that the same request has left.

    Args:
        run: what to run.
        place: its place among all runs, for people.
        resume: keep what is finished.
        find: names the Python that the run needs.
        stop: when others run at the same time, what ends all of them.
    """
    try:
        with locks.held(run.folder, PATIENCE_SECONDS) as lock:
            kept = prepare(run, resume)
            if kept is not None:
                say(f"{place} {run}: finished before, kept")
                return kept
            interpreter = find(run)
            say(f"{place} {run}: running, log in {run.folder / processes.LOG}")
            alone = stop is None and sys.stderr.isatty()
            outcome = execute(run, interpreter, lock, tick if alone else None, stop)
            return conclude(run, place, outcome)
    except (locks.Busy, NoInterpreterError) as error:
        return refuse(run, place, error)


def prepare(run: Run, resume: bool) -> Ended | None:
    """The finished result of the same request, with --resume; else None, and the folder is ready for `execute`.

    The lock must be held.
    """
    if resume and is_asked(run):
        kept = finished(run)
        if kept is None:
            remove_results(run)
        return kept
    before = read_request(run.folder)
    if resume and before:
        say(f"{run}: {run.folder} is of {differing(before, request_of(run))}; it is run anew")
    if before is None:  # not a folder of ours, or a new one: what would pass for this run's goes
        remove_results(run)
        for name in (processes.LOG, OUTCOME):
            (run.folder / name).unlink(missing_ok=True)
    else:
        files.write_json(run.folder / REQUEST, {})  # if this is killed half-way, nothing passes for complete
        clear(run.folder)
    files.write_json(run.folder / REQUEST, request_of(run))
    return None


def execute(
    run: Run,
    interpreter: Interpreter,
    lock: int,
    tick: Callable[[float], None] | None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Start the method's process in a folder that is prepared, and wait for its end."""
    log = run.folder / processes.LOG
    again = ["--resume"] if log.exists() else []
    (run.folder / OUTCOME).unlink(missing_ok=True)
    arguments = [*run.arguments, "--output-dir", str(run.folder), *again]
    command = [interpreter.python, "-m", run.source.module, *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in interpreter.without}
    if run.threads is not None:
        environment["OMP_NUM_THREADS"] = str(run.threads)
    outcome = processes.run(command, log, environment, tick, [lock], stop)
    about = {"status": outcome.status, "seconds": outcome.seconds, "beside_others": stop is not None}
    files.write_json(run.folder / OUTCOME, about)
    return outcome


def conclude(run: Run, place: str, outcome: Outcome, attempts: int = 1) -> Ended:
    """Check what an ended process left, and say how it went."""
    tries = f", started {attempts} times" if attempts > 1 else ""
    if outcome.status == 0:
        ended = results_of(run, outcome.seconds, attempts)
    else:
        ended = Ended(run, outcome.seconds, (), explain(run, processes.describe(outcome.status) + tries), attempts)
    if not ended.results:
        say(f"{place} {run}: FAILED after {summary.duration(outcome.seconds)}{tries}", *ended.failure)
    else:
        means = summary.means(summary.rows([record for record, _ in ended.results]))
        best = max(means, key=lambda method: means[method])
        of = f" of {best}, the best of them" if len(means) > 1 else ""
        took = f"done in {summary.duration(outcome.seconds)}{tries}"
        say(f"{place} {run}: {took}, mean AUROC{of} {100 * means[best]:.1f} %")
    return ended


def refuse(run: Run, place: str, error: locks.Busy | NoInterpreterError) -> Ended:
    """A run that could not be started; the reason is said, and written to its log when its folder is free."""
    if isinstance(error, NoInterpreterError):
        files.write_text(run.folder / processes.LOG, error.log)
        failure = explain(run, str(error))
    else:
        failure = (f"{error} End it, then run again with --resume.",)
    say(f"{place} {run}: FAILED", *failure)
    return Ended(run, None, (), failure)


def tick(seconds: float) -> None:
    """The seconds of the running process, over and over on one line."""
    print(f"\r… {summary.duration(seconds)} ", end="", file=sys.stderr, flush=True)


def say(*lines: str) -> None:
    """Print a line on standard error, over the running seconds, and what belongs to it indented below."""
    start = "\r" if sys.stderr.isatty() else ""
    print(start + "\n    ".join(lines) + "\n", end="", file=sys.stderr, flush=True)  # at once: runs are side by side
