"""One method with one seed, from its start to its checked result; what happens is said on standard error.

A run's folder holds `request.json`, what was asked for; `log.txt` and `outcome.json`, what its process said and how it
ended; and the result. A result in the folder answers the request there: a new request first clears the folder. Whoever
looks at the folder or writes to it holds its lock (`locks`), and so does the process of the method.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import files, locks
from ood_shared.errors import InputError
from ood_shared.results.record import read_result
from ood_shared.results.schema import PICTURES, RESULT, SCORES, Record, ScoreArrays

from ood_bench import processes, summary
from ood_bench.guard import GRACE_SECONDS
from ood_bench.methods import Source
from ood_bench.processes import Outcome

REQUEST = "request.json"  # so that --resume knows whether a result answers it
OUTCOME = "outcome.json"
PATIENCE_SECONDS = GRACE_SECONDS + 5  # for the method of an ood-bench that was killed, which is ended then


@dataclass(frozen=True)
class Run:
    """One process with one seed.

    Attributes:
        source: what is started.
        seed: of it.
        folder: where its files go.
        arguments: of the command line.
        threads: of its computations on a CPU; None leaves that to torch.
    """

    source: Source
    seed: int
    folder: Path
    arguments: tuple[str, ...]
    threads: int | None = None

    def __str__(self) -> str:
        return f"{self.source.name}, seed {self.seed}"

    def folders(self) -> dict[str, Path]:
        """Where each method leaves its result."""
        return {name: self.folder / name if self.source.group else self.folder for name in self.source.methods}


@dataclass(frozen=True)
class Ended:
    """A run that came to its end: with the results of its methods, or with the lines that say why not.

    Attributes:
        run: what was run.
        seconds: how long its process took; None when that is not known any more.
        results: of each method.
        failure: reason and last lines of the log.
        attempts: how often it was started.
    """

    run: Run
    seconds: float | None
    results: tuple[tuple[Record, ScoreArrays], ...]
    failure: tuple[str, ...] = ()
    attempts: int = 1


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
            _remove_results(run)
        return kept
    if _read_request(run.folder) is None:  # not a folder of ours, or a new one: what would pass for this run's goes
        _remove_results(run)
        for name in (processes.LOG, OUTCOME):
            (run.folder / name).unlink(missing_ok=True)
    else:
        files.write_json(run.folder / REQUEST, {})  # if this is killed half-way, nothing passes for complete
        _clear(run.folder)
    files.write_json(run.folder / REQUEST, _request(run))
    return None


def is_asked(run: Run) -> bool:
    """Whether the folder is that of this request."""
    return bool(_read_request(run.folder) == _request(run))


def is_finished(run: Run) -> bool:
    """Whether the folder is that of this request and has all results, which are not checked here."""
    return is_asked(run) and all((folder / RESULT).is_file() for folder in run.folders().values())


def finished(run: Run) -> Ended | None:
    """The results in a folder of this request, when all are whole."""
    ended = _results_of(run, read_outcome(run).seconds)
    return ended if ended.results else None


def read_outcome(run: Run) -> Outcome:
    """How the last process ended well; without a duration when that is not known."""
    path = run.folder / OUTCOME
    outcome = files.read_json(path) if path.is_file() else {}
    return Outcome(0, outcome.get("seconds") if outcome.get("status") == 0 else None)


def ran_beside_others(run: Run) -> bool:
    """Whether the run that left the results went at the same time as others."""
    path = run.folder / OUTCOME
    return path.is_file() and bool(files.read_json(path).get("beside_others"))


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
        ended = _results_of(run, outcome.seconds, attempts)
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


def explain(run: Run, reason: str) -> tuple[str, ...]:
    """A reason with the last lines of the log."""
    log = run.folder / processes.LOG
    said = processes.last_lines(log) if log.is_file() else []
    return (reason, f"last lines of {log}:", *(f"  {line}" for line in said or ["(nothing)"]))


def tick(seconds: float) -> None:
    """The seconds of the running process, over and over on one line."""
    print(f"\r… {summary.duration(seconds)} ", end="", file=sys.stderr, flush=True)


def say(*lines: str) -> None:
    """Print a line on standard error, over the running seconds, and what belongs to it indented below."""
    start = "\r" if sys.stderr.isatty() else ""
    print(start + "\n    ".join(lines) + "\n", end="", file=sys.stderr, flush=True)  # at once: runs are side by side


def _results_of(run: Run, seconds: float | None, attempts: int = 1) -> Ended:
    """The results in the run's folder, when all are whole and are this run's."""
    results = []
    try:
        for method, folder in run.folders().items():
            record, scores = read_result(folder)
            if (record["method"], record["seed"]) != (method, run.seed):
                raise InputError(
                    f"{folder / RESULT} is of {record['method']}, seed {record['seed']}; "
                    f"expected {method}, seed {run.seed}."
                )
            results.append((record, scores))
    except InputError as error:
        return Ended(run, seconds, (), explain(run, f"no valid result: {error}"), attempts)
    return Ended(run, seconds, tuple(results), (), attempts)


def _request(run: Run) -> dict[str, Any]:
    return {"module": run.source.module, "arguments": list(run.arguments), "threads": run.threads}


def _read_request(folder: Path) -> Any:
    path = folder / REQUEST
    return files.read_json(path) if path.is_file() else None


def _remove_results(run: Run) -> None:
    for folder in run.folders().values():
        for name in (RESULT, SCORES, PICTURES):
            (folder / name).unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (REQUEST, locks.LOCK):
            entry.unlink()
