"""`ascood.load`: a detector from a run folder, a bench folder, or a file of the authors' or of OpenOOD's weights.

load("results/…/s0", score="odin")                       # weights, sizes and classes from the folder
load("out/ascood/seed-0")                                # what ascood.fit, ascood.bench or ood-bench left
load("best.ckpt", id_data="cifar10")                     # sizes and network of a known set …
load("best.ckpt", network="resnet18_32x32", image_size=32, normalisation="cifar10")      # … or told one by one
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ood_shared import checkpoints, files
from ood_shared.checkpoints import kept_generators
from ood_shared.detector import as_labels
from ood_shared.devices import resolve_device
from ood_shared.errors import InputError
from ood_shared.files import path_of
from ood_shared.images import Images, image_batches
from ood_shared.results.schema import RESULT
from torch import Tensor

from ascood.build import backbone_in_config, identity_of, load_strictly, read_config, to_device, wrap
from ascood.data.preprocessing import Chain, normalisation
from ascood.data.sources import Source, Suite
from ascood.data.splits import DatasetSettings
from ascood.data.suites import id_suite, make_suite
from ascood.detector import AscoodDetector
from ascood.evaluator import Evaluator, features_for
from ascood.in_memory import SIZE, samples_of
from ascood.networks import make_backbone
from ascood.preparation import Preparation
from ascood.run_files import BEST, DETECTOR, find_run, read_features
from ascood.scores.base import Extract, FeatureScore
from ascood.scores.catalogue import AnyScore, check_arguments, make_score
from ascood.stored import read_stored

DEFAULT = "msp"  # of eval_ood.py


@dataclass(frozen=True)
class Told:
    """What the caller says of a checkpoint; None where the folder or the data set is to say it. See `load`."""

    score: str | None
    arguments: Mapping[str, Any] | None
    id_data: str | None
    network: str | None
    normalisation: str | None
    image_size: int | None
    pre_size: int | None
    data_dir: str | None
    precision: str
    train: tuple[Images, Any] | None
    val: tuple[Images, Any] | None


@kept_generators()
def load(
    path: str | Path,
    *,
    score: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    train: Images | None = None,
    train_labels: Any = None,
    val: Images | None = None,
    val_labels: Any = None,
    id_data: str | None = None,
    network: str | None = None,
    image_size: int | None = None,
    pre_size: int | None = None,
    normalisation: str | None = None,
    classes: Sequence[str] | None = None,
    threshold: float | None = None,
    data_dir: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> AscoodDetector:
    """The detector of a trained network.

    Args:
        path: a run folder of main.py, a folder of `ascood.fit` or of the bench, or a file of weights.
        score: a name of `--postprocessor`; by default that of the folder, or `msp` as in eval_ood.py.
        arguments: hyper-parameters of the score; by default those that the search of eval_ood.py chose for this run,
            where it was made, else those of the score's yml file.
        train: ID training images, for scores that are fitted to them; by default those of the run, where they are.
        train_labels: their classes, for `mds`, `rmds` and `she`.
        val: ID validation images, for `react`, `klm`, `residual` and `temp_scaling`.
        val_labels: their classes, for `temp_scaling`.
        id_data: as `--id-data`: gives network, sizes and normalisation where no config.yml does.
        network: backbone, as `--network`.
        image_size: side of the network's images, pixels.
        pre_size: length of the shorter side before the centre crop; `image_size` by default.
        normalisation: a data set whose mean and standard deviation are taken, or `unknown` for 0.5.
        classes: names; by default the folders of the training images, or numbers.
        threshold: score above which `predict` says -1.
        data_dir: in place of ./data.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: of the passes.

    Raises:
        MissingFileError: the path, or images that the score is fitted to, are not there.
        InputError: something is not told, or does not fit.
    """
    told = Told(
        *(score, arguments, id_data, network, normalisation, image_size, pre_size, data_dir, precision),
        train=None if train is None else (train, train_labels),
        val=None if val is None else (val, val_labels),
    )
    for name, side in (("image_size", image_size), ("pre_size", pre_size)):
        if side is not None and (type(side) is not int or side < 1):
            raise InputError(f"{name} is {side!r}; expected a number of pixels from 1 on.")
    where = find_run(path_of(path))
    on = resolve_device(device)
    if where.is_file():
        detector = _of_weights(where, None, told, on)
    elif (where / DETECTOR).is_file() or (where / RESULT).is_file():
        detector = _of_bench(where, told, on)
    else:
        detector = _of_weights(where / BEST, where, told, on)
    names = tuple(classes) if classes is not None else detector.classes
    if len(names) != len(detector.classes):
        raise InputError(f"There are {len(names)} names of classes; {path} has {len(detector.classes)} classes.")
    return replace(detector, classes=names, threshold=threshold)


def _of_weights(weights: Path, folder: Path | None, told: Told, device: torch.device) -> AscoodDetector:
    """Of a run folder's best weights, or of a file with weights alone."""
    state = checkpoints.read_weights(weights)
    wrapper, count = wrapper_of(state), classes_of(state, weights)
    config = read_config(folder) if folder is not None else None
    suite = _suite_of(config, told, count, weights)
    name = told.network or (backbone_in_config(config) if config else None) or suite.network
    network = wrap(make_backbone(name, count), wrapper, count)
    load_strictly(network, weights, wrapper)
    network = to_device(network, device).eval()
    sets = dict(suite.id_sets)
    prepare = Preparation(suite.chain, resized_first=suite.resized_first)
    for split, images in (("train", told.train), ("val", told.val)):
        if images is not None:
            sets[split] = _source(split, images, prepare)
    rule = _rule_of(told, folder, checkpoints.sha256(weights))
    _check_labels(rule, told)
    suite = replace(suite, id_sets=sets)
    evaluator = Evaluator(
        network, suite, folder, device, identity_of(weights, network, wrapper),
        precision=told.precision, workers=0, stores=False,
    )  # fmt: skip
    try:
        evaluator.tune(rule, search=False)
    except InputError as error:
        raise InputError(f"{error} {_pass(rule)}" if rule.fits else str(error)) from None
    told_names = suite.class_names if len(suite.class_names) == count else ()
    names = told_names or tuple(str(number) for number in range(count))
    return AscoodDetector(network, rule, suite.chain, prepare, names, precision=told.precision)


