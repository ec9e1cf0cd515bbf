"""The long trainings behind the tables, one after the other, each from one commit: `python tools/trainings.py --help`.

    python tools/trainings.py run --data DIR [--only NAME …]     # start, or go on where the last call was stopped
    python tools/trainings.py list                               # what is finished, what is under way

A training is a list of commands of one package. It runs from a clone at the commit at which it began, also when the
checkout has moved on, in a folder of its own below --work. A command that has ended well is not run again; one that was
stopped is started with `--resume` and goes on at its last epoch or batch. SIGTERM is passed on, so that the command
saves first. Results of a finished training are copied to the package's `results`. `docs/reproduction.md` says what each
shows and how long it takes.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_shared.locks import held
from ood_shared.cli import Parser, run_command
from ood_shared.errors import InputError, unknown
from ood_shared.files import read_json, write_json
from ood_shared.flags import positive_int
from ood_shared.runs import read_metrics

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("know_your_space", "mood_dpa", "ascood", "imood", "oodgen")
WORK = ROOT / ".trainings"
STATE = "state.json"
VAE = "--epochs 100 --batch_size 128 --opt rmsprop --lr 0.001 --momentum 0.0 --gpu_id 0 --seed False"
CLASSIFIER = "--epochs 200 --batch_size 256 --opt ada --lr 0.05 --momentum 0.0 --gpu_id 0 --seed 1"


@dataclass(frozen=True)
class Training:
    """One training; words are filled with {data}, {own} (its folder) and {other} (that of `after`).

    Attributes:
        name: of its folder.
        package: whose code runs, in whose folder of the clone.
        commands: in order; `copy A B` copies a folder.
        result: file in its folder, copied to `results/<name>.json` of the package.
        after: name of a training whose files it needs.
    """

    name: str
    package: str
    commands: tuple[str, ...]
    result: str
    after: str | None = None


def _oodgen(family: str, other: str) -> list[Training]:
    """The four documented commands with one decoder and three ways to use it."""
    decoder = Training(
        f"oodgen_{family}_vae",
        "oodgen",
        (
            f"-m oodgen prepare {family} {{own}}/data/{family} --data-dir {{data}}",
            f"-m oodgen train_vae --in_data {{own}}/data/{family} --save_path {{own}}/result {VAE}",
        ),
        "result/vae/configuration.json",
    )
    found = [decoder]
    for name, direction, more in (
        ("uniform", "normal", ""),
        ("rref", "rref", ""),
        ("rref_recon", "rref", " --id_recon"),
    ):
        images, result = f"{{own}}/data/{family}", "{own}/result"
        generate = (
            f"-m oodgen gen_ood --data {images} --model_path {result} --model_epoch 100 --batch_size 1000 --seed 1"
        )
        found.append(
            Training(
                f"oodgen_{family}_{name}",
                "oodgen",
                (
                    f"-m oodgen prepare {family} {images} --data-dir {{data}}",
                    f"-m oodgen prepare {other} {{own}}/data/{other} --data-dir {{data}}",
                    f"copy {{other}}/result/vae {result}/vae",
                    f"{generate} --dataset train --direction {direction}",
                    f"{generate} --dataset test --direction {direction}",
                    f"-m oodgen train_classi --in_data {images} --save_path {result} {CLASSIFIER}{more}",
                    f"-m oodgen test --in_data {images} --out_data {{own}}/data/{other},gaussian,uniform,sphere "
                    f"--model_path {result} --save_path {result} --model_epoch 200 --seed 1",
                ),
                "result/result.json",
                after=decoder.name,
            )
        )
    return found


TRAININGS = (
    *_oodgen("fmnist", "mnist"),
    *_oodgen("mnist", "fmnist"),
    Training(
        "imood_cifar10_lt",
        "imood",
        ("benchmarks/real_cifar.py {data} --work {own}/runs --epochs 60 --precision fp32 --out {own}/result.json",),
        "result.json",
    ),
    Training(
        "ascood_cifar10",
        "ascood",
        (
            "benchmarks/compare_cifar10.py --data {data} --work {own}/runs --seeds 0 --epochs 30 --per-class 5000 "
            "--output {own}/result.json",
        ),
        "result.json",
    ),
    Training(
        "know_your_space_pneumoniamnist",
        "know_your_space",
        (
            "benchmarks/medical.py --data {data} --work {own}/runs --output {own}/result.json --seeds 1 --epochs 100 "
            "--layers 40 --precision fp32",
        ),
        "result.json",
    ),
)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = Parser(prog="trainings.py", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("run", "list"), help="run: start or go on; list: what is finished")
    parser.add_argument("--data", type=Path, help="folder of MNIST/raw, FashionMNIST/raw, CIFAR-10 and MedMNIST files")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of clones and runs (default: {WORK.name})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these trainings, in this order (default: all)")
    parser.add_argument("--threads", type=positive_int, default=1, help="of each training (default: 1)")
    return run_command(answer, parser)


def answer(options: argparse.Namespace) -> int:
    """Run or list."""
    by_name = {training.name: training for training in TRAININGS}
    options.work = options.work.resolve()
    for name in options.only or ():
        if name not in by_name:
            raise unknown("--only", name, by_name)
    chosen = [by_name[name] for name in options.only or by_name]
    if options.verb == "list":
        for training in chosen:
            print(f"{training.name:<32} {_standing(options.work / training.name, training)}")
        return 0
    if options.data is None:
        raise InputError("--data is missing: the folder of the data sets.")
    if not options.data.is_dir():
        raise InputError(f"--data {options.data} is not a folder. Pass the folder of the data sets.")
    with held(options.work, 0.0):
        for training in chosen:
            if training.after is not None and not _finished(options.work / training.after, by_name[training.after]):
                raise InputError(f"{training.name} needs the files of {training.after}. Run that one first.")
            _run(training, options)
    return 0


def _run(training: Training, options: argparse.Namespace) -> None:
    """The commands that are not done yet; raises when one fails."""
    own = options.work / training.name
    state = _read(own)
    state.setdefault("commit", _git("rev-parse", "HEAD"))
    source = _clone(state["commit"], options.work)
    words = {
        "data": options.data.resolve(),
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
            # the benchmarks take up finished and stopped parts by themselves
            resume = ["--resume"] if {"train_vae", "train_classi"} & set(command) else []
            _call([sys.executable, *command, *resume], source, training, own, options.threads)
        state["done"].append(round(time.perf_counter() - started, 1))
        write_json(own / STATE, state)
    if (own / training.result).is_file() and training.result.endswith("result.json"):
        target = ROOT / "packages" / training.package / "results" / f"{training.name}.json"
        shutil.copyfile(own / training.result, target)
        print(f"{training.name}: finished, {target.relative_to(ROOT)} written", flush=True)


def _call(command: Sequence[str], source: Path, training: Training, own: Path, threads: int) -> None:
    """Run a command from the clone and wait; a signal to this program is passed on."""
    folders = [source / "shared" / "src", *(source / "packages" / name / "src" for name in PACKAGES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": str(threads)}
    with (own / "log.txt").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=source / "packages" / training.package, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if status:
        raise InputError(f"{training.name}: status {status}; see {own / 'log.txt'}. Run again to go on.")


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


def _read(own: Path) -> dict:
    own.mkdir(parents=True, exist_ok=True)
    state = read_json(own / STATE) if (own / STATE).is_file() else {"done": []}
    if not isinstance(state.get("done"), list):
        raise InputError(f"{own / STATE} lacks the list `done` of the seconds that each finished command took.")
    return state


def _finished(own: Path, training: Training) -> bool:
    return own.is_dir() and len(_read(own)["done"]) == len(training.commands)


def _standing(own: Path, training: Training) -> str:
    if not own.is_dir():
        return "not begun"
    state = _read(own)
    hours = sum(state["done"]) / 3600
    done = f"{len(state['done'])} of {len(training.commands)} commands, {hours:.1f} h"
    metrics = sorted(own.rglob("metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    if _finished(own, training) or not metrics:
        return f"{'finished' if _finished(own, training) else 'begun'}: {done}"
    epochs = [record["epoch"] for record in read_metrics(metrics[-1].parent) if "epoch" in record]
    return f"begun: {done}; {max(epochs, default=0)} epochs in {metrics[-1].parent.relative_to(own)}"


if __name__ == "__main__":
    sys.exit(main())
