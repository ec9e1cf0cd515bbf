"""`imood.load`: a detector from a run folder, a folder of the bench, or a bare file of weights."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from ood_shared.checkpoints import kept_generators
from ood_shared.devices import lay_out, resolve_device
from ood_shared.errors import InputError, one_line
from ood_shared.files import path_of
from ood_shared.images import Images, image_batches
from torch import Tensor

from imood.checkpoints import load_network, read_features
from imood.data.images import Resident
from imood.data.inputs import Inputs, size_of, views_of_side
from imood.data.views import LARGE, SMALL
from imood.detector import ImoodDetector
from imood.evaluate import training_pool
from imood.metrics import metric_of, plain_test_of
from imood.modes import MAHA_SIGNS, POSTERIORS
from imood.networks import Network
from imood.passes import Pass
from imood.pool import FeaturePool, pool_of_queue
from imood.scores import Rule, choose_metrics
from imood.stored import Stored, inputs_of_set, stored_at

PRIOR_SCORES = ("rp_msp", "rp_gradnorm", "rw_energy")  # with the prior, though not balanced
BATCH = 250
MOST_COUNT = 1 << 53  # up to which floats are exact

Training = tuple[Images, Sequence[int] | Int64[np.ndarray, " n"] | Tensor]


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
        native: size of the training images where they were smaller than `side`, to which larger ones are reduced. A
            folder that says side and native decides; other values are refused.
        training: images and labels, for `maha` and `ada_maha` where the folder has no pool of their features.
        data_dir: folder of the data set of a run of an earlier version, which does not say how large its images were.

    Raises:
        MissingFileError: nothing lies there.
        InputError: the file is damaged or of another network, something has to be told and is not, or what is told
            means nothing or differs from what the folder says.
    """
    for word, value, known in (("posterior", posterior, POSTERIORS), ("maha_sign", maha_sign, MAHA_SIGNS)):
        if value not in known:
            raise InputError(f"{word} is `{value}`; expected {' or '.join(known)}.")
    tau, views = _tau(tau), None if side is None else views_of_side(side)
    native = None if native is None else size_of(native, "native")
    stored = stored_at(path_of(path), checkpoint)
    _refuse_other_size(stored, side, native)
    if stored.run.known and stored.inputs is None and native is None and side is None:
        stored = replace(stored, inputs=inputs_of_set(stored.run, path_of(data_dir)))
    names, own = _classes(stored, classes, counts)
    network, _ = load_network(stored.weights, model or stored.run.model, len(names))
    trained = stored.run.ood_metric
    words = score or stored.score or plain_test_of(trained)
    metric, *more = choose_metrics(words, network.classifier.out_features, len(names), trained, "score")
    if more:
        raise InputError(f"score is `{words}`; a detector has one score, e.g. score={metric!r}.")
    if own is None and (metric_of(metric).balanced or metric in PRIOR_SCORES):
        raise InputError(f"score {metric} needs the class prior. Pass counts=[…], the training images of each class.")
    inputs = stored.inputs or Inputs(views or (LARGE if _large(network) else SMALL), _fit(network))
    if native is not None and native != inputs.native:
        inputs = replace(inputs, fit="resize", native=native)
    bench = stored.score is not None
    precision, last = (stored.run.precision, stored.run.channels_last) if bench else ("fp32", False)
    target = resolve_device(device)
    network.to(target)
    last = lay_out(network, target, last)
    trained_tau = (stored.run.logit_adjust or 0.0) if posterior == "consistent" else 0.0
    rule = Rule(metric, own or (1,) * len(names), tau, maha_sign, trained_tau)
    detector = ImoodDetector(network, rule, inputs, names, None, threshold, precision, last)
    return replace(detector, pool=_pool(detector, stored.folder, training)) if metric_of(metric).pool else detector


def _tau(given: Any) -> float:
    number = isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)
    if not number or not 0 <= given < math.inf:
        raise InputError(f"tau is {one_line(repr(given), 60)}; expected a finite number from 0 on.")
    return float(given)


def _refuse_other_size(stored: Stored, side: int | None, native: tuple[int, int] | None) -> None:
    """Refuse a size of the images where the folder says another one."""
    told = stored.inputs
    if told is None:
        return
    for word, given, known in (("side", side, told.views.side), ("native", native, told.native)):
        if given is not None and given != known:
            raise InputError(f"{word} is {given}, {stored.folder} says {known}. Leave {word} out: the folder decides.")


def _classes(
    stored: Stored, given: Sequence[str] | int | None, counts: Sequence[int] | None
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Names of the classes, and training images of each."""
    own = stored.run.counts if counts is None else _counts(counts)
    if given is None:
        named = stored.inputs.classes if stored.inputs is not None else ()
        given = named or (None if own is None else len(own))
    if given is None:
        raise InputError(f"{stored.weights} does not say its classes. Pass classes=10, or their names.")
    if isinstance(given, str) or not isinstance(given, int | Sequence):
        raise InputError(f"classes is {one_line(repr(given), 60)}; expected their number, or a list of names.")
    names = tuple(map(str, range(given) if isinstance(given, int) else given))
    if len(names) < 2:
        raise InputError(f"classes has {len(names)}; expected at least 2.")
    if own is not None and len(own) != len(names):
        raise InputError(f"There are {len(names)} classes and counts of {len(own)}; pass one count for each class.")
    return names, own


def _counts(given: Any) -> tuple[int, ...]:
    """Training images of each class: whole numbers from 1 on, as a class without images has no prior."""
    try:
        found = np.asarray(given)
        inside = found.ndim == 1 and found.dtype.kind in "iuf" and bool(((found >= 1) & (found < MOST_COUNT)).all())
        good = inside and bool((found % 1 == 0).all())
    except (TypeError, ValueError, RuntimeError):  # lists of different lengths, a tensor on a GPU
        good = False
    if not good:
        raise InputError(
            f"counts is {one_line(repr(given), 80)}; expected the training images of each class, whole numbers from 1 "
            "on."
        )
    return tuple(int(count) for count in found)


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