def _of_bench(folder: Path, told: Told, device: torch.device) -> AscoodDetector:
    """Of what `ascood.fit` or the bench left; of an older bench folder only scores that are fitted to nothing."""
    stored = read_stored(folder)
    for name in ("id_data", "network", "normalisation", "image_size", "pre_size"):
        if getattr(told, name) is not None:
            raise InputError(f"{folder} says itself how its images are prepared; leave {name}= out.")
    weights_file = stored.weights
    state = checkpoints.read_weights(weights_file)
    wrapper, count = wrapper_of(state), classes_of(state, weights_file)
    network = wrap(make_backbone(str(backbone_in_config(stored.config)), count), wrapper, count)
    load_strictly(network, weights_file, wrapper)
    network = to_device(network, device).eval()
    mean, std = normalisation("unknown")
    chain = Chain("test", SIZE, SIZE, mean, std)
    prepare = Preparation(chain, stored.native)
    same = told.score in (None, stored.score)
    rule = make_score(stored.score if same else str(told.score), told.arguments or (stored.args if same else None))
    check_arguments(rule, told.arguments or ())
    _check_labels(rule, told)
    sha256 = checkpoints.sha256(weights_file)
    features = {split: outputs.to(device) for split, outputs in read_features(folder, sha256).items()}
    given = {name: images for name, images in (("train", told.train), ("val", told.val)) if images is not None}
    suite = Suite("images", count, "", chain, {n: _source(n, images, prepare) for n, images in given.items()}, [], [])
    evaluator = Evaluator(
        network, suite, None, device, identity_of(weights_file, network, wrapper), precision=told.precision, workers=0
    )

    def outputs(split: str) -> Extract:
        return evaluator.extract(f"id/{split}") if split in given or split not in features else features[split]

    with torch.no_grad():
        if isinstance(rule, FeatureScore):
            try:
                rule.fit(features_for(network, outputs))
            except InputError as error:
                raise InputError(f"{error} {_pass(rule)}") from None
        rule.prepare()
    names = stored.classes or tuple(str(number) for number in range(count))
    return AscoodDetector(network, rule, chain, prepare, names, precision=told.precision)


def wrapper_of(state: Mapping[str, Any]) -> str | None:
    """The head around the backbone, by the key names of its weights."""
    return "ASCOODNet" if "sigma" in state else "T2FNormNet" if "tau" in state else None


def classes_of(state: Mapping[str, Any], path: Path) -> int:
    """The number of classes, by the last layer."""
    for key in ("backbone.fc.weight", "fc.weight"):
        if isinstance(state.get(key), Tensor):
            return len(state[key])
    raise InputError(f"{path} has no `fc.weight`; expected weights with the authors' or OpenOOD's key names.")


def _suite_of(config: Mapping[str, Any] | None, told: Told, count: int, weights: Path) -> Suite:
    """Sizes, normalisation and ID sets: as told, else of the run's config.yml."""
    if told.id_data is not None:
        return make_suite(told.id_data, told.data_dir)
    if told.image_size is None and config and "dataset" in config:
        return id_suite(DatasetSettings.of(config["dataset"]), told.data_dir)
    lacking = [name for name in ("network", "image_size", "normalisation") if getattr(told, name) is None]
    if lacking:
        raise InputError(
            f"{weights} does not say how its images were prepared. Pass id_data='cifar10' (or another set that it was "
            f"trained on), or {', '.join(f'{name}=' for name in lacking)}."
        )
    mean, std = normalisation(str(told.normalisation))
    size = int(told.image_size or 0)
    return Suite("images", count, str(told.network), Chain("test", told.pre_size or size, size, mean, std), {}, [], [])


def _rule_of(told: Told, folder: Path | None, sha256: str) -> AnyScore:
    """The score with its hyper-parameters: told, or chosen by the search of eval_ood.py, or of the yml file."""
    rule = make_score(told.score or DEFAULT, told.arguments)
    check_arguments(rule, told.arguments or ())
    searched = None if folder is None else folder / "postprocessors" / f"{rule.name}.json"
    if told.arguments is None and searched is not None and searched.is_file():
        stored = files.read_json(searched)
        if stored.get("weights", sha256) == sha256:
            rule.args.update(stored["chosen"])
    return rule


def _source(split: str, images: tuple[Images, Any], prepare: Any) -> Source:
    """A set of a user's images, as the network sees them."""
    pixels = torch.cat(list(image_batches(images[0], prepare)))
    labels = torch.full((len(pixels),), -1) if images[1] is None else as_labels(images[1], len(pixels))[0]
    samples = samples_of(split, pixels, labels)
    return Source(split, lambda: samples, raw=True)


def _check_labels(rule: AnyScore, told: Told) -> None:
    split, images = ("val", told.val) if rule.name == "temp_scaling" else ("train", told.train)
    if rule.labelled and images is not None and images[1] is None:
        raise InputError(f"`{rule.name}` is fitted to classes, too. Pass {split}_labels=.")


def _pass(rule: AnyScore) -> str:
    return f"Pass train= (and train_labels=) to fit `{rule.name}`; react, klm, residual and temp_scaling take val=."
