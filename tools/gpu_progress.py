"""How far a documented command got on a GPU: what `gpu_checks.py` leaves of a training that is not finished.

A record of this kind has no accuracy, no AUROC and no loss: what a half-trained network scores is no result. It says
which epochs are done, how fast they went and how much memory the device held.
"""

import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import torch
from ood_shared import runs
from training import Training

EVERY = 0.5  # seconds between two looks
LOOKS_PER_MEMORY = 4  # nvidia-smi takes a tenth of a second itself


class Watch:
    """Looks at a training's records and at the device's memory while it runs, from outside.

    Args:
        folder: of the training; its runs may come into being while it is watched.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[Path, list[tuple[float, int]]] = {}  # by run: when it got a record, and how many it had then
        self._counts: dict[Path, int] = {}
        self.memory: int | None = None  # bytes at most
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        for path in self.folder.rglob(runs.METRICS):
            self._counts[path.parent] = _records(path)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        looks = 0
        while True:
            now = time.monotonic()
            for path in sorted(self.folder.rglob(runs.METRICS)):
                count, before = _records(path), self._counts.get(path.parent, 0)
                if count > before:
                    self.seen.setdefault(path.parent, []).append((now, count))
                elif count < before:
                    self.seen.pop(path.parent, None)  # begun anew, or cut to where it goes on
                self._counts[path.parent] = count
            if looks % LOOKS_PER_MEMORY == 0:
                held = device_memory()
                self.memory = held if self.memory is None else max(self.memory, held or 0)
            looks += 1
            if self._over.wait(EVERY):
                return

    def seconds_per_record(self, run: Path) -> float | None:
        """Mean wall-clock of an epoch in this slice, validation and saving included; the first one, with the start of
        the program in it, does not count. None with fewer than two.
        """
        known = self.seen.get(run, [])
        if len(known) < 2:
            return None
        return (known[-1][0] - known[0][0]) / (known[-1][1] - known[0][1])


def _records(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def device_memory() -> int | None:
    """Bytes of the first GPU that are in use, by all processes; None where that cannot be asked."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [program, "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    found = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return int(found) * 2**20 if found.isdecimal() else None


def partial_record(training: Training, watch: Watch, device: torch.device, state: dict[str, Any]) -> dict[str, Any]:
    """What to keep of a training that was stopped.

    Args:
        training: which.
        watch: that has seen the slice.
        device: of the training.
        state: of `trainings.read_state`: its finished commands, and the commit that it runs from.
    """
    found = {}
    for run in sorted({path.parent for path in watch.folder.rglob(runs.METRICS)}):
        records = [record for record in runs.read_metrics(run) if "epoch" in record]
        images, seconds = (records[-1].get("images") if records else None), watch.seconds_per_record(run)
        found[str(run.relative_to(watch.folder))] = {
            f"{training.unit}_done": max((record["epoch"] for record in records), default=0),
            "images_per_epoch": images,
            "seconds_per_epoch": None if training.unit != "epochs" or seconds is None else round(seconds, 3),
            "images_per_second": None if images is None or seconds is None else round(images / seconds, 1),
        }
    return {
        "partial": True,
        "note": f"stopped before its end and no result; {training.paper} are wanted",
        "training": training.name,
        "commands_done": f"{len(state['done'])} of {len(training.commands)}",
        "runs": found,
        "peak_memory_of_device_bytes": watch.memory,
        "hardware": runs.hardware(device),
        "versions": {**runs.versions(), "commit": state.get("commit")},
    }
