"""The checks that need a CUDA device, with the torch of this machine, in slices of some minutes.

    python tools/gpu_checks.py --data DIR              # at most nine minutes; run again to go on
    python tools/gpu_checks.py --data DIR --only trainings --package imood
    python tools/gpu_checks.py --rehearse              # all of it on a CPU, with tiny data, to know that it works

In this order: `tests` marked gpu; `bench`, the bench contract in both precisions; `speed` of hot paths; `waits` of the
host in the training loops (`gpu_waits.py`); `detector`, whose file must say the same on the GPU and on the CPU;
`trainings`, the documented commands with the papers' networks (`gpu_training_list`), which share what is left of
the time. What is finished is not repeated at the same commit.
Numbers of a finished training go to `packages/<package>/results/gpu-*.json`. Of an unfinished one
`gpu-*-partial.json` says how far it got, and nothing that could be taken for a result.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("oodgen", "know_your_space", "imood", "ascood", "mood_dpa")
PATHS = [ROOT / "shared" / "src", *(ROOT / "packages" / name / "src" for name in (*PACKAGES, "ood_bench"))]
sys.path[:0] = map(str, PATHS)  # a bare checkout runs too

import torch  # noqa: E402
from gpu_progress import Watch, partial_record  # noqa: E402
from gpu_rehearsal import write_data  # noqa: E402
from gpu_training_list import ON_A_GPU  # noqa: E402
from ood_shared import runs  # noqa: E402
from ood_shared.cli import Parser, run_command  # noqa: E402
from ood_shared.errors import InputError  # noqa: E402
from ood_shared.files import read_json, write_json  # noqa: E402
from ood_shared.flags import positive  # noqa: E402
from training import Training  # noqa: E402
from trainings import finished, kept_in, read_state  # noqa: E402

PARTS = ("tests", "bench", "speed", "waits", "detector", "trainings")
FLAGS = {"fp32": ("--precision", "fp32"), "bf16": ("--precision", "bf16", "--compile", "--backbone", "paper")}
OOD = "textures,faces,photos,letters,gaussian,uniform"
OWN_SCORE = {"ascood": ("--postprocessor", "ebo")}  # the default asks for pytorch-ood
APART = 1e-2  # between the scores of a detector on two devices
LEAST = 15.0  # seconds; less is not worth a start
STATE = "checks.json"


@dataclass(frozen=True)
class Check:
    """Commands that must end well, and what to look at then."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    then: Callable[[], None] = lambda: None


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = Parser(prog="gpu_checks.py", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="data sets, laid out as each package's README says")
    parser.add_argument("--output", type=Path, default=ROOT / ".trainings" / "gpu", help="for all that is made")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--package", nargs="+", choices=PACKAGES, default=PACKAGES, help="these packages alone")
    parser.add_argument("--minutes", type=positive, default=9.0, help="for all of it (default: 9)")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny data of its own")
    return run_command(answer, parser)


def answer(options: argparse.Namespace) -> int:
    """Run what is left, as far as the time goes; 1 when something failed."""
    until = time.monotonic() + 60 * options.minutes
    if options.data is not None and (options.rehearse or not options.data.is_dir()):
        raise InputError(f"--data {options.data} is no folder, or stands beside --rehearse, which makes its own.")
    if options.rehearse:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise InputError("There is no CUDA device here. Pass --rehearse to run the checks on a CPU with tiny data.")
    out = options.output = options.output.resolve() / ("rehearsal" if options.rehearse else "")
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if options.rehearse else "cuda")
    print(runs.hardware(device).get("accelerator", "rehearsal on a CPU"), flush=True)
    failed, state = 0, _state(out)
    for check in checks(options, str(device)):
        failed += not _run(check, state, out, until)
    if "trainings" in options.only:
        failed += _trainings(options, device, until)
    return 1 if failed else 0


def checks(options: argparse.Namespace, device: str) -> list[Check]:
    """All but the trainings. A rehearsal takes one bench, and the smallest sizes."""
    out, small = options.output, options.rehearse
    python = (sys.executable, "-m")
    found = []
    if "tests" in options.only:
        for folder in (ROOT / "shared", *(ROOT / "packages" / name for name in options.package)):
            files = [str(path) for path in sorted((folder / "tests").rglob("test_*.py")) if _has_gpu_tests(path)]
            found.append(Check(f"tests of {folder.name}", ((*python, "pytest", "-q", "-m", "gpu", *files),)))
    if "bench" in options.only:
        for package in options.package[:1] if small else options.package:
            for name, flags in list(FLAGS.items())[: 1 if small else None]:
                words = ("--id", "digits", "--ood", OOD, "--device", device, "--budget", "smoke", *flags)
                words += (*OWN_SCORE.get(package, ()), "--output-dir", str(out / f"{package}-{name}"))
                found.append(Check(f"bench of {package}, {name}", ((*python, f"{package}.bench", *words),)))
    if "speed" in options.only:
        for package, script, flag, more in (
            ("know_your_space", "bench_step.py", "--output", "--layers 10 --steps 1 --repeats 1" if small else ""),
            ("imood", "bench_methods.py", "--out", "--repeats 1" if small else ""),
            ("mood_dpa", "bench_volume.py", "--output", "--side 32 --width 4" if small else "--side 128 --width 64"),
        ):
            path = str(ROOT / "packages" / package / "benchmarks" / script)
            words = ("--device", device, *more.split(), flag, str(out / f"{package}-speed.json"))
            if package in options.package:
                found.append(Check(f"speed of {package}", ((sys.executable, path, *words),)))
    if "waits" in options.only:
        for package in options.package[:1] if small else options.package:
            path, output = str(ROOT / "tools" / "gpu_waits.py"), str(out / f"{package}-waits.json")
            words = ("--package", package, "--device", device, "--output", output)
            found.append(Check(f"waits of {package}", ((sys.executable, path, *words),)))
    if "detector" in options.only:
        model, detect = str(out / "digits.ood"), (*python, "ood_bench.detect_command")
        tables = [out / f"scores-{number}-{kind}.csv" for number, kind in enumerate((device, "cpu"))]
        fit = (*detect, "fit", "digits", "--budget", "smoke", "--no-check", "--device", device, "--output", model)
        scores = [
            (*detect, "score", model, "letters", "digits:test", "--device", kind, "--csv", str(table))
            for table, kind in zip(tables, (device, "cpu"), strict=True)
        ]
        found.append(Check("detector on both devices", (fit, *scores), lambda: compare(*tables)))
    return found


