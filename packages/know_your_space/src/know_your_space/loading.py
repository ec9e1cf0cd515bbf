"""`know_your_space.load`: a detector from the folder of a run, or from released weights."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_shared.checkpoints import kept_generators
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError, one_line
from ood_shared.files import path_of
from ood_shared.notes import say
from ood_shared.runs import CONFIG, is_size, read_settings

from know_your_space.checkpoints import network_of
from know_your_space.detector import KnowYourSpaceDetector
from know_your_space.transforms import REVERSED_SETS

LAST, BEST = "-ckpt_last.pth.tar", "-ckpt.pth.tar"
TEMPERATURE = re.compile(r"T_(\d+(?:\.\d+)?)$")  # in the released names


@kept_generators()
def load(
    path: str | Path,
    *,
    checkpoint: str = "last",
    classes: Sequence[str] | None = None,
    temperature: float | None = None,
    reversed: bool | None = None,
    threshold: float | None = None,
    device: str = "auto",
) -> KnowYourSpaceDetector:
    """The detector that a training left; depth, width and number of classes follow from the weights.

    Args:
        path: folder of a run (`ckpts/<model_type>/<in_dataset>/<ckpt_name>`), of `know_your_space.bench` or `fit`; or a
            file under the released names.
        checkpoint: of a folder, `last` (as `ood_detection.py`) or `best`.
        classes: names of the known classes; their codes when None.
        temperature: of the energy; None takes that of the run, else that in the file's name, else 1.
        reversed: whether red and blue are swapped; None swaps them for runs of pathmnist, as the original does.
        threshold: energy above which `predict` says -1.
        device: where the network goes.

    Raises:
        MissingFileError: nothing is there.
        InputError: several runs in the folder, a file that is no checkpoint, or settings that cannot be.
    """
    path = path_of(path)
    file = path if path.is_file() else _only(path, checkpoint)
    run = file.with_name(file.name.removesuffix(LAST).removesuffix(BEST))
    settings = read_settings(run) if run.is_dir() else {}
    network = network_of(file)
    n_classes = int(network.state_dict()["fc.weight"].shape[0])
    told = settings.get("class_names") or [str(number) for number in range(n_classes)]
    names = tuple(classes if classes is not None else _names(told, run))
    if len(names) != n_classes:
        raise InputError(f"{file} knows {n_classes} classes, {len(names)} are named.")
    if temperature is None:
        temperature = _temperature(settings.get("temperature", _of_name(run.name)), run)
    if not settings:
        lacks = f"{file} is without {run.name}/{CONFIG}"
        say([f"{lacks}: temperature {temperature:g}, images taken as large as they are."])
    swap = file.parent.parent.name in REVERSED_SETS if reversed is None else reversed
    native, stored = _size(settings.get("native"), run), bool(settings.get("stored", True))
    network.to(resolve_device(device))
    return KnowYourSpaceDetector(network, names, temperature, threshold, swap, native=native, stored=stored)


def _names(found: Any, run: Path) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _wrong(run, "class_names", found, "a list of names")
    return found


def _temperature(found: Any, run: Path) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < math.inf:
        raise _wrong(run, "temperature", found, "a number above 0")
    return float(found)


def _of_name(name: str) -> float:
    """The temperature that the name of a run ends in; 1 where it does not."""
    found = TEMPERATURE.search(name)
    return 1.0 if found is None else float(found[1])


def _size(found: Any, run: Path) -> tuple[int, int] | None:
    if found is None:
        return None
    if not is_size(found):
        raise _wrong(run, "native", found, "height and width")
    return found[0], found[1]


def _wrong(run: Path, name: str, found: object, expected: str) -> InputError:
    said = one_line(repr(found), 80)
    return InputError(f"{run / CONFIG} has {name} {said}; expected {expected}. Restore the file, or train again.")


def _only(folder: Path, checkpoint: str) -> Path:
    """The checkpoint of the only run in a folder."""
    if checkpoint not in ("last", "best"):
        raise InputError(f"checkpoint is `{checkpoint}`; expected last or best.")
    if not folder.exists():
        raise MissingFileError(f"{folder} is missing; expected the folder of a run, or its checkpoint.")
    files = sorted(folder.glob(f"*{LAST if checkpoint == 'last' else BEST}"))
    if not files:
        present = ", ".join(sorted(file.name for file in folder.glob("*.pth.tar"))) or "none"
        raise MissingFileError(f"{folder} has no checkpoint of the {checkpoint} epoch. Checkpoints there: {present}.")
    if len(files) > 1:
        raise InputError(f"{folder} holds {len(files)} runs: {', '.join(file.name for file in files)}. Name one file.")
    return files[0]
