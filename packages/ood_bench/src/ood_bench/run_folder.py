"""A run and its folder: what was asked for, how it ended, its results.

`request.json` says what was asked for; `log.txt` and `outcome.json` what its process said and how it ended. A result in
the folder answers the request there. Whoever looks at the folder or writes to it holds its lock (`ood_shared.locks`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import files, locks
from ood_shared.errors import InputError
from ood_shared.results.record import read_result
from ood_shared.results.schema import PICTURES, RESULT, SCORES, Record, ScoreArrays

from ood_bench import processes
from ood_bench.methods import Source
from ood_bench.processes import Outcome

REQUEST = "request.json"  # so that --resume knows whether a result answers it
OUTCOME = "outcome.json"


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


def is_asked(run: Run) -> bool:
    """Whether the folder is that of this request."""
    return bool(read_request(run.folder) == request_of(run))


def is_finished(run: Run) -> bool:
    """Whether the folder is that of this request and has all results, which are not checked here."""
    return is_asked(run) and all((folder / RESULT).is_file() for folder in run.folders().values())


def finished(run: Run) -> Ended | None:
    """The results in a folder of this request, when all are whole."""
    ended = results_of(run, read_outcome(run).seconds)
    return ended if ended.results else None


def read_outcome(run: Run) -> Outcome:
    """How the last process ended well; without a duration when that is not known."""
    outcome = _record(run.folder / OUTCOME)
    return Outcome(0, outcome.get("seconds") if outcome.get("status") == 0 else None)


def ran_beside_others(run: Run) -> bool:
    """Whether the run that left the results went at the same time as others."""
    return bool(_record(run.folder / OUTCOME).get("beside_others"))


def explain(run: Run, reason: str) -> tuple[str, ...]:
    """A reason with the last lines of the log."""
    log = run.folder / processes.LOG
    said = processes.last_lines(log) if log.is_file() else []
    return (reason, f"last lines of {log}:", *(f"  {line}" for line in said or ["(nothing)"]))


def results_of(run: Run, seconds: float | None, attempts: int = 1) -> Ended:
    """The results in the run's folder, when all are whole and are this run's; else the reason why not."""
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


def request_of(run: Run) -> dict[str, Any]:
    """The content of `request.json`."""
    return {"module": run.source.module, "arguments": list(run.arguments), "threads": run.threads}


def read_request(folder: Path) -> dict[str, Any] | None:
    """What the folder's run was asked for, empty where that makes no sense; None where nothing says so."""
    if not (folder / REQUEST).is_file():
        return None
    found = _record(folder / REQUEST)
    return found if {"module", "arguments"} <= found.keys() else {}


def _record(path: Path) -> dict[str, Any]:
    """What a JSON file of a run's folder says; nothing where there is none, or no keys and values."""
    found = files.read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What another request was asked for in other words, such as `--ood letters, without --mirror`."""
    words = [_flags(request["arguments"]) | {"--threads": str(request.get("threads"))} for request in (before, now)]
    old, new = words
    changed = [flag for flag in dict.fromkeys([*old, *new]) if old.get(flag) != new.get(flag)]
    said = [f"{flag} {old[flag]}".rstrip() if flag in old else f"no {flag}" for flag in changed]
    return ", ".join(said) or str(before["module"])


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """The values of the flags of a command line, `--flag value` or `--flag=value`; "" of those that have none."""
    flags: dict[str, str] = {}
    for word in arguments:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            flags[name] = value
        elif flags:
            flags[list(flags)[-1]] = word
    return flags


def remove_results(run: Run) -> None:
    """Take away what would pass for a result; what a method goes on from stays."""
    for folder in run.folders().values():
        for name in (RESULT, SCORES, PICTURES):
            (folder / name).unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Empty the folder but for the request and the lock."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (REQUEST, locks.LOCK):
            entry.unlink()
