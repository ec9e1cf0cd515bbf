"""A trained detector: what all five packages load and fit, what `ood-bench` runs, and what a program calls.

detector = imood.load("runs/cifar10-lt")
scores = detector.score(images)        # (n,), higher = more OOD
classes = detector.predict(images)     # (n,), -1 beyond the threshold
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ood_shared import checkpoints, distributed
from ood_shared.contract import MODEL, Request
from ood_shared.datasets.benchmark import Benchmark, native_size, read_benchmark
from ood_shared.errors import InputError
from ood_shared.images import Images, image_batches
from ood_shared.results.record import facts_of, make_result, measure, pack_scores, print_metrics, write_result
from ood_shared.results.schema import Record, ScoreArrays
from ood_shared.results.thumbnails import write_pictures
from ood_shared.training import Compute

BATCH = 250  # images of a pass on a GPU
Outputs = tuple[Float[Tensor, " n"], Int64[Tensor, " n"] | None]  # scores and classes; None where none is predicted


class Detector(Protocol):
    """A trained detector."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ID classes; empty where none is predicted."""

    @property
    def threshold(self) -> float | None:
        """Score above which an image is called OOD; None where none was set."""

    def score(self, images: Images, batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """The score of each image; higher = more OOD. On a CPU in fp32 it depends on nothing but the image.

        Args:
            images: uint8 array or tensor (n, h, w) or (n, h, w, c) of any size, a PIL image, a path, or a list of them.
            batch_size: images of a pass on a GPU.

        Raises:
            InputError: images of another form, or a file that is no image.
        """

    def predict(self, images: Images, batch_size: int = BATCH) -> Int64[np.ndarray, " n"]:
        """The class of each image, an index into `classes`; -1 beyond the threshold."""

    def outputs(self, images: Tensor, batch_size: int = BATCH) -> Outputs:
        """Scores and classes of images at the network's size, uint8 or floats in the scale of [0, 1]; on the CPU."""


def outputs_of(
    detector: Detector, images: Images, prepare: Callable[[Tensor], Tensor], batch_size: int
) -> tuple[Float[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Scores and classes of a user's images, some hundred in memory at a time; class -1 where none is predicted."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"The batch size is {batch_size!r}; expected a whole number from 1 on.")
    span = getattr(detector, "span", None)
    parts = [detector.outputs(batch, batch_size) for batch in image_batches(images, prepare, span=span)]
    scores = torch.cat([scores for scores, _ in parts])
    if scores.isnan().any():
        first = int(scores.isnan().int().argmax())
        raise InputError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN, the first at image {first}: the weights of "
            "the detector are broken. Train it again."
        )
    classes = [torch.full((len(s),), -1) if found is None else found for s, found in parts]
    return scores.numpy(), torch.cat(classes).numpy()


def within_threshold(
    scores: Float[np.ndarray, " n"], classes: Int64[np.ndarray, " n"], threshold: float | None
) -> Int64[np.ndarray, " n"]:
    """The classes, -1 where the score lies above the threshold.

    Raises:
        InputError: a threshold that is no number.
    """
    if threshold is not None and not (isinstance(threshold, int | float | np.number) and threshold == threshold):
        raise InputError(f"The threshold is {threshold!r}; expected a number, or None for none.")
    return classes if threshold is None else np.where(scores > threshold, -1, classes)


@dataclass(frozen=True)
class Method:
    """Whose detector it is.

    Attributes:
        name: of the package.
        paper: authors, title and venue.
        side: height and width of the images that its networks take, pixels.
        channels: 1 or 3.
    """

    name: str
    paper: str
    side: int
    channels: int


@dataclass(frozen=True)
class Trained:
    """What a training within a budget gives.

    Attributes:
        detector: that is scored.
        networks: what was trained.
        epochs: passes over the ID training images.
        checkpoint: file of the weights that are scored, or its SHA-256.
        step_seconds: of a step of the training; None when a resumed run had none left.
        config: further entries of the result's `config`: the settings that decided it.
        extra_data: what was trained on beyond the ID images; None for nothing.
        others: further detectors of the same training by the name of their score, measured under `other_scores`.
        backbone: words for a method without a classifier; None takes that of the request.
        entries: further entries of the result, from it and its scores; called before anything is written.
    """

    detector: Detector
    networks: list[nn.Module]
    epochs: float
    checkpoint: Path | str
    step_seconds: float | None
    config: Mapping[str, Any] = field(default_factory=dict)
    extra_data: str | None = None
    others: Mapping[str, Detector] = field(default_factory=dict)
    backbone: str | None = None
    entries: Callable[[Record, ScoreArrays], Mapping[str, Any]] | None = None


def as_labels(
    labels: Sequence[int] | np.ndarray | Tensor, n: int, classes: Sequence[str] | None = None
) -> tuple[Int64[Tensor, " n"], tuple[str, ...]]:
    """A user's labels on the CPU, and the names of their classes.

    Args:
        labels: whole numbers (n,), each of 0..classes-1 at least once.
        n: number of images.
        classes: names; the numbers when None.

    Raises:
        InputError: labels of another number or kind, a class without images, or as many names as there are not classes.
    """
    try:
        numbers = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError:
        raise InputError(
            f"The labels are lists of different lengths; expected ({n},) whole numbers from 0 on."
        ) from None
    if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
        found = f"{numbers.dtype} {numbers.shape}"
        raise InputError(f"The labels are {found} for {n} images; expected ({n},) whole numbers from 0 on.")
    if classes is not None and (isinstance(classes, str) or not isinstance(classes, Sequence)):
        raise InputError(f"classes is {classes!r}; expected a list of names.")
    present = np.unique(numbers)
    last = len(present) - 1 if classes is None else len(classes) - 1
    if (present[0], present[-1], len(present)) != (0, last, last + 1):
        raise InputError(f"The labels are {present[:10].tolist()}; expected each of 0 to {last}.")
    names = tuple(map(str, range(last + 1))) if classes is None else tuple(map(str, classes))
    return torch.from_numpy(numbers.astype(np.int64)), names


@contextmanager
def fitting_in(output_dir: str | Path | None) -> Iterator[Path]:
    """The folder of a `fit`: a new or empty one, or a temporary one. The caller's generators are left as they were.

    Raises:
        InputError: the folder holds something: half of a new run and half of an old one would pass for a whole.
    """
    with checkpoints.kept_generators():
        if output_dir is None:
            with tempfile.TemporaryDirectory() as temporary:
                yield Path(temporary)
            return
        folder = Path(output_dir)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"output_dir {folder} is there and not an empty folder. Name a new one, or empty it.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"output_dir {folder} cannot be made: {error.strerror}. Name another one.") from None
        yield folder


def as_benchmark(
    images: Images,
    labels: Sequence[int] | np.ndarray | Tensor | None,
    prepare: Callable[[Tensor], Tensor],
    classes: Sequence[str] | None = None,
    mirror: bool = False,
) -> Benchmark:
    """A user's images as a training of a package takes them: without OOD sets, and with themselves for validation.

    `native` of the result is their own size, where they have one and it is smaller than the network's.

    Args:
        images: to train on; all of them are.
        labels: whole numbers (n,), 0..classes-1; None for one class.
        prepare: from uint8 (k, c, h, w) to the network's size.
        classes: their names; their numbers when None.
        mirror: whether common views are mirrored.

    Raises:
        InputError: labels of another number or kind, or a class without images.
    """
    sizes: set[tuple[int, int]] = set()

    def noted(own: Tensor) -> Tensor:
        sizes.add((own.shape[2], own.shape[3]))
        return prepare(own)

    pixels = torch.cat(list(image_batches(images, noted)))
    side = pixels.shape[2]
    native = native_size(sizes.pop(), side) if len(sizes) == 1 else (side, side)
    if not isinstance(mirror, bool):
        raise InputError(f"mirror is {mirror!r}; expected True or False.")
    targets, names = as_labels([0] * len(pixels) if labels is None else labels, len(pixels), classes)
    return Benchmark(pixels, targets, pixels, targets, names, {}, native, mirror)


Train = Callable[[Benchmark, torch.Generator, Compute, Path], Trained]


def run_within_budget(
    method: Method,
    request: Request,
    limits: tuple[int | None, int | None],
    train: Train,
    compute: Compute,
    output_dir: str | Path | None,
) -> None:
    """Read the images, train, score; leaves `result.json`, `scores.npz`, `pictures.npz`, `model.ood` in the folder.

    Args:
        method: whose it is.
        request: of the flags.
        limits: most images to train on, and of each set to score; None for all.
        train: from the benchmark, the generator of all draws and the folder to the detector.
        compute: how to compute.
        output_dir: the folder.

    Raises:
        InputError: no folder, or what reading and training refuse.
    """
    from ood_shared.run_model import write_model  # which knows detectors, as this module does not know their files

    if output_dir is None:
        raise InputError("--output-dir is missing: the folder for result.json, scores.npz and the trained network.")
    folder = Path(output_dir)
    generator = torch.Generator().manual_seed(request.seed)
    benchmark = read_benchmark(request, method.side, method.channels, generator, *limits)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    trained = train(benchmark, generator, compute, folder)
    train_seconds = time.perf_counter() - started
    started = time.perf_counter()
    arrays = score_arrays(trained.detector, benchmark, request.id)
    score_seconds = time.perf_counter() - started
    others = {
        name: measure(score_arrays(other, benchmark, request.id), np.random.default_rng(request.seed))[0]
        for name, other in trained.others.items()
    }
    facts = facts_of(trained.backbone or request.backbone, trained.networks, trained.epochs, trained.extra_data)
    result = make_result(
        arrays,
        method=method.name,
        paper=method.paper,
        seed=request.seed,
        budget=request.budget,
        config=facts | dict(trained.config) | asked_of(request, benchmark),
        timings={
            "train_seconds": train_seconds,
            "train_step_seconds": trained.step_seconds,
            "score_seconds_per_1000": 1000 * score_seconds / len(arrays["scores"]),
        },
        device=compute.device,
        checkpoint=trained.checkpoint,
    )
    if distributed.is_main():
        write_pictures(folder, arrays, benchmark.scored(request.id), benchmark.classes)
        result |= {"other_scores": others} if others else {}
        result |= trained.entries(result, arrays) if trained.entries is not None else {}
        if trained.checkpoint != folder / MODEL:  # else the training wrote it, with a calibration of its own
            about = {"method": method.name, "paper": method.paper}
            write_model(folder, trained.detector, arrays, request, benchmark, about)
        write_result(folder, result, arrays)
        print_metrics(result)


def asked_of(request: Request, benchmark: Benchmark) -> dict[str, Any]:
    """What a run was asked for about its images, and what was said of them, for the `config` of its result."""
    asked = {"group": request.group, "one_class": request.one_class or None, "value_range": request.value_range}
    found: dict[str, Any] = {"novel_classes": request.novel_classes}
    found |= {name: value for name, value in asked.items() if value is not None}
    return found | ({"notes": list(benchmark.notes)} if benchmark.notes else {})


def score_arrays(detector: Detector, benchmark: Benchmark, id_name: str) -> ScoreArrays:
    """The arrays of `scores.npz` of a detector on everything that is scored. A single class is no prediction."""
    found = {name: detector.outputs(images) for name, images in benchmark.scored(id_name).items()}
    if len(benchmark.classes) < 2:
        found = {name: (scores, None) for name, (scores, _) in found.items()}
    scores, classes = found.pop(id_name)
    return pack_scores(id_name, (scores, benchmark.test_labels, classes), found, benchmark.groups)
