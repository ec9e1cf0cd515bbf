"""Where the training loops make the host wait for a GPU, as CUDA itself tells: places and how often, a JSON file.

    python tools/gpu_waits.py --package imood --output imood-waits.json

`tests/faults/test_stalls.py` of each package looks for the same on a CPU and cannot see blocking copies. Runs the short
trainings of `tests/crash_trainers.py` on the device, two each: the first one also pays what is made once.
"""

import argparse
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ood_shared import runs
from ood_shared.cli import Parser, run_command
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.files import write_json
from ood_shared.testing.trainers import trainers_of

ROOT = Path(__file__).resolve().parents[1]
LOOPS = {  # by trainer: module, owner of the function or nothing, function
    "oodgen train_vae": ("oodgen.loop", "", "_train_epoch"),
    "oodgen train_classi": ("oodgen.loop", "", "_train_epoch"),
    "know_your_space train": ("know_your_space.loop", "", "_train_epoch"),
    "imood train": ("imood.loop", "", "_train_epoch"),
    "ascood train": ("ascood.loop", "", "_train_epoch"),
    "mood-dpa train": ("mood_dpa.loop", "Trainer", "_iteration"),
    "mood-dpa simclr": ("mood_dpa.simclr_train", "", "_train"),
}
WORDS = "synchronizing CUDA operation"


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = Parser(prog="gpu_waits.py", description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="whose trainers")
    parser.add_argument("--device", default="auto", help="on a CPU nothing waits, and nothing is found")
    parser.add_argument("--output", type=Path, required=True)
    return run_command(answer, parser)


def answer(options: argparse.Namespace) -> int:
    """Train and count."""
    device = resolve_device(options.device)
    file = ROOT / "packages" / options.package / "tests" / "crash_trainers.py"
    if not file.is_file():
        raise InputError(f"--package {options.package}: {file} is missing. Name one of the papers.")
    output, found = options.output.resolve(), {}
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for name, trainer in trainers_of(file, Path(place)).items():
            for turn in ("first", "second"):
                with counted(*LOOPS[name]) as places:
                    status = trainer.main([*trainer.words(f"out-{turn}"), "--device", str(device)])
                if status:
                    raise InputError(f"{name} ended with status {status}.")
            found[name] = dict(places.most_common())  # of the second
            print(f"{name}: {found[name] or 'no waits'}", flush=True)
        os.chdir(ROOT)
    what = "waits of the host for the device inside the training loop of a short run, by place; the second run of two"
    write_json(output, {"what": what, "waits": found, "hardware": runs.hardware(device), "versions": runs.versions()})
    return 0


@contextmanager
def counted(module: str, owner: str, function: str) -> Iterator[Counter[str]]:
    """Inside the block calls of the function count the waits in them."""
    home: Any = import_module(module)
    home = getattr(home, owner) if owner else home
    original, places, shown = getattr(home, function), Counter[str](), warnings.showwarning

    def note(message: Warning | str, *parts: Any, **more: Any) -> None:
        if WORDS in str(message):
            places[_place()] += 1
        else:
            shown(message, *parts, **more)

    def watched(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note
            _tell_waits("warn")
            try:
                return original(*args, **kwargs)
            finally:
                _tell_waits("default")

    setattr(home, function, watched)
    try:
        yield places
    finally:
        setattr(home, function, original)


def _tell_waits(mode: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)


def _place() -> str:
    """File, function and line of the innermost frame of this project."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and path != Path(__file__) and "site-packages" not in path.parts:
            return f"{path.name}, {frame.name}, line {frame.lineno}"
    return "elsewhere"


if __name__ == "__main__":
    sys.exit(main())
