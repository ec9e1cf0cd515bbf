"""One method with one seed, from its start to its checked result; what happens is said on standard error."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import files
from ood_shared.bench import processes, summary
from ood_shared.bench.fields import RESULT, SCORES, Record, ScoreArrays
from ood_shared.bench.methods import Source
from ood_shared.bench.schema import read_result
from ood_shared.errors import InputError

REQUEST = "request.json"  # what was asked for, so that --resume knows whether a result answers it


@dataclass(frozen=True)
class Run:
    """One process with one seed: what is started, and where its files go."""

    source: Source
    seed: int
    folder: Path
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source.name}, seed {self.seed}"

    def folders(self) -> dict[str, Path]:
        """Where each method leaves its result."""
        return {name: self.folder / name if self.source.group else self.folder for name in self.source.methods}


@dataclass(frozen=True)
class Ended:
    """A run that came to its end: with the results of its methods, or with the lines that say why not."""

    run: Run
    seconds: float
    results: tuple[tuple[Record, ScoreArrays], ...]
    failure: tuple[str, ...] = ()


def perform(run: Run, place: str, resume: bool) -> Ended:
    """Run it, or with --resume take the result that the same request has left."""
    request = {"module": run.source.module, "arguments": list(run.arguments)}
    same = resume and _read_request(run.folder) == request
    if same and (kept := _results_of(run)).results:
        say(f"{place} {run}: finished before, kept")
        return kept
    for folder in run.folders().values():  # of an earlier request; they must not pass for this one's
        for name in (RESULT, SCORES):
            (folder / name).unlink(missing_ok=True)
    files.write_json(run.folder / REQUEST, request)
    say(f"{place} {run}: running, log in {run.folder / processes.LOG}")
    arguments = [*run.arguments, "--output-dir", str(run.folder), *(["--resume"] if same else [])]
    outcome = processes.run(run.source.module, arguments, run.folder, _tick if sys.stderr.isatty() else None)
    if outcome.status == 0:
        ended = _results_of(run, outcome.seconds)
    else:
        ended = Ended(run, outcome.seconds, (), _explain(run, processes.describe(outcome.status)))
    if not ended.results:
        say(f"{place} {run}: FAILED after {summary.duration(outcome.seconds)}", *ended.failure)
    else:
        means = summary.means(summary.rows([record for record, _ in ended.results]))
        best = max(means, key=lambda method: means[method])
        of = f" of {best}, the best of them" if len(means) > 1 else ""
        say(f"{place} {run}: done in {summary.duration(outcome.seconds)}, mean AUROC{of} {100 * means[best]:.1f} %")
    return ended


def _results_of(run: Run, seconds: float = 0.0) -> Ended:
    """The results in the run's folder, when all are whole and are this run's."""
    found = []
    try:
        for method, folder in run.folders().items():
            record, scores = read_result(folder)
            if (record["method"], record["seed"]) != (method, run.seed):
                raise InputError(
                    f"{folder / RESULT} is of {record['method']}, seed {record['seed']}; "
                    f"expected {method}, seed {run.seed}."
                )
            found.append((record, scores))
    except InputError as error:
        return Ended(run, seconds, (), _explain(run, f"no valid result: {error}"))
    return Ended(run, seconds, tuple(found))


def _explain(run: Run, reason: str) -> tuple[str, ...]:
    log = run.folder / processes.LOG
    said = processes.last_lines(log) if log.is_file() else []
    return (reason, f"last lines of {log}:", *(f"  {line}" for line in said or ["(nothing)"]))


def _tick(seconds: float) -> None:
    print(f"\r… {summary.duration(seconds)} ", end="", file=sys.stderr, flush=True)


def say(*lines: str) -> None:
    """Print a line on standard error, over the running seconds, and what belongs to it indented below."""
    start = "\r" if sys.stderr.isatty() else ""
    print(start + "\n    ".join(lines), file=sys.stderr, flush=True)


def _read_request(folder: Path) -> Any:
    path = folder / REQUEST
    return files.read_json(path) if path.is_file() else None
