"""The long trainings behind the tables, one after the other, each from one commit: `python tools/trainings.py --help`.

    python tools/trainings.py run --data DIR [--only NAME …] [--package NAME …]   # start, or go on where it was stopped
    python tools/trainings.py run --data DIR --gpu --stop-after 540               # documented commands, in slices
    python tools/trainings.py list                                                # what is finished, what is under way

`training_list` and `gpu_training_list` have them. A training is a list of commands of one package. It runs from a clone
at the commit at which it began, also when the checkout has moved on, in a folder of its own below --work. A command
that has ended well is not run again; one that was stopped is started with `--resume` and goes on at its last epoch or
batch. SIGTERM is passed on, so that the command saves first, and so does an end of the time given by --stop-after. The
result of a finished training is copied to the package's `results`; `tools/reproduction.py` makes the page from those.
"""

import argparse
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gpu_training_list import ON_A_GPU
from ood_shared.cli import Parser, run_command
from ood_shared.errors import InputError, unknown
from ood_shared.files import read_json, write_json, write_text
from ood_shared.flags import positive, positive_int
from ood_shared.locks import held
from ood_shared.runs import read_metrics
from ood_shared.signals import status_of
from training import Training
from training_list import TRAININGS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("know_your_space", "mood_dpa", "ascood", "imood", "oodgen")
WORK = ROOT / ".trainings"
STATE = "state.json"
POLL_SECONDS = 0.2
RESUMED = {"train_vae", "train_classi", "train.py", "main.py"}  # the other commands go on by themselves


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = Parser(prog="trainings.py", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("run", "list"), help="run: start or go on; list: what is finished")
    parser.add_argument("--data", type=Path, help="folder of MNIST/raw, FashionMNIST/raw, CIFAR-10 and MedMNIST files")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of clones and runs (default: {WORK.name})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these trainings, in this order (default: all)")
    parser.add_argument("--package", nargs="+", choices=PACKAGES, default=PACKAGES, help="trainings of these packages")
    parser.add_argument("--gpu", action="store_true", help="the documented commands with the papers' networks instead")
    parser.add_argument("--stop-after", type=positive, metavar="SECONDS", dest="seconds", help="save and end then")
    parser.add_argument("--results", type=Path, metavar="DIR", help="for results (default: those of the packages)")
    parser.add_argument("--threads", type=positive_int, default=1, help="of each training (default: 1)")
    return run_command(answer, parser)


def answer(options: argparse.Namespace) -> int:
    """Run or list."""
    by_name = {training.name: training for training in (ON_A_GPU if options.gpu else TRAININGS)}
    options.work = options.work.resolve()
    for name in options.only or ():
        if name not in by_name:
            raise unknown("--only", name, by_name)
    chosen = [by_name[name] for name in options.only or by_name if by_name[name].package in options.package]
    if options.verb == "list":
        for training in chosen:
            print(f"{training.name:<32} {_standing(options.work / training.name, training)}")
        return 0
    left = [training for training in chosen if not finished(options.work / training.name, training)]
    _check_data(left, options.data)
    print(_forecast(left), flush=True)
    if not left:
        return 0
    until = math.inf if options.seconds is None else time.monotonic() + options.seconds
    with held(options.work, 0.0, who="another trainings.py"):
        for training in left:
            if training.after is not None and not finished(options.work / training.after, by_name[training.after]):
                raise InputError(f"{training.name} needs the files of {training.after}. Run that one first.")
            if not _run(training, options, until):
                print(f"stopped after {options.seconds:g} s, saved; run again to go on.")
                break
    return 0


def _check_data(left: Sequence[Training], data: Path | None) -> None:
    """Refuse a folder that does not hold what these trainings read, before the first begins."""
    if not any(training.needs_data for training in left):
        return
    if data is None:
        raise InputError("--data is missing: the folder of the data sets.")
    if not data.is_dir():
        raise InputError(f"--data {data} is not a folder. Pass the folder of the data sets.")
    lacking = {training.name: found for training in left if (found := training.lacking(data))}
    words = dict.fromkeys(" or ".join(word.split("|")) for found in lacking.values() for word in found)
    if words:
        first, *more = lacking
        names = f"{first} and {len(more)} more need them" if more else f"{first} needs them"
        raise InputError(f"--data {data} lacks {', '.join(words)}. {names}: put them there, or choose with --only.")


