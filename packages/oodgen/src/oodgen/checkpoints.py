"""What one step leaves for the next: result folders, `configuration.json`, and the models of an epoch.

Folders of published runs are read too: they lack the added keys, which then mean 10 classes, 8 latent dimensions, the
loss `mse` and the normalisation by data name; their classifier stands in `classifier`, not in `classifer`.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_shared import checkpoints, files, runs
from ood_shared.backbone import NETWORKS
from ood_shared.errors import InputError, MissingFileError

from oodgen import defaults
from oodgen.classifier import OutlierClassifier, build_classifier
from oodgen.data.prepare import write_embedded_tree
from oodgen.defaults import DEFAULT_ID
from oodgen.hints import command
from oodgen.vae import ConditionalVAE, build_vae

CONFIGURATION = "configuration.json"
CLASSIFIER_FOLDERS = ("classifer", "classifier")  # the documented spelling first; it is the one that is written
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


def id_folder(given: str | None, flag: str) -> str:
    """The in-distribution folder: the given one, the default one when it exists, else a tree of the embedded digits."""
    if given is not None:
        return given
    if Path(DEFAULT_ID).is_dir():
        return DEFAULT_ID
    folder = str(Path(DEFAULT_ID).with_name("digits"))
    if not folder.startswith("."):
        folder = f"./{folder}"
    if write_embedded_tree(folder):
        print(f"No {flag} given and no {DEFAULT_ID}: the embedded digits were written to {folder} and are used.")
    else:
        print(f"No {flag} given and no {DEFAULT_ID}: using the embedded digits in {folder}.")
    return folder


def vae_folder(root: Path | str) -> Path:
    """Where step 1 writes and steps 2 and 3 read."""
    return Path(root) / "vae"


def find_classifier_folder(root: Path | str, in_data: str) -> Path:
    """Where step 4 finds the classifier, under either spelling; `in_data` is for the command that makes it.

    Raises:
        MissingFileError: under neither.
    """
    for name in CLASSIFIER_FOLDERS:
        if (Path(root) / name).is_dir():
            return Path(root) / name
    raise MissingFileError(
        f"{root} has no folder classifer (nor classifier). Train one with: "
        + command("train_classi.py", in_data=in_data, save_path=root)
    )


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


def model_file(folder: Path, epoch: int | None, default: int) -> tuple[Path, int]:
    """The model of an epoch and the epoch; without a given epoch the default one, else the last.

    Of a VAE that was trained with `--patience` it is the best one, in `model.pth`, unless an epoch is given.

    Raises:
        MissingFileError: the epoch was not saved; lists those that were.
    """
    if epoch is None and _keeps_best(folder):
        return folder / "model.pth", _best_epoch(folder)
    wanted = folder / f"model_{epoch or default}.pth"
    if wanted.is_file():
        return wanted, epoch or default
    saved = saved_epochs(folder)
    listed = ", ".join(map(str, saved)) or "none"
    if epoch is not None:
        raise MissingFileError(f"--model_epoch {epoch}: {wanted} is missing. Saved epochs: {listed}.")
    if (folder / "model.pth").is_file():
        trained = [int(record["epoch"]) for record in runs.read_metrics(folder)]
        return folder / "model.pth", max([*saved, *trained], default=default)
    advice = f"Pass --model_epoch; saved epochs: {listed}." if saved else "Let the training finish an epoch."
    raise MissingFileError(f"{folder} has neither model_{default}.pth nor model.pth. {advice}")


def saved_epochs(folder: Path) -> list[int]:
    """Epochs of the `model_<epoch>.pth` in a folder, ascending."""
    words = (path.stem.removeprefix("model_") for path in folder.glob("model_*.pth"))
    return sorted(int(word) for word in words if word.isdecimal())


def _keeps_best(folder: Path) -> bool:
    path = folder / CONFIGURATION
    if not (path.is_file() and (folder / "model.pth").is_file()):
        return False
    settings = files.read_json(path)
    patience = settings.get("patience") if isinstance(settings, dict) else "?"
    if patience is not None and not (isinstance(patience, int) and patience >= 0):
        raise InputError(f"{path} does not hold the settings of a training. Restore it, or train again.")
    return bool(patience)


def _best_epoch(folder: Path) -> int:
    """The epoch with the lowest validation loss, the first of equal ones; 0 where the folder does not tell."""
    records = [record for record in runs.read_metrics(folder) if "vali_loss" in record]
    return int(min(records, key=lambda record: record["vali_loss"])["epoch"]) if records else 0


def load_vae(path: Path, trained: Trained) -> ConditionalVAE:
    """The VAE of a file, in eval mode on the CPU.

    Raises:
        InputError: the file was written for another latent size or number of classes.
    """
    weights = checkpoints.read_weights(path)
    shapes = {key: tuple(getattr(weights.get(key), "shape", ())) for key in ("fc12.weight", "fc11.weight")}
    latent = shapes["fc12.weight"][:1]
    if latent and latent != (trained.latent_dim,):
        raise InputError(
            f"{path} was written for latent dimension {latent[0]}, {CONFIGURATION} beside it says "
            f"{trained.latent_dim}. Put the matching file there or train again."
        )
    condition = shapes["fc11.weight"][1:]
    if condition and condition[0] - 64 * 7 * 7 != trained.n_classes:
        raise InputError(
            f"{path} was written for {condition[0] - 64 * 7 * 7} classes, {CONFIGURATION} beside it says "
            f"{trained.n_classes}. Put the matching file there or train again."
        )
    network = build_vae(trained.architecture, trained.n_classes, trained.latent_dim)
    checkpoints.load_weights(network, weights, path)
    network.eval()
    return network


def load_classifier(path: Path, trained: Trained) -> OutlierClassifier:
    """The classifier of a file, in eval mode on the CPU.

    Raises:
        InputError: the file was written for another number of classes.
    """
    weights = checkpoints.read_weights(path)
    outputs = tuple(getattr(weights.get("fc2.weight"), "shape", ()))[:1]
    if outputs and outputs != (trained.n_classes + 1,):
        raise InputError(
            f"{path} was written for {outputs[0] - 1} classes, this run has {trained.n_classes}. Pass the matching "
            "folder or train again."
        )
    network = build_classifier(trained.architecture, trained.n_classes)
    checkpoints.load_weights(network, weights, path)
    network.eval()
    return network
