"""`oodgen.load`: a detector from what a training left, or from released weights."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ood_shared.checkpoints import kept_generators, read_weights
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError, MissingFileError, unknown
from ood_shared.files import path_of

from oodgen import checkpoints, configuration
from oodgen.defaults import normalisation
from oodgen.detector import OodgenDetector
from oodgen.scores import KINDS


@kept_generators()
def load(
    path: str | Path,
    *,
    epoch: int | None = None,
    score: str = KINDS[0],
    classes: Sequence[str] | None = None,
    normalize: str | None = None,
    threshold: float | None = None,
    device: str = "auto",
) -> OodgenDetector:
    """The detector that a training left.

    Args:
        path: folder of `--save_path`, its `classifer` folder, a folder of `oodgen.bench` or `fit`, or a file of weights
            under the published names. Beside a file, `configuration.json` is read where there is one.
        epoch: of the model; None takes the last.
        score: what is called the confidence, as `--score` of test.py.
        classes: names of the in-distribution classes; needed by nothing but your own reading of `predict`.
        normalize: a word of `--normalize`; a file without `configuration.json` needs it.
        threshold: score above which `predict` says -1.
        device: where the network goes.

    Raises:
        MissingFileError: nothing is there.
        InputError: the files do not fit together, or something has to be named.
    """
    if score not in KINDS:
        raise unknown("score", score, KINDS)
    path = path_of(path)
    if not path.exists():
        raise MissingFileError(f"{path} is missing; expected the folder of a training, or a file of weights.")
    if path.is_file():
        folder, file = path.parent, path
    else:
        folder = next((path / name for name in checkpoints.CLASSIFIER_FOLDERS if (path / name).is_dir()), path)
        file, _ = checkpoints.model_file(folder, epoch, default=200)
    if (folder / configuration.CONFIGURATION).is_file():
        trained = configuration.read_configuration(folder, str(folder))
    elif normalize is None:
        raise InputError(
            f"{folder} has no {configuration.CONFIGURATION}, which tells how images were normalised. Name it: "
            "normalize='mnist' for networks of MNIST, 'half' for others of the published code, or 'MEAN,STD'."
        )
    else:
        trained = configuration.trained_of_weights(read_weights(file), file, normalisation(normalize, str(folder)))
    if normalize is not None:
        trained = replace(trained, normalize=normalisation(normalize, str(folder)))
    names = tuple(classes) if classes is not None else trained.class_names
    if len(names) != trained.n_classes:
        raise InputError(f"{file} knows {trained.n_classes} classes, classes= names {len(names)}.")
    network = checkpoints.load_classifier(file, trained).to(resolve_device(device))
    return OodgenDetector(network, names, *trained.normalize, score, threshold, native=trained.native)