def compare(one: Path, two: Path) -> None:
    """Refuse two tables of the same detector's scores that differ by more than rounding.

    Raises:
        InputError: they do.
    """
    rows = [list(csv.DictReader(path.read_text().splitlines())) for path in (one, two)]
    apart = max(abs(float(a["score"]) - float(b["score"])) for a, b in zip(*rows, strict=True))
    changed = sum(a["decision"] != b["decision"] for a, b in zip(*rows, strict=True))
    print(f"{len(rows[0])} images: scores at most {apart:.2g} apart on both devices, {changed} decisions differ")
    if apart >= APART or changed > 1:
        raise InputError(f"{one.name} and {two.name} differ; expected scores less than {APART} apart, one decision.")


def _has_gpu_tests(path: Path) -> bool:
    return "mark.gpu" in path.read_text(encoding="utf-8")


def _run(check: Check, state: dict, out: Path, until: float) -> bool:
    """Run a check unless it is done or the time is over; False when it failed."""
    if check.name in state["done"]:
        return True
    started = time.monotonic()
    if until - started < LEAST:
        print(f"not begun, the time is over: {check.name}", flush=True)
        return True
    print(f"--- {check.name}", flush=True)
    try:
        for command in check.commands:
            subprocess.run(command, cwd=ROOT, env=_environment(), check=True, timeout=until - time.monotonic())
        check.then()
    except subprocess.TimeoutExpired:
        print(f"cut, the time is over: {check.name}. It is begun anew; pass more --minutes.", flush=True)
        return True
    except (subprocess.CalledProcessError, InputError) as error:
        print(f"FAILED: {check.name}: {error}", flush=True)
        return False
    state["done"][check.name] = round(time.monotonic() - started, 1)
    write_json(out / STATE, state)
    return True


def _trainings(options: argparse.Namespace, device: torch.device, until: float) -> int:
    """The documented commands, each for its share of the time; how many failed."""
    out = options.output
    data, results = (write_data(out, ROOT), out / "results") if options.rehearse else (options.data, None)
    chosen = [training for training in ON_A_GPU if training.package in options.package]
    without = [training for training in chosen if training.needs and (data is None or training.lacking(data))]
    if without:
        names = ", ".join(training.name for training in without)
        print(f"left out, as {'there is no --data' if data is None else f'{data} lacks their sets'}: {names}")
    left = [training for training in chosen if training not in without and not finished(out / training.name, training)]
    failed = 0
    for number, training in enumerate(left):
        share = (until - time.monotonic()) / (len(left) - number)
        if share < LEAST:
            print(f"not begun, the time is over: {training.name}", flush=True)
            continue
        failed += not _slice(training, out, data, results, share, device)
    return failed


def _slice(
    training: Training, out: Path, data: Path | None, results: Path | None, seconds: float, device: torch.device
) -> bool:
    """Begin or go on with a training for so many seconds, and say how far it is; False when it failed."""
    own = out / training.name
    command = [sys.executable, str(ROOT / "tools" / "trainings.py"), "run", "--gpu", "--work", str(out)]
    command += ["--only", training.name, "--stop-after", f"{seconds:.0f}"]
    command += [] if data is None else ["--data", str(data)]
    command += [] if results is None else ["--results", str(results)]
    with Watch(own) as watch:
        status = subprocess.run(command, cwd=ROOT, env=_environment()).returncode
    target = kept_in(results, training)
    partial = target.with_name(f"{target.stem}-partial.json")
    if finished(own, training):
        partial.unlink(missing_ok=True)
        return True
    record = partial_record(training, watch, device, read_state(own))
    partial.parent.mkdir(parents=True, exist_ok=True)
    write_json(partial, record)
    print(f"{training.name}: {record['commands_done']} commands, {record['runs']}; {partial}", flush=True)
    return status == 0


def _environment() -> dict[str, str]:
    """Of the commands; ours in front of the paths that are set already."""
    before: Sequence[str] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, PATHS), *filter(None, before)])}


def _state(out: Path) -> dict:
    """What is done at this commit."""
    commit = runs.commit()
    state = read_json(out / STATE) if (out / STATE).is_file() else {}
    return state if state.get("commit", "") == commit else {"commit": commit, "done": {}}


if __name__ == "__main__":
    sys.exit(main())
