"""What each mode means, flag by flag: `default`, `compat` (the published PyTorch code) and `paper` (arXiv 1910.04241).

A flag that is given overrides its mode. The tables are the package's only place for default values.
"""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ood_shared.errors import InputError
from ood_shared.notes import say

DEFAULT_ID, DEFAULT_OOD = "./data/train/mnist", "./data/test/fmnist"
MODES = ("default", "compat", "paper")
NORMALISATIONS = {"none": (0.0, 1.0), "mnist": (0.1307, 0.3081), "half": (0.5, 0.5)}


@dataclass(frozen=True)
class Experiment:
    """Values that the paper's authors set per experiment (their notebooks)."""

    latent_dim: int
    lr: float
    ood_weight: float
    eps_min: float
    eps_max: float
    refresh: int  # epochs between two generations of type 1
    epochs: int


EXPERIMENTS = {
    ("mnist", "all"): Experiment(8, 0.05, 0.1, 0.1, 28.0, 5, 200),
    ("fmnist", "all"): Experiment(10, 0.01, 0.3, 0.1, 28.0, 10, 200),
    ("mnist", "0-4"): Experiment(8, 0.02, 0.1, 0.05, 1.0, 5, 150),
    ("fmnist", "0-4"): Experiment(10, 0.01, 1.0, 0.1, 28.0, 5, 200),
}

FASHION = ("fmnist", "fashionmnist", "fashion-mnist")  # names of folders

# flag: (default, compat, paper); a callable takes the experiment, `None` is settled by the command itself
Values = Mapping[str, tuple[Any, Any, Any]]

TRAIN_VAE: Values = {
    "epochs": (100, 100, 100),
    "batch_size": (128, 128, 128),
    "lr": (0.001, 0.001, 0.001),
    "opt": ("rmsprop", "rmsprop", "rmsprop"),
    "momentum": (0.0, 0.0, 0.0),
    "loss": ("elbo", "mse", "elbo"),
    "latent_dim": (8, 8, lambda e: e.latent_dim),
    "normalize": ("auto", "auto", "none"),
    "save_every": (1, 1, 1),
    "patience": (0, 0, 5),
}
GEN_OOD: Values = {
    "batch_size": (1000, 1000, 1000),
    "latent": ("mu", "sample", "mu"),
    "null_space": ("jacobian", "none", "jacobian"),
    "direction": ("normal", "uniform", "rref"),
    "sign": ("binary", "uniform", "binary"),
    "eps_min": (0.1, 0.1, lambda e: e.eps_min),
    "eps_max": (28.0, 28.0, lambda e: e.eps_max),
    "base": ("data", "recon", "data"),
    "class_stats": ("split", "chunk", "train"),
    "maha_factor": ("rank", "seed", "rank"),
    "num_ood": (None, None, None),
}
# what train_classi.py takes, too, with `--mode paper`: it makes the outliers itself then
IN_MEMORY = (
    "latent",
    "null_space",
    "direction",
    "sign",
    "eps_min",
    "eps_max",
    "base",
    "class_stats",
    "maha_factor",
)
TRAIN_CLASSI: Values = {
    "epochs": (200, 200, lambda e: e.epochs),
    "batch_size": (256, 256, 128),
    "lr": (0.05, 0.05, lambda e: e.lr),
    "opt": ("ada", "ada", "ada"),
    "momentum": (0.0, 0.0, 0.0),
    "weight_decay": (0.0001, 0.0001, 0.0),
    "normalize": ("auto", "auto", "none"),
    "double_softmax": (False, True, False),
    "ood_weight": ("counts", "fixed", lambda e: e.ood_weight),
    "ood_types": ("both", "both", "both"),
    "id_recon": (False, False, False),
    "save_every": (1, 1, 1),
}
TEST: Values = {
    "score": ("one_minus_ood", "max_all", "one_minus_ood"),
    "average": ("pooled", "batches", "pooled"),
    "all_epochs": (False, True, False),
}


def experiment(in_data: str, classes: str) -> Experiment:
    """The authors' experiment for a data folder: its last path component and the class range decide.

    Folders other than `fmnist` take the values of MNIST, the authors' main experiment.
    """
    family = "fmnist" if data_name(in_data) in FASHION else "mnist"
    return EXPERIMENTS[family, "0-4" if classes == "0-4" else "all"]


def data_name(folder: str) -> str:
    """Last path component in lower case: what the published code chooses the normalisation by."""
    return PurePath(folder).name.lower()


def resolve_defaults(options: argparse.Namespace, values: Values, in_data: str) -> argparse.Namespace:
    """Fill the flags that were not given with the values of their mode; returns a new namespace.

    Where values of an experiment are taken for a folder that the authors had none for, one line says which.
    """
    column = MODES.index(options.mode)
    settled = argparse.Namespace(**vars(options))
    of_experiment = []
    for name, row in values.items():
        if getattr(settled, name) is None:
            value = row[column]
            setattr(settled, name, value(experiment(in_data, options.classes)) if callable(value) else value)
            of_experiment += [f"--{name} {getattr(settled, name):g}"] if callable(value) else []
    if of_experiment and data_name(in_data) not in {"mnist", *FASHION}:
        taken = ", ".join(of_experiment)
        say([f"{in_data} is called neither mnist nor fmnist: --mode paper takes the authors' values of MNIST, {taken}"])
    return settled


def vae_weight_decay(opt: str, mode: str) -> float:
    """Weight decay of train_vae.py where the flag is not given: the published code has one for Adadelta only."""
    return 0.001 if opt == "ada" and mode != "paper" else 0.0


def normalisation(text: str, in_data: str) -> tuple[float, float]:
    """Mean and standard deviation, in pixel units of [0, 1], that `--normalize` means for a data folder.

    Args:
        text: `auto` (a folder called `mnist`: MNIST's own statistics; any other: 0.5, 0.5), `none`, `mnist`, `half`,
            or `MEAN,STD`.
        in_data: the in-distribution folder.

    Raises:
        InputError: the text is none of these, or the standard deviation is not positive.
    """
    if text == "auto":
        return NORMALISATIONS["mnist" if data_name(in_data) == "mnist" else "half"]
    if text in NORMALISATIONS:
        return NORMALISATIONS[text]
    try:
        mean, std = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--normalize `{text}` is not known. Pass auto, none, mnist, half or MEAN,STD.") from None
    if not (math.isfinite(mean) and 0 < std < math.inf):
        raise InputError(f"--normalize `{text}`: expected two numbers, the second (the standard deviation) positive.")
    return mean, std


def class_range(text: str, n_classes: int) -> range:
    """The in-distribution classes, as indices into the sorted class names, that `--classes` keeps.

    Raises:
        InputError: not `all` or `A-B` with 0 <= A < B < number of classes.
    """
    if text == "all":
        return range(n_classes)
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and int(first) < int(last) < n_classes:
        return range(int(first), int(last) + 1)
    raise InputError(
        f"--classes `{text}` does not fit: pass all or A-B, two indices, the smaller first, from 0 to {n_classes - 1}, "
        "counting the sorted class folders."
    )
