"""What one step leaves for the next: result folders and the models of an epoch.

The classifier of a published run stands in `classifier`, not in `classifer`; both are found.
"""

from pathlib import Path
from typing import Any

from ood_shared import checkpoints, files, runs
from ood_shared.errors import InputError, MissingFileError
from ood_shared.notes import say

from oodgen.classifier import OutlierClassifier, build_classifier
from oodgen.configuration import CONFIGURATION, Trained
from oodgen.data.prepare import write_embedded_tree
from oodgen.defaults import DEFAULT_ID
from oodgen.hints import command
from oodgen.vae import ConditionalVAE, build_vae

CLASSIFIER_FOLDERS = ("classifer", "classifier")  # the documented spelling first; it is the one that is written


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


def model_file(folder: Path, epoch: int | None, default: int) -> tuple[Path, int]:
    """The model of an epoch and the epoch; without a given epoch the default one, else the last.

    Of a VAE that was trained with `--patience` it is the best one, in `model.pth`, unless an epoch is given. Where the
    training had not come to its end, one line says so.

    Raises:
        MissingFileError: the epoch was not saved; lists those that were.
    """
    if epoch is None and _keeps_best(folder):
        _note_unfinished(folder)
        return folder / "model.pth", _best_epoch(folder)
    wanted = folder / f"model_{epoch or default}.pth"
    if wanted.is_file():
        return wanted, epoch or default
    saved = saved_epochs(folder)
    listed = ", ".join(map(str, saved)) or "none"
    if epoch is not None:
        raise MissingFileError(f"--model_epoch {epoch}: {wanted} is missing. Saved epochs: {listed}.")
    if (folder / "model.pth").is_file():
        _note_unfinished(folder)
        return folder / "model.pth", max([*saved, *_trained_epochs(folder)], default=default)
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


def remembered(folder: Path) -> dict[str, Any]:
    """The settings of a folder's training, for remarks alone: empty where they are damaged, or not told."""
    try:
        return runs.read_settings(folder)
    except InputError:
        return {}


def _trained_epochs(folder: Path) -> list[int]:
    return [int(record["epoch"]) for record in runs.read_metrics(folder)]


def _note_unfinished(folder: Path) -> None:
    """One line where a training was stopped, or still runs; published folders do not tell."""
    settings = remembered(folder)
    done, wanted = max(_trained_epochs(folder), default=0), settings.get("epochs")
    if not isinstance(wanted, int) or not 0 < done < wanted:
        return
    patience = settings.get("patience") or 0
    if patience and done - _best_epoch(folder) >= patience:
        return
    say([f"the training in {folder} stands at epoch {done} of {wanted}: --resume of its own command goes on with it"])


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
