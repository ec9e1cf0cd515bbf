"""Trainings that are killed, terminated, or run out of room or time; one JSON record for each trainer.

    python -m ood_shared.testing.crashes packages/oodgen/tests/crash_trainers.py --kills 25

The file defines `trainers(place)` (see `ood_shared.testing.trainers`). Every attempt is a fork of this process, which
imports what the first one needed: the libraries are loaded once, not by every attempt anew. On a system with `fork`
only.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ood_shared import checkpoints
from ood_shared.errors import InputError
from ood_shared.files import LEFTOVER
from ood_shared.locks import RUN_LOCK
from ood_shared.testing.commands import finish, rows_without_time, start
from ood_shared.testing.trainers import LEARNED, Trainer, attempt, trainers_of

EARLIEST = 0.05  # a kill comes after at least this share of an undisturbed run
NOT_COMPARED = ("seconds", "training_seconds", "config")  # times, and names of output folders
NO_CLAIMS = ("stopped", "slowest_seconds")
MOST_TRIES = 3  # for each kill that is asked for: some runs end before it
MOST_HALVES = 8  # of the time after which a run is killed that is to be starved: the machine may be faster by then


def examine(trainer: Trainer, kills: int, terms: int, seed: int) -> dict[str, Any]:
    """Kill, terminate and starve a trainer in the working folder; what was found, counts.

    Args:
        trainer: the command.
        kills: runs with SIGKILL at a random moment.
        terms: runs with SIGTERM at a random moment.
        seed: of the moments.
    """
    draws = random.Random(seed)
    if (first := attempt(trainer, "first", learn=True)).status:
        raise RuntimeError(f"The undisturbed run ended with {first.status}: {first.said}")
    for name in json.loads(Path(LEARNED).read_text()):
        with contextlib.suppress(ImportError):  # made by another one, of no file
            importlib.import_module(name)
    calm = attempt(trainer, "calm")
    found: dict[str, Any] = {"calm_seconds": round(calm.seconds, 2)}
    shortest = calm.seconds
    for word, number, times in (("kill", signal.SIGKILL, kills), ("term", signal.SIGTERM, terms)):
        rounds: list[dict[str, Any]] = []
        while sum(one["stopped"] for one in rounds) < times and len(rounds) < MOST_TRIES * times:
            rounds.append(_disturbed(trainer, f"{word}-{len(rounds)}", shortest, number, draws))
            shortest = min(shortest, rounds[-1].pop("seconds"))
        found[word] = {name: sum(one[name] for one in rounds) for name in (rounds[0] if rounds else ())}
        if number == signal.SIGTERM and rounds:
            found[word]["slowest_seconds"] = round(max(one["slowest"] for one in rounds), 2)
            del found[word]["slowest"]
    found["starved"] = _starved(trainer, shortest)
    found["sliced"] = _sliced(trainer)
    return found


def _disturbed(
    trainer: Trainer, out: str, longest: float, number: signal.Signals, draws: random.Random
) -> dict[str, Any]:
    """A run that is stopped once, in its course, and goes on; what is true of it."""
    first = attempt(trainer, out, draws.uniform(EARLIEST, 1.0) * longest, number)
    stopped = first.status in (-number, 128 + number)
    whole = first.status == -signal.SIGTERM and _weights(trainer, out) == _weights(trainer, "calm")  # on its way out
    last = attempt(trainer, out, more=trainer.resume) if first.status else first
    facts: dict[str, Any] = {
        "runs": True,
        "seconds": longest if stopped else first.seconds,
        "stopped": stopped,
        "resumed": last.status == 0,
        "same_weights": _weights(trainer, out) == _weights(trainer, "calm"),
        "same_metrics": _metrics(trainer, out) == _metrics(trainer, "calm"),
        "clean": not _leftovers(Path(out)),
    }
    if number == signal.SIGTERM:
        facts |= {
            "status_143_in_5_s": (whole or first.status in (0, 143)) and first.after_signal <= 5,
            "slowest": first.after_signal,
        }
    return facts


def _starved(trainer: Trainer, longest: float) -> dict[str, bool]:
    """A run whose files may not grow beyond half of the largest: the last whole ones stay, and it can go on."""
    sizes = [file.stat().st_size for file in Path("calm").rglob("*") if file.is_file()]
    for tries in range(1, MOST_HALVES + 1):
        out = f"starved-{tries}"
        attempt(trainer, out, longest / 2**tries, signal.SIGKILL)
        before = _saved(trainer, out)
        short = attempt(trainer, out, more=trainer.resume, limit=max(sizes) // 2)
        if short.status:  # else all had been written before the kill
            break
    intact = all(path.is_file() and _loads(path) for path in before)
    last = attempt(trainer, out, more=trainer.resume)
    return {
        "refused_in_one_line": short.status == 2 and "Make room" in short.said,
        "last_checkpoint_intact": intact,
        "same_weights": last.status == 0 and _weights(trainer, out) == _weights(trainer, "calm"),
        "clean": not _leftovers(Path(out)),
    }


def _sliced(trainer: Trainer) -> dict[str, bool]:
    """A run whose time is over at its first step, and that goes on."""
    first = attempt(trainer, "sliced", more=["--stop-after", "0.01"])
    last = attempt(trainer, "sliced", more=trainer.resume)
    return {
        "stopped_with_status_0": first.status == 0 and "stopped after 0.01 s; what was finished is saved" in first.said,
        "same_weights": last.status == 0 and _weights(trainer, "sliced") == _weights(trainer, "calm"),
        "same_metrics": _metrics(trainer, "sliced") == _metrics(trainer, "calm"),
        "clean": not _leftovers(Path("sliced")),
    }


def _saved(trainer: Trainer, out: str) -> list[Path]:
    """The checkpoints of a run: what it goes on from, and its last weights.

    A run that was killed between its first weights and its first checkpoint has nothing to go on from: it starts anew,
    which removes the weights.
    """
    saved, whole = ({path for run in _runs(trainer, at) for path in run.glob("[!.]*.pt")} for at in (out, "calm"))
    if whole and not saved:
        return []
    return sorted({*saved, *Path(out).glob(trainer.weights)})


def _loads(path: Path) -> bool:
    try:
        checkpoints.load_value(path)
    except InputError:
        return False
    return True


def _weights(trainer: Trainer, out: str) -> list[tuple[str, Any]]:
    files = sorted(Path(out).glob(trainer.weights))
    return [(file.relative_to(out).as_posix(), _plain(checkpoints.load_value(file))) for file in files]


def _plain(value: Any) -> Any:
    """Tensors as text that compares to the bit."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if key not in NOT_COMPARED}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _metrics(trainer: Trainer, out: str) -> list[Any]:
    return [rows_without_time(run) for run in _runs(trainer, out)]


