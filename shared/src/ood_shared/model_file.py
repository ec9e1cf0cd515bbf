"""`model.ood`: a calibrated detector in one file, a zip of tensors (safetensors) and `card.json`; no pickle, no code.

    save("model.ood", calibrated)
    load("model.ood").predict(images)

The card says for people and programs what the tensors cannot: the kind of detector, its settings (preprocessing among
them), classes, the threshold with its promise, what it was made from. A kind is an entry point of an installed package,

    [project.entry-points."ood_shared.detectors"]
    oodgen = "oodgen.detector:restore"

called as `restore(state, device)` with what the detector's `state()` gave. A file opens in any version that knows its
`format`; another one is refused with a line. What a file holds is believed in nothing: tensors are checked against the
network that its card names (`State.fill`, `State.tensor`), its thresholds against its calibration scores, all of it
against the card's checksum.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ood_shared import runs
from ood_shared.calibrated import Calibrated, calibrate
from ood_shared.checkpoints import kept_generators
from ood_shared.contract import MODEL
from ood_shared.detector_state import Savable, State
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.files import atomic_path, broken, parse_json, reading, regular
from ood_shared.thresholds import Threshold

FORMAT = 2
GROUP = "ood_shared.detectors"
CARD, TENSORS = "card.json", "tensors.safetensors"
CHECKSUM = "sha256"  # of the tensors and of all else on the card; files from before it have none
MOST_CARD, MOST_TENSORS = 1 << 22, 1 << 32  # bytes, so that a forged file cannot fill the memory
DATE = (1980, 1, 1, 0, 0, 0)  # of the entries: the same detector gives the same bytes
SCORES, TAKEN = "calibration.scores", "calibration.taken_for"
OWN = "detector."  # prefix of the detector's tensors

__all__ = ["Savable", "State", "load", "read_card", "save"]


def save(path: str | Path, calibrated: Calibrated) -> None:
    """Write a detector, atomically.

    Raises:
        InputError: a detector that has no `state`.
    """
    detector = calibrated.detector
    if not isinstance(detector, Savable):
        raise InputError(f"A {type(detector).__name__} cannot be kept in a file: it has no state().")
    state = detector.state()
    card = {
        "format": FORMAT,
        "kind": state.kind,
        "package": _package(state.kind),
        "classes": list(state.classes),
        "thresholds": [asdict(limit) for limit in calibrated.limits],
        "promise": calibrated.words(),
        "about": dict(calibrated.about),
        "settings": dict(state.settings),
        "versions": runs.versions(),
    }
    tensors = {OWN + name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    tensors[SCORES] = torch.from_numpy(calibrated.scores)
    tensors[TAKEN] = torch.from_numpy(calibrated.taken_for)
    data = safetensors.torch.save({name: value.clone() for name, value in tensors.items()})
    card[CHECKSUM] = _checksum(card, data)
    parts = {CARD: json.dumps(card, indent=2, ensure_ascii=False).encode(), TENSORS: data}
    with atomic_path(Path(path)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data)


@kept_generators()
def load(path: str | Path, device: str = "auto") -> Calibrated:
    """The detector in a file.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no such file, of another format, damaged, or of a package that is not installed.
    """
    path, on = Path(path), resolve_device(device)
    parts = _parts(path)
    card = _card(path, parts[CARD])
    if CHECKSUM in card and card[CHECKSUM] != _checksum(card, parts[TENSORS]):
        raise InputError(
            f"{path} was changed after it was written: its checksum is another one. Make or fetch it again."
        )
    restore = _restorer(path, card)
    with reading(path, "detector of this version"):
        try:
            tensors = safetensors.torch.load(parts[TENSORS])
            own = {name.removeprefix(OWN): value for name, value in tensors.items() if name.startswith(OWN)}
            state = State(card["kind"], _names(card["classes"]), dict(card["settings"]), own)
            detector = restore(state, on)
            limits = tuple(Threshold(**limit) for limit in card["thresholds"])
            scores, taken = tensors[SCORES], tensors[TAKEN]
            if scores.dtype != torch.float64 or taken.dtype != torch.int64 or not scores.shape == taken.shape:
                raise InputError(f"`{SCORES}` and `{TAKEN}` do not fit together.")
            named = {"alarm_rate": limits[0].alarm_rate, "by_class": len(limits) > 1, "about": card["about"]}
            found = calibrate(detector, scores.numpy(), taken.numpy(), **named)
            if found.limits != limits:
                raise InputError("the thresholds do not follow from the calibration scores.")
        except MissingFileError:
            raise
        except InputError as error:  # of a part, which does not know the file
            raise broken(path, "detector of this version", error) from error
    return found


def read_card(path: str | Path) -> dict[str, Any]:
    """What a file says of itself.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is no such file, or of another format.
    """
    return _card(Path(path), _parts(Path(path))[CARD])


def _card(path: Path, data: bytes) -> dict[str, Any]:
    with reading(path, "detector"):
        card = parse_json(data.decode(), f"{path}, {CARD}", "Make or fetch it again.")
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = f"format {card.get('format')!r}" if isinstance(card, dict) else "no card"
        raise InputError(f"{path} has {found}; this version reads format {FORMAT}. Install the version that wrote it.")
    return card


def _checksum(card: Mapping[str, Any], tensors: bytes) -> str:
    """Of what a file holds: a setting that is changed by hand would give wrong scores without a word."""
    rest = {name: value for name, value in card.items() if name != CHECKSUM}
    found = sha256(json.dumps(rest, sort_keys=True).encode())
    found.update(tensors)  # not joined: they may fill half of the memory
    return found.hexdigest()


def _restorer(path: Path, card: Mapping[str, Any]) -> Any:
    kind = card.get("kind")
    for point in _entry_points():
        if point.name == kind:
            return point.load()
    raise InputError(
        f"{path} holds a detector of the kind `{kind}`, of the package `{card.get('package')}` by its own words, which "
        "is not installed. Install that."
    )


def _entry_points() -> metadata.EntryPoints:
    return metadata.entry_points(group=GROUP)


def _package(kind: str) -> str | None:
    return next((point.dist.name for point in _entry_points() if point.name == kind and point.dist is not None), None)


def _names(classes: Any) -> tuple[str, ...]:
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError("`classes` is no list of names.")
    return tuple(classes)


def _parts(path: Path) -> dict[str, bytes]:
    regular(path, what=f"a detector's file, such as {MODEL}")
    with reading(path, "detector's file"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        sizes = {entry.filename: entry.file_size for entry in entries}
        if sorted(entry.filename for entry in entries) != [CARD, TENSORS]:
            raise InputError(f"{path} is no detector: expected {CARD} and {TENSORS}, found {sorted(sizes)[:5]}.")
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)  # could unpack to any size
        if packed or sizes[CARD] > MOST_CARD or sizes[TENSORS] > MOST_TENSORS:
            raise InputError(f"{path} is no detector: its parts are compressed or too large, {sizes} bytes.")
        return {name: archive.read(name) for name in sizes}
