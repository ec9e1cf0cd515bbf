"""What decides the weights of a run, what a run folder says of it, and the name of that folder."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ood_shared.errors import InputError, one_line
from ood_shared.process import PRECISIONS
from ood_shared.runs import read_settings

from imood.metrics import LOSSES

MAY_DIFFER = ("save_epochs", "test_batch_size")  # when a run is continued to the bit


@dataclass(frozen=True)
class Settings:
    """What decides the weights. Names are those of the flags; see `train.py --help`."""

    dataset: str
    model: str
    counts: tuple[int, ...]
    ood_metric: str = "oe"
    aux_ood_loss: str = "none"
    ood_aux_dataset: str = "TinyImages"
    ood_aux: str | None = None
    imbalance_ratio: float | None = 0.01
    num_ood_samples: int = 30000
    id_class_number: int = 1000
    width: int = 64
    epochs: int = 200
    batch_size: int = 256
    test_batch_size: int = 1000
    lr: float = 1e-3  # after the scaling of ImageNet
    wd: float = 5e-4
    momentum: float = 0.9
    opt: str = "adam"
    decay: str = "cos"
    decay_epochs: tuple[int, ...] = (60, 80)
    Lambda: float = 0.5
    Lambda2: float = 0.1
    T: float = 0.07
    k: float = 0.4
    logit_adjust: float = 1.0
    maha_capacity: str = "per_class"
    save_epochs: int = -1
    seed: int = 0
    precision: str = "fp32"
    channels_last: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON values, for `config.json`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(count) is int and count >= 0 for count in value) and any(value)


TEXT = "a text", lambda value: isinstance(value, str)
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # of what `TrainedRun` takes of `config.json`
    **dict.fromkeys(("dataset", "model"), TEXT),
    "counts": ("the training images of each class", _counts),
    "ood_metric": (f"one of {', '.join(LOSSES)}", lambda value: value in LOSSES),
    "ood_aux": ("a text or null", lambda value: value is None or isinstance(value, str)),
    "imbalance_ratio": ("a number or null", lambda value: value is None or _number(value)),
    "logit_adjust": ("a number from 0 on", lambda value: _number(value) and value >= 0),
    "precision": (f"one of {', '.join(PRECISIONS)}", lambda value: value in PRECISIONS),
    "channels_last": ("true or false", lambda value: isinstance(value, bool)),
}


@dataclass(frozen=True)
class TrainedRun:
    """What `config.json` says of a finished or running training; None where it says nothing.

    Attributes:
        known: whether there is such a file. A run's imbalance_ratio and ood_aux may be None in it, too.
    """

    known: bool = False
    dataset: str | None = None
    model: str | None = None
    counts: tuple[int, ...] | None = None
    ood_metric: str | None = None
    ood_aux: str | None = None
    imbalance_ratio: float | None = None
    logit_adjust: float | None = None
    precision: str = "fp32"
    channels_last: bool = False


def read_run(folder: Path) -> TrainedRun:
    """The settings that a run folder was trained with.

    Raises:
        InputError: the file is damaged; names the first entry that is.
    """
    stored = read_settings(folder)
    for name, (expected, fits) in KINDS.items():
        if name in stored and not fits(stored[name]):
            found = one_line(repr(stored[name]), 60)
            raise InputError(f"{folder}: config.json has {name} {found}; expected {expected}. Restore the file.")
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in stored.items() if name in KINDS
    }
    return TrainedRun(known=bool(stored), **values)


def run_folder(root: Path, settings: Settings, data_name: str, timestamp: str | None = None) -> Path:
    """`<root>/<dataset part>/<model>/<run part>`, named as the published code names it.

    The published name has one more item, of an option that its parser never defines; it is left out.
    """
    s = settings
    ratio = "asis" if s.imbalance_ratio is None else s.imbalance_ratio
    data = f"{data_name}-lt" if s.dataset == "imagenet" else f"{data_name}-{ratio}-OOD{s.num_ood_samples}"
    momentum = f"-m{s.momentum}" if s.opt == "sgd" else ""
    decay = s.decay + ("-".join(map(str, s.decay_epochs)) if s.decay == "multisteps" else "")
    opt = f"e{s.epochs}-b{s.batch_size}-{s.opt}{momentum}-lr{s.lr}-wd{s.wd}-{decay}"
    tail = "" if s.imbalance_ratio == 1 else f"{f'LA{s.logit_adjust}' if s.logit_adjust > 0 else 'none'}-"
    loss = f"{tail}{s.ood_metric}-{s.aux_ood_loss}-Lambda{s.Lambda}-Lambda2{s.Lambda2}-T{s.T}-sign-k{s.k}"
    model = s.model if s.width == 64 else f"{s.model}-w{s.width}"
    return root / data / model / (f"{opt}_{loss}" + (f"_{timestamp}" if timestamp else ""))


def learning_rate_factor(settings: Settings, epoch: int) -> float:
    """The learning rate of an epoch (from 0) over the first one: a cosine to 0 over all epochs, or steps of 0.1."""
    if settings.decay == "cos":
        return (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    return 0.1 ** sum(epoch >= milestone for milestone in settings.decay_epochs)