def _runs(trainer: Trainer, out: str) -> list[Path]:
    found = [Path(out)] if trainer.run == "." else sorted(Path(out).glob(trainer.run))
    return [run for run in found if run.is_dir()]


def _leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if LEFTOVER in path.name or path.name == RUN_LOCK]


def short_form(file: Path, place: Path) -> None:
    """Each trainer of a file, stopped once in each way, in a process of its own; all claims must hold."""
    words = ["-m", "ood_shared.testing.crashes", str(file), "--kills", "1", "--terms", "1"]
    outcome = finish(start(words, place), timeout=600)
    assert outcome.status == 0, outcome.err
    for name, found in json.loads(outcome.out[outcome.out.index("{\n") :]).items():
        for word in ("kill", "term"):
            runs = found[word].pop("runs")
            lacking = [claim for claim, count in found[word].items() if claim not in NO_CLAIMS and count != runs]
            assert not lacking, (name, word, found[word])
        assert all(found["starved"].values()), (name, found["starved"])
        assert all(found["sliced"].values()), (name, found["sliced"])


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", help="names of trainers")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--terms", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    found = {}
    with tempfile.TemporaryDirectory() as place:
        file = options.file.resolve()
        os.chdir(place)
        for name, trainer in trainers_of(file, Path(place)).items():
            if options.only is None or name in options.only:
                (folder := Path(place, f"of-{name}")).mkdir()
                os.chdir(folder)
                found[name] = examine(trainer, options.kills, options.terms, options.seed)
                os.chdir(place)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
