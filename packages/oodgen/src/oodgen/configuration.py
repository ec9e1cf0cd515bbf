"""`configuration.json`: what a network was built for, as later steps need it.

Files of published runs are read too: they lack the added keys, which then mean 10 classes, 8 latent dimensions, the
loss `mse` and the normalisation by data name.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import files, runs
from ood_shared.backbone import NETWORKS
from ood_shared.errors import InputError, MissingFileError

from oodgen import defaults
from oodgen.hints import command

CONFIGURATION = "configuration.json"
DOC_FEATURES, PAPER_FEATURES = 64 * 3 * 3, 64 * 12 * 12  # that enter fc1
NOT_RECORDED = ("debug", "resume")


@dataclass(frozen=True)
class Trained:
    """What a trained network was built for."""

    architecture: str
    classes: str  # the class range as given: `all` or `A-B`
    class_names: tuple[str, ...]
    latent_dim: int
    loss: str
    normalize: tuple[float, float]
    native: tuple[int, int] | None = None  # size of the training images before they were enlarged, where it is known
    named: bool = True  # whether the class names are known; a published folder only has their number

    @property
    def n_classes(self) -> int:
        """Number of in-distribution classes."""
        return len(self.class_names)

    @property
    def encoder_scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the VAE's input: pixels in [0, 1] unless it was trained with `mse`."""
        return self.normalize if self.loss == "mse" else (0.0, 1.0)


def recorded(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that decide the outcome, in their order."""
    return {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}


def check_classes(found: tuple[str, ...], trained: Trained, where: str) -> None:
    """Refuse data with other classes than the network was trained with; published folders know their number only.

    Raises:
        InputError: the number or the names differ.
    """
    if len(found) != trained.n_classes or (trained.named and found != trained.class_names):
        raise InputError(
            f"{where} has {len(found)} classes ({', '.join(found[:5])}, …), the network was trained with "
            f"{trained.n_classes} ({', '.join(trained.class_names[:5])}, …). Pass the data it was trained on."
        )


def write_configuration(
    folder: Path, options: argparse.Namespace, class_names: tuple[str, ...], added: Mapping[str, Any]
) -> None:
    """Write `configuration.json`: the flags in their order, then what else later steps need, then versions."""
    content = {**recorded(options), "n_classes": len(class_names), "class_names": list(class_names), **added}
    files.write_json(folder / CONFIGURATION, {**content, "versions": runs.versions()})


def read_configuration(folder: Path, in_data: str) -> Trained:
    """What the network in `folder` was built for.

    Raises:
        MissingFileError: the folder is not there; quotes the command that makes it, for the images in `in_data`.
        InputError: its `configuration.json` makes no sense.
    """
    if not folder.is_dir():
        step = "train_vae.py" if folder.name == "vae" else "train_classi.py"
        made_by = command(step, in_data=in_data, save_path=folder.parent)
        raise MissingFileError(f"{folder} is missing. Train it with: {made_by}")
    path = folder / CONFIGURATION
    content = files.read_json(path) if path.is_file() else {}
    try:
        return _trained(content, in_data)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not hold the settings of a training ({error}). Restore it, or train again."
        ) from None


def _trained(found: dict[str, Any], in_data: str) -> Trained:
    published = "class_names" not in found
    mean, std = found.get("normalize_used") or defaults.normalisation("auto", str(found.get("in_data") or in_data))
    names = found.get("class_names", [str(i) for i in range(10)])
    if not isinstance(names, list) or not names:
        raise ValueError(f"class_names is {names!r}, expected a list of names")
    architecture = found.get("architecture", "doc")
    if architecture not in ("doc", "paper", *NETWORKS):
        raise ValueError(f"architecture is {architecture!r}, expected doc or paper")
    native = found.get("native")
    if native is not None and not runs.is_size(native):
        raise ValueError(f"native is {native!r}, expected height and width")
    return Trained(
        native=None if native is None else (native[0], native[1]),
        architecture=architecture,
        classes=str(found.get("classes") or "all"),
        class_names=tuple(str(name) for name in names),
        latent_dim=int(found.get("latent_dim") or 8),
        loss="mse" if published else str(found.get("loss", "elbo")),
        normalize=(float(mean), float(std)),
        named=not published,
    )


def trained_of_weights(weights: Mapping[str, Any], source: Path, normalize: tuple[float, float]) -> Trained:
    """What a classifier was built for, as far as the shapes of its weights tell.

    Args:
        weights: under the published names.
        source: named in errors.
        normalize: mean and standard deviation of its input.

    Raises:
        InputError: they are not those of a classifier.
    """
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
    features = {DOC_FEATURES: "doc", PAPER_FEATURES: "paper"}
    architecture = features.get(shapes.get("fc1.weight", (0, 0))[-1])
    if architecture is None or "fc2.weight" not in shapes:
        raise InputError(f"{source} holds no classifier of this package: it lacks fc1.weight and fc2.weight of one.")
    names = tuple(map(str, range(shapes["fc2.weight"][0] - 1)))
    return Trained(architecture, "all", names, 8, "elbo", normalize, named=False)


def choose_classes(given: str | None, trained: Trained, where: Path) -> str:
    """The class range of a later step: the one that the network was trained with.

    Raises:
        InputError: the flag asks for another one.
    """
    if given is not None and given != trained.classes:
        raise InputError(
            f"--classes {given}: {where} was trained with --classes {trained.classes}. Leave the flag out."
        )
    return trained.classes
