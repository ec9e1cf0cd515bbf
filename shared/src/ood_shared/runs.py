"""The run folder: what ran, with which settings and versions, and how it went.

A folder holds `config.json` (settings and versions), `metrics.jsonl` (one record a line), `checkpoint.pt`, and on
request TensorBoard event files, beside the files that a package's original writes.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from ood_shared import files
from ood_shared.devices import cpu_count
from ood_shared.distributed import is_main
from ood_shared.errors import InputError, not_installed
from ood_shared.signals import delayed

Item = TypeVar("Item")

MOST_SIDE = 1 << 16  # pixels
CONFIG, METRICS, CHECKPOINT = "config.json", "metrics.jsonl", "checkpoint.pt"


def progress(iterable: Iterable[Item], desc: str, total: int | None = None) -> Iterable[Item]:
    """A progress bar on rank 0 when standard error is a terminal; else the iterable as it is."""
    quiet = not (is_main() and sys.stderr.isatty())
    return iterable if quiet else tqdm(iterable, desc=desc, total=total, leave=False, dynamic_ncols=True)


class Run:
    """One run folder that is being written."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, log_to: str = "jsonl", last_step: int = 0) -> None:
        """Open the folder, write `config.json`, and cut `metrics.jsonl` back to what a resumed run had finished.

        Of several processes only rank 0 writes.

        Args:
            folder: made when missing.
            settings: flags and whatever else decides the outcome; JSON values.
            log_to: `tensorboard` writes event files beside `metrics.jsonl`.
            last_step: records with a greater `epoch` are dropped; 0 starts the file anew.

        Raises:
            InputError: the records of the run that is resumed are damaged; nothing was written.
        """
        self.folder, self._board = folder, None
        if not is_main():
            return
        kept = [record for record in read_metrics(folder) if record.get("epoch", 0) <= last_step] if last_step else []
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / CONFIG, {"settings": dict(settings), "versions": versions()})
        files.write_text(folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))
        if log_to == "tensorboard":
            self._board = self._open_board(last_step)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record; its `epoch` orders it. Numbers also go to TensorBoard when that is on."""
        if not is_main():
            return
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                if name != "epoch" and isinstance(value, int | float):
                    self._board.add_scalar(name, value, int(record["epoch"]))
            self._board.flush()

    def close(self) -> None:
        """Close what is open."""
        if self._board is not None:
            self._board.close()

    def _open_board(self, last_step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise not_installed("--log-to tensorboard", "tensorboard", "tensorboard") from None
        return SummaryWriter(str(self.folder), purge_step=last_step + 1)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`; a last line that a kill cut short is left out.

    Raises:
        InputError: a line before the last is no record with a number as its `epoch`.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    lines = files.read_text(path, "the records of a run").split("\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = files.parse_json(line, f"{path}, line {number}", "Restore it, or start anew without --resume.")
        except InputError:
            if number >= len(lines) - 1:  # the last one, with or without its line end
                break
            raise
        if not isinstance(record, dict) or not isinstance(record.get("epoch", 0), int | float):
            raise InputError(
                f"{path}, line {number} is no record of an epoch. Restore it, or start anew without --resume."
            )
        records.append(record)
    return records


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run folder's `config.json`; empty when there is none yet."""
    path = folder / CONFIG
    content = files.read_json(path) if path.exists() else {}
    settings = content.get("settings", {}) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise InputError(f"{path} does not hold the settings of a run. Restore it, or start anew without --resume.")
    return settings


def is_size(found: Any) -> bool:
    """Whether an entry of a record is height and width in pixels: a list of two whole numbers from 1 to `MOST_SIDE`."""
    return (
        isinstance(found, list)
        and [type(n) for n in found] == [int, int]
        and 1 <= min(found) <= max(found) <= MOST_SIDE
    )


def refuse_other_settings(folder: Path, settings: Mapping[str, Any], free: Iterable[str]) -> None:
    """Refuse to resume a run with settings that would have given other weights.

    Args:
        folder: the run folder.
        settings: what the command asks for now.
        free: names that may differ (device, number of epochs, …).

    Raises:
        InputError: names the first setting that differs, with both values; or the records of the run are damaged.
    """
    before, may_differ = read_settings(folder), set(free)
    for name, value in settings.items():
        if name not in may_differ and name in before and before[name] != value:
            which, was, now = _difference(name, before[name], value)
            raise InputError(
                f"--resume: the run in {folder} was started with {which} = {was!r}, now it is "
                f"{now!r}. Pass the old value, or another output folder."
            )
    read_metrics(folder)


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """The setting that differs; of two dictionaries the first entry that does, under a name like `loss.temperature`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in (*before, *now):
            if before.get(key) != now.get(key):
                return _difference(f"{name}.{key}", before.get(key), now.get(key))
    return name, before, now


def versions() -> dict[str, Any]:
    """Versions of what decides numbers, and the commit of the checkout when there is one."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "scikit-learn", "ood-shared"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["commit"] = commit()
    return found


def commit() -> str | None:
    """Commit of the checkout that this file stands in, with `+` when it has changes; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        with delayed():
            described = subprocess.run(
                ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
            tracked = subprocess.run(
                ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name],
                capture_output=True,
                timeout=10,
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if tracked.returncode == 0 else None


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine, in words: processor, cores, memory in GiB, and the accelerator when the run uses one."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": cpu_count(),
        "memory_gib": _memory_gib(),
        "system": platform.system(),
        "device": str(device),
    }
    if device.type == "cuda":
        found["accelerator"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
