"""`know_your_space.load`: a detector from the folder of a run, or from released weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_shared.checkpoints import kept_generators
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.runs import read_settings

from know_your_space.checkpoints import network_of
from know_your_space.detector import KnowYourSpaceDetector
from know_your_space.transforms import REVERSED_SETS

LAST, BEST = "-ckpt_last.pth.tar", "-ckpt.pth.tar"


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
        temperature: of the energy; None takes that of the run, else 1.
        reversed: whether red and blue are swapped; None swaps them for runs of pathmnist, as the original does.
        threshold: energy above which `predict` says -1.
        device: where the network goes.

    Raises:
        MissingFileError: nothing is there.
        InputError: several runs in the folder, or a file that is no checkpoint.
    """
    path = Path(path)
    file = path if path.is_file() else _only(path, checkpoint)
    settings = _settings(file)
    network = network_of(file)
    n_classes = int(network.state_dict()["fc.weight"].shape[0])
    names = tuple(classes) if classes is not None else tuple(settings.get("class_names") or map(str, range(n_classes)))
    if len(names) != n_classes:
        raise InputError(f"{file} knows {n_classes} classes, classes= names {len(names)}.")
    if temperature is None:
        temperature = float(settings.get("temperature", 1.0))
    swap = file.parent.parent.name in REVERSED_SETS if reversed is None else reversed
    native, stored = settings.get("native"), bool(settings.get("stored", True))
    size = None if native is None else (int(native[0]), int(native[1]))
    network.to(resolve_device(device))
    return KnowYourSpaceDetector(network, names, temperature, threshold, swap, native=size, stored=stored)


def _only(folder: Path, checkpoint: str) -> Path:
    """The checkpoint of the only run in a folder."""
    if checkpoint not in ("last", "best"):
        raise InputError(f"checkpoint is `{checkpoint}`; expected last or best.")
    files = sorted(folder.glob(f"*{LAST if checkpoint == 'last' else BEST}"))
    if not files:
        present = ", ".join(sorted(file.name for file in folder.glob("*.pth.tar"))) or "none"
        raise MissingFileError(f"{folder} has no checkpoint of the {checkpoint} epoch. Checkpoints there: {present}.")
    if len(files) > 1:
        raise InputError(f"{folder} holds {len(files)} runs: {', '.join(file.name for file in files)}. Name one file.")
    return files[0]


def _settings(file: Path) -> dict[str, Any]:
    """Those of the run beside a checkpoint; nothing for released files."""
    run = file.with_name(file.name.removesuffix(LAST).removesuffix(BEST))
    return read_settings(run) if run.is_dir() else {}
