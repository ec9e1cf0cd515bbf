"""`imood.load`: a detector from a run folder, a folder of the bench, or a bare file of weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from ood_shared import checkpoints, files
from ood_shared.checkpoints import kept_generators
from ood_shared.devices import lay_out, resolve_device
from ood_shared.errors import InputError, MissingFileError
from ood_shared.images import Images, image_batches
from ood_shared.results.schema import RESULT
from ood_shared.runs import CHECKPOINT
from torch import Tensor

from imood.checkpoints import BEST, LATEST, load_network, read_features
from imood.data import cifar
from imood.data.images import Resident
from imood.data.inputs import Inputs, views_of_side
from imood.data.user_data import UserDataset
from imood.data.views import LARGE, SMALL
from imood.detector import ImoodDetector
from imood.evaluate import training_pool
from imood.metrics import metric_of, plain_test_of
from imood.modes import MAHA_SIGNS, POSTERIORS
from imood.networks import Network
from imood.passes import Pass
from imood.pool import FeaturePool, pool_of_queue
from imood.scores import Rule, choose_metrics
from imood.settings import TrainedRun, read_run
from imood.state import DETECTOR

PRIOR_SCORES = ("rp_msp", "rp_gradnorm", "rw_energy")  # with the prior, though not balanced
BATCH = 250

Training = tuple[Images, Sequence[int] | Int64[np.ndarray, " n"] | Tensor]


@dataclass(frozen=True)
class Stored:
    """What lies at a path, and what it says; None where it does not.

    Attributes:
        weights: file of the weights.
        folder: with pool and settings; None for a bare file.
        run: settings of the training.
        inputs: of the test images.
        score: that the folder was made for.
    """

    weights: Path
    folder: Path | None = None
    run: TrainedRun = field(default_factory=TrainedRun)
    inputs: Inputs | None = None
    score: str | None = None


@kept_generators()
def load(
    path: str | Path,
    *,
    score: str | None = None,
    device: str = "auto",
    threshold: float | None = None,
    tau: float = 1.0,
    posterior: str = "published",
    maha_sign: str = "fixed",
    checkpoint: str = "latest",
    classes: Sequence[str] | int | None = None,
    counts: Sequence[int] | None = None,
    model: str | None = None,
    side: int | None = None,
    native: tuple[int, int] | None = None,
    training: Training | None = None,
    data_dir: str | Path = "data",
) -> ImoodDetector:
    """The detector of a trained network.

    A folder knows everything; of a bare file `classes` have to be told, and what the score needs beyond.

    Args:
        path: run folder of `imood train`, folder of `imood bench`, `ood-bench` or `imood.fit`, or a `.pth` file.
        score: a word of `test.py --ood_metric`; by default the one that the test command takes of such a run, and of a
            bench that of the bench.
        device: `auto`, `cpu`, `cuda`, …
        threshold: score above which `predict` says -1.
        tau: exponent of the prior (`--logit_adjust`).
        posterior: `published` or `consistent`, see `test.py --posterior`.
        maha_sign: `fixed` or `legacy`, see `test.py --maha_sign`.
        checkpoint: `latest` or `best`, of a run folder.
        classes: their names, or how many there are.
        counts: training images of each class; the prior of the balanced scores.
        model: `ResNet18`, `ResNet34` or `ResNet50`; by default read from the weights.
        side: 32, images as they are, or 224, normalised as ImageNet's.
        native: size of the training images where they were smaller than `side`, to which larger ones are reduced.
        training: images and labels, for `maha` and `ada_maha` where the folder has no pool of their features.
        data_dir: folder of the data set of a run of an earlier version, which does not say how large its images were.

    Raises:
        MissingFileError: nothing lies there.
        InputError: the file is damaged or of another network, or something has to be told and is not.
    """
    for word, value, known in (("posterior", posterior, POSTERIORS), ("maha_sign", maha_sign, MAHA_SIGNS)):
        if value not in known:
            raise InputError(f"{word} is `{value}`; expected {' or '.join(known)}.")
    stored = _stored(Path(path), checkpoint)
    if stored.run.known and stored.inputs is None and native is None and side is None:
        stored = replace(stored, inputs=_inputs_of_set(stored.run, Path(data_dir)))
    names, counts = _classes(stored, classes, counts)
    network, _ = load_network(stored.weights, model or stored.run.model, len(names))
    trained = stored.run.ood_metric
    words = score or stored.score or plain_test_of(trained)
    metric, *more = choose_metrics(words, network.classifier.out_features, len(names), trained, "score")
    if more:
        raise InputError(f"score is `{words}`; a detector has one score, e.g. score={metric!r}.")
    if counts is None and (metric_of(metric).balanced or metric in PRIOR_SCORES):
        raise InputError(f"score {metric} needs the class prior. Pass counts=[…], the training images of each class.")
    inputs = stored.inputs or Inputs(views_of_side(side or (LARGE if _large(network) else SMALL).side), _fit(network))
    if native is not None:
        inputs = replace(inputs, fit="resize", native=native)
    bench = stored.score is not None
    precision, last = (stored.run.precision, stored.run.channels_last) if bench else ("fp32", False)
    target = resolve_device(device)
    network.to(target)
    last = lay_out(network, target, last)
    trained_tau = (stored.run.logit_adjust or 0.0) if posterior == "consistent" else 0.0
    rule = Rule(metric, tuple(counts or [1] * len(names)), tau, maha_sign, trained_tau)
    detector = ImoodDetector(network, rule, inputs, names, None, threshold, precision, last)
    return replace(detector, pool=_pool(detector, stored.folder, training)) if metric_of(metric).pool else detector


def _stored(path: Path, checkpoint: str) -> Stored:
    if path.is_file():
        return Stored(path)
    if checkpoint not in ("latest", "best"):
        raise InputError(f"checkpoint is `{checkpoint}`; expected latest or best.")
    weights = path / (LATEST if checkpoint == "latest" else BEST)
    if not weights.is_file():
        raise MissingFileError(f"{weights} is missing. Pass the folder of a run, or a file of weights.")
    inputs, score = None, None
    if (path / CHECKPOINT).is_file():
        about = checkpoints.load(path / CHECKPOINT).get(DETECTOR)
        if about is not None:
            inputs, score = Inputs.of_record(about), about["score"]
    if score is None and (path / RESULT).is_file():  # of a bench of an earlier version; a test has no such entry
        score = files.read_json(path / RESULT)["config"].get("score")
    return Stored(weights, path, read_run(path), inputs, score)


def _inputs_of_set(run: TrainedRun, root: Path) -> Inputs:
    """Of a run that does not say them: as its data set has them."""
    if run.dataset in ("imagenet", "waterbird"):
        return Inputs(LARGE, "centre")
    views = LARGE if run.model == "ResNet50" else SMALL
    if run.dataset is None or run.dataset in cifar.FOLDERS:
        return Inputs(SMALL, "squeeze", classes=cifar.CLASSES.get(run.dataset or "", ()))
    try:
        own = UserDataset(run.dataset, root, views.side)
        return Inputs(views, "resize", own.native, own.train.classes)
    except InputError as error:
        raise InputError(
            f"The run does not say the size of its training images, and {run.dataset} cannot be read ({error}) "
            f"Pass native=(height, width), or side={views.side} if they were not enlarged."
        ) from None


def _classes(
    stored: Stored, given: Sequence[str] | int | None, counts: Sequence[int] | None
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Names of the classes, and training images of each."""
    counts = stored.run.counts if counts is None else tuple(counts)
    if given is None:
        named = stored.inputs.classes if stored.inputs is not None else ()
        given = named or (None if counts is None else len(counts))
    if given is None:
        raise InputError(f"{stored.weights} does not say its classes. Pass classes=10, or their names.")
    names = tuple(map(str, range(given))) if isinstance(given, int) else tuple(given)
    if len(names) < 2:
        raise InputError(f"classes has {len(names)}; expected at least 2.")
    if counts is not None and len(counts) != len(names):
        raise InputError(f"There are {len(names)} classes and counts of {len(counts)}; pass one count for each class.")
    return names, counts


