"""`model.ood`: a calibrated detector in one file, a zip of tensors (safetensors) and `card.json`; no pickle, no code.

The card says for people and programs what the tensors cannot: preprocessing, classes, threshold with its promise, what
it was made from. A file opens in any version that knows its `format`; another one is refused with a line.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from ood_shared import checkpoints, runs
from ood_shared.backbone import NETWORKS, build_common
from ood_shared.checkpoints import kept_generators
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import atomic_path
from ood_shared.thresholds import Threshold
from safetensors import SafetensorError
from torch import Tensor

from ood_bench.baseline_detectors import CHANNELS, MEAN, SIDE, STD
from ood_bench.fused import Calibration, Statistics
from ood_bench.fused_detector import FusedDetector

FORMAT = 1
CARD, TENSORS = "card.json", "tensors.safetensors"
MOST_CARD, MOST_TENSORS = 1 << 20, 1 << 30  # bytes, so that a forged file cannot fill the memory
HALVES, SINGLES = ("bank",), ("components",)  # statistics that are kept narrower than float64
DATE = (1980, 1, 1, 0, 0, 0)  # of the entries: the same detector gives the same bytes


def save(path: Path, detector: FusedDetector, about: Mapping[str, Any]) -> None:
    """Write a detector, atomically.

    Args:
        path: of the file.
        detector: with a threshold.
        about: what it was made from, for the card; JSON values.

    Raises:
        InputError: the detector has no threshold.
    """
    if detector.limit is None:
        raise InputError("The detector has no threshold; set one with with_alarm_rate(0.05).")
    blocks = detector.network.per_stage
    card = {
        "format": FORMAT,
        "kind": "fused",
        "network": next(name for name, count in NETWORKS.items() if count == blocks),
        "preprocessing": {"side": SIDE, "channels": CHANNELS, "mean": MEAN, "std": STD, "native": detector.native},
        "classes": list(detector.classes),
        "members": list(detector.statistics.members),
        "threshold": asdict(detector.limit),
        "promise": detector.limit.words(),
        "about": dict(about),
        "versions": runs.versions(),
    }
    tensors = {f"network.{name}": value.cpu() for name, value in detector.network.state_dict().items()}
    tensors |= {f"statistics.{name}": _narrow(name, value) for name, value in vars(detector.statistics).items()}
    tensors["calibration.values"] = torch.from_numpy(detector.calibration.values)
    tensors["calibration.scores"] = torch.from_numpy(detector.calibration_scores)
    parts = {CARD: json.dumps(card, indent=2, ensure_ascii=False).encode()}
    parts[TENSORS] = safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data)


@kept_generators()
def load(path: str | Path, device: str = "auto") -> FusedDetector:
    """The detector in a file.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no such file, of another format, or damaged.
    """
    card, parts = read_card(path), _parts(Path(path))
    try:
        tensors = safetensors.torch.load(parts[TENSORS])
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}). Make or fetch it again.") from None
    try:
        network = build_common(card["network"], len(card["classes"]), card["preprocessing"]["channels"])
        checkpoints.load_weights(network, _below(tensors, "network."), path)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        kept = _below(tensors, "statistics.")
        statistics = Statistics(**{field.name: kept[field.name].double() for field in fields(Statistics)})
        calibration = Calibration(tensors["calibration.values"].numpy())
        native = card["preprocessing"]["native"]
        return FusedDetector(
            network.eval().to(resolve_device(device)),
            statistics,
            calibration,
            tensors["calibration.scores"].numpy(),
            tuple(card["classes"]),
            None if native is None else (int(native[0]), int(native[1])),
            Threshold(**card["threshold"]),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path} lacks {error}; it is damaged. Make or fetch it again.") from None


def read_card(path: str | Path) -> dict[str, Any]:
    """What a file says of itself.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no such file, or of another format.
    """
    try:
        card = json.loads(_parts(Path(path))[CARD])
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged: its {CARD} is no JSON ({error}). Make or fetch it again.") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT or card.get("kind") != "fused":
        found = f"format {card.get('format')}" if isinstance(card, dict) else "no card"
        raise InputError(f"{path} has {found}; this version reads format {FORMAT}. Install the version that wrote it.")
    return card


def _parts(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise MissingFileError(f"{path} is missing; expected a file that `ood-detect fit` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if set(sizes) != {CARD, TENSORS} or sizes[CARD] > MOST_CARD or sizes[TENSORS] > MOST_TENSORS:
                raise InputError(f"{path} is no detector: expected {CARD} and {TENSORS}, found {sorted(sizes)[:5]}.")
            return {name: archive.read(name) for name in sizes}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is no detector of `ood-detect fit`, or damaged ({error}).") from None


def _narrow(name: str, value: Tensor) -> Tensor:
    return value.half() if name in HALVES else value.float() if name in SINGLES else value


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