def _forecast(left: Sequence[Training]) -> str:
    """How long it will take."""
    known = [training.hours for training in left if training.hours is not None]
    if not left:
        return "all finished"
    if len(known) < len(left):
        return f"{len(left)} training(s) to run, with the papers' schedules; not measured"
    return f"{len(left)} training(s) to run or to go on with, at most {sum(known):.1f} h of one idle core"


def _run(training: Training, options: argparse.Namespace, until: float) -> bool:
    """The commands that are not done yet; False when the time was over before. Raises when one fails."""
    own = options.work / training.name
    state = read_state(own)
    if (ROOT / ".git").exists():
        state.setdefault("commit", _git("rev-parse", "HEAD"))
        source = _clone(state["commit"], options.work)
    else:
        source = ROOT  # files alone, on a machine that got no more
    words = {
        "data": options.data and options.data.resolve(),
        "own": own,
        "other": options.work / str(training.after),
    }
    for number in range(len(state["done"]), len(training.commands)):
        command = [word.format(**words) for word in training.commands[number].split()]
        print(f"{training.name}: {' '.join(command)}", flush=True)
        write_json(own / STATE, state)
        started = time.perf_counter()
        if command[0] == "copy":
            shutil.copytree(command[1], command[2], dirs_exist_ok=True)
        else:
            more = ["--resume"] if RESUMED & set(command) else []
            if not _call([sys.executable, *command, *more], source, training, own, options.threads, until):
                return False
        state["done"].append(round(time.perf_counter() - started, 1))
        write_json(own / STATE, state)
    if training.keep is not None:
        target = kept_in(options.results, training)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, _without_places((own / training.result).read_text(encoding="utf-8"), own, words["data"]))
        print(f"{training.name}: finished, {target} written", flush=True)
    return True


def kept_in(results: Path | None, training: Training) -> Path:
    """The file of a finished training's numbers: of its package, or below a folder for all packages."""
    folder = ROOT / "packages" / training.package / "results" if results is None else results / training.package
    return folder / str(training.keep)


def _without_places(text: str, own: Path, data: Path | None) -> str:
    """A result without the folders of the machine that it was made on."""
    text = text.replace(f"{own}/", "")
    return text if data is None else text.replace(str(data), "data")


def _call(command: Sequence[str], source: Path, training: Training, own: Path, threads: int, until: float) -> bool:
    """Run a command from the clone and wait; a signal to this program is passed on. False: the time was over before."""
    folders = [source / "shared" / "src", *(source / "packages" / name / "src" for name in PACKAGES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": str(threads)}
    with (own / "log.txt").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=source / "packages" / training.package, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            while (status := status_of(process)) is None and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                process.wait()
    if status is None:
        return False
    if status:
        raise InputError(f"{training.name}: status {status}; {own / 'log.txt'} says why. Mend that, then run again.")
    return True


def _clone(commit: str, work: Path) -> Path:
    target = work / "source" / commit[:12]
    if not target.is_dir():
        unfinished = target.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        _git("clone", "--quiet", "--no-checkout", str(ROOT), str(unfinished))
        subprocess.run(["git", "-C", str(unfinished), "checkout", "--quiet", commit], check=True)
        unfinished.rename(target)
    return target.resolve()


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()


def read_state(own: Path) -> dict:
    """Which commands of a training are done, and at which commit it began."""
    own.mkdir(parents=True, exist_ok=True)
    state = read_json(own / STATE) if (own / STATE).is_file() else {"done": []}
    if not isinstance(state.get("done"), list):
        raise InputError(f"{own / STATE} lacks the list `done` of the seconds that each finished command took.")
    return state


def finished(own: Path, training: Training) -> bool:
    """Whether all commands of a training are done."""
    return own.is_dir() and len(read_state(own)["done"]) == len(training.commands)


def _standing(own: Path, training: Training) -> str:
    if not own.is_dir():
        return "not begun"
    state = read_state(own)
    hours = sum(state["done"]) / 3600
    done = f"{len(state['done'])} of {len(training.commands)} commands, {hours:.1f} h"
    metrics = sorted(own.rglob("metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    if finished(own, training) or not metrics:
        return f"{'finished' if finished(own, training) else 'begun'}: {done}"
    epochs = [record["epoch"] for record in read_metrics(metrics[-1].parent) if "epoch" in record]
    return f"begun: {done}; {max(epochs, default=0)} epochs in {metrics[-1].parent.relative_to(own)}"


if __name__ == "__main__":
    sys.exit(main())