def _large(network: Network) -> bool:
    return network.classifier.in_features == 2048


def _fit(network: Network) -> str:
    return "centre" if _large(network) else "squeeze"


def _pool(detector: ImoodDetector, folder: Path | None, training: Training | None) -> FeaturePool:
    """The pool of training features: of the images that are given, else that of the folder."""
    network, n_classes = detector.network, len(detector.classes)
    device, dim = network.classifier.weight.device, network.classifier.in_features
    if training is not None:
        images, labels = training
        pixels = torch.cat(list(image_batches(images, detector.inputs.prepare)))
        numbers = torch.as_tensor(np.asarray(labels)).to(torch.int64)
        if numbers.shape != (len(pixels),) or not 0 <= int(numbers.min()) <= int(numbers.max()) < n_classes:
            raise InputError(f"training has {len(pixels)} images; expected as many labels, from 0 to {n_classes - 1}.")
        passing = Pass(network, detector.inputs.views, BATCH, device, detector.precision, detector.channels_last)
        held = torch.bincount(numbers, minlength=n_classes).tolist()
        return training_pool(passing, Resident(pixels, numbers, device), held, dim)
    stored = None if folder is None else read_features(folder)
    if stored is None:
        where = "a file of weights" if folder is None else folder
        raise InputError(
            f"score {detector.rule.metric} needs features of training images, which {where} does not hold. "
            "Pass training=(images, labels)."
        )
    queue = stored[0]
    counts = detector.rule.counts if folder is not None else (queue.shape[1],) * n_classes
    return pool_of_queue(queue, counts, dim, device)
